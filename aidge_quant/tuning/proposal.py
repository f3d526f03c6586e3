"""The proposal: what bits every layer got under a budget, what they take, and what they cost."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from aidge_quant.export.sizes import parameter_bytes_in_c
from aidge_quant.integer.layers import Affine
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.tuning.budget import Budget, ram_bytes
from aidge_quant.tuning.skeleton import Skeleton


@dataclass(frozen=True)
class LayerChoice:
    """One layer of the integer network.

    Attributes
    ----------
    layer : str
    weight_bits : int or None
        None without weights.
    activation_bits : int
        Of what it writes.
    flash : int
        Bytes of its parameters.
    change : float
        What its choices alone change the SQNR of the outputs by, in dB, on the calibration
        samples; 0 where nothing was chosen. Tensors that must have one type change together.
    """

    layer: str
    weight_bits: int | None
    activation_bits: int
    flash: int
    change: float


@dataclass(frozen=True)
class Proposal:
    """The choices of all layers, and their sums beside the budgets; prints as a table.

    Attributes
    ----------
    rows : tuple of LayerChoice
        Layers that store parameters or round; those that only move values are left out.
    flash, ram : int
        Bytes of parameters and of the arena, as ``export_c`` counts them.
    flash_budget, ram_budget : int or None
    """

    rows: tuple[LayerChoice, ...]
    flash: int
    ram: int
    flash_budget: int | None
    ram_budget: int | None

    def __iter__(self) -> Iterator[LayerChoice]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        width = max(5, *(len(row.layer) for row in self.rows))
        lines = [f"{'layer':{width}}  weight bits  activation bits  flash bytes  change dB"]
        lines += [
            f"{row.layer:{width}}  {row.weight_bits or '':>11}  {row.activation_bits:>15}  "
            f"{row.flash:>11}  {f'{row.change:+.2f}' if row.change else '':>9}".rstrip()
            for row in self.rows
        ]
        lines.append(_total("flash", self.flash, self.flash_budget))
        lines.append(_total("RAM", self.ram, self.ram_budget))
        return "\n".join(lines)


def make_proposal(
    skeleton: Skeleton, network: IntegerNetwork, changes: Mapping[str, float], budget: Budget
) -> Proposal:
    """Return the proposal that ``network``, made of ``skeleton``, stands for.

    Parameters
    ----------
    changes : mapping of float by site
        See ``Mixture.changes``.
    """
    rows = []
    taken = parameter_bytes_in_c(network)
    for layer in network.layers:
        site = next((name for name in layer.source if name in skeleton.sites), None)
        if site is None and not taken[layer.name]:
            continue
        rows.append(
            LayerChoice(
                layer.name,
                layer.weight_dtype.bits if isinstance(layer, Affine) else None,
                network.tensor(layer.output).dtype.bits,
                taken[layer.name],
                changes.get(site, 0.0) if site else 0.0,
            )
        )
    flash, ram = sum(taken.values()), ram_bytes(network)
    return Proposal(tuple(rows), flash, ram, budget.flash, budget.ram)


def _total(name: str, found: int, budget: int | None) -> str:
    return f"{name}: {found} bytes" + (f" of {budget}" if budget is not None else "")
