"""Where the values of an integer network live while it runs, and the bytes that this takes."""

from aidge_quant.memory.plan import Place, Plan, plan_memory

__all__ = ["Place", "Plan", "plan_memory"]
