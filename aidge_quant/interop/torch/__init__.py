"""Graphs as modules of torch, for training with its optimizers and on its devices."""

from aidge_quant.interop.torch.module import GraphModule
from aidge_quant.interop.torch.operators import supported

__all__ = ["GraphModule", "supported"]
