"""Budgets of flash and RAM in bytes: what a network takes, and whether a budget can be met."""

from collections.abc import Sequence
from dataclasses import dataclass

from aidge_quant.errors import DataError, UnsupportedError
from aidge_quant.export.sizes import arena_bytes_in_c, parameter_bytes_in_c
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.tuning.realize import integer_network
from aidge_quant.tuning.scheme import Scheme
from aidge_quant.tuning.skeleton import Skeleton

#: Bits of the narrowest weights.
NARROWEST = 4


def flash_bytes(network: IntegerNetwork) -> int:
    """Return the bytes of all constant arrays in the exported C: weights, biases, tables."""
    return sum(parameter_bytes_in_c(network).values())


def ram_bytes(network: IntegerNetwork) -> int:
    """Return the bytes of working memory of the exported C, for the default target."""
    return arena_bytes_in_c(network)


@dataclass(frozen=True)
class Budget:
    """Bytes that a network may take; None where it may take any.

    Attributes
    ----------
    flash : int or None
    ram : int or None
    """

    flash: int | None = None
    ram: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("flash_budget", self.flash), ("ram_budget", self.ram)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise UnsupportedError(f"{name}: expected a number of bytes from 1, got {value!r}")

    def __bool__(self) -> bool:
        return self.flash is not None or self.ram is not None

    def holds(self, network: IntegerNetwork) -> bool:
        """Whether the network takes no more."""
        return (self.flash is None or flash_bytes(network) <= self.flash) and (
            self.ram is None
            or arena_bytes_in_c(network, quick=True) <= self.ram
            or ram_bytes(network) <= self.ram
        )

    def reachable(self, skeleton: Skeleton, scheme: Scheme) -> bool:
        """Whether the scheme fits with the narrowest weights."""
        return not self or self.holds(self._narrowest(skeleton, scheme))

    def require_reachable(self, ways: Sequence[tuple[Skeleton, Scheme]]) -> None:
        """Raise unless one of the ways fits with the narrowest weights.

        Raises
        ------
        DataError
            With the budget, the least that can be reached, and what would help.
        """
        if not self:
            return
        networks = [self._narrowest(skeleton, scheme) for skeleton, scheme in ways]
        if any(map(self.holds, networks)):
            return
        scheme = ways[0][1]
        flash, ram = min(map(flash_bytes, networks)), min(map(ram_bytes, networks))
        if self.flash is not None and flash > self.flash:
            helps = ", per_channel=False" if scheme.per_channel else ""
            raise DataError(
                f"flash_budget: {self.flash} bytes cannot be met; with int4 weights in every layer "
                f"the parameters take {flash} bytes, biases, shifts and tables included; allow as "
                f"much, or use a smaller network{helps}"
            )
        if self.ram is not None and ram > self.ram:
            wide = 16 in scheme.tensor_bits.values()
            helps = ", or activation_bits=8" if wide else ""
            raise DataError(
                f"ram_budget: {self.ram} bytes cannot be met; the arena of "
                f"{'int16' if wide else 'int8'} activations takes {ram} bytes; allow as much, use "
                f"smaller inputs or a smaller network{helps}"
            )
        pairs = " or ".join(f"{flash_bytes(n)} and {ram_bytes(n)}" for n in networks)
        raise DataError(
            f"flash_budget and ram_budget: {self.flash} and {self.ram} bytes cannot be met "
            f"together; the least are {pairs} bytes; allow as much of one of them"
        )

    def _narrowest(self, skeleton: Skeleton, scheme: Scheme) -> IntegerNetwork:
        if self.flash is not None:
            bits = {site.name: NARROWEST for site in skeleton.affine}
            scheme = scheme.having(layer_bits=bits, weights={}, exponents={})
        return integer_network(skeleton, scheme)
