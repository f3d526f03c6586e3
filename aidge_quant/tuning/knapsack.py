"""Choose by layer: at least so many bytes saved in all, for the least loss in all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: States that are kept after each layer; more are thinned to those that differ in bytes.
MOST_STATES = 4096


@dataclass(frozen=True)
class Option:
    """Narrower weights for one layer.

    Attributes
    ----------
    site : str
    bits : int
    loss : float
        Squared error over the signal that it adds, not negative.
    saved : int
        Bytes, above 0.
    """

    site: str
    bits: int
    loss: float
    saved: int


@dataclass(frozen=True)
class _State:
    """Options chosen from the layers seen so far; ``saved`` counts up to what is needed."""

    saved: int
    loss: float
    chosen: tuple[Option, ...] = ()

    def with_option(self, option: Option, need: int) -> "_State":
        saved = min(self.saved + option.saved, need)
        return _State(saved, self.loss + option.loss, (*self.chosen, option))


def least_loss(layers: Iterable[Sequence[Option]], need: int) -> tuple[Option, ...]:
    """Return at most one option of each layer that together save ``need`` bytes.

    Exactly the least sum of losses as long as no more than MOST_STATES sums differ, else near it.
    The options that save most must save enough together.
    """
    states = [_State(0, 0.0)]
    for options in layers:
        more = [state.with_option(option, need) for state in states for option in options]
        states = _thinned(_useful([*states, *more]), need)
    return states[0].chosen


def _useful(states: list[_State]) -> list[_State]:
    """Return the states that no other beats in both, most bytes first."""
    found: list[_State] = []
    for state in sorted(states, key=lambda state: (-state.saved, state.loss)):
        if not found or state.loss < found[-1].loss:
            found.append(state)
    return found


def _thinned(states: list[_State], need: int) -> list[_State]:
    """Return at most MOST_STATES states; the one that saves most stays."""
    if len(states) <= MOST_STATES:
        return states
    # Of those with nearly the same bytes the last, which loses least.
    by_place = {state.saved * (MOST_STATES - 1) // (need + 1): state for state in states[1:]}
    return [states[0], *by_place.values()]
