"""The ladder: what each step of the recipe brought on samples that were held back."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Rung:
    """One step.

    Attributes
    ----------
    step : str
    before, after : float
        SQNR of the outputs in dB, on the held-back samples, without and with the step.
    kept : bool
    """

    step: str
    before: float
    after: float
    kept: bool


@dataclass(frozen=True)
class Ladder:
    """All steps in order; prints as a table."""

    rungs: tuple[Rung, ...]

    def __iter__(self) -> Iterator[Rung]:
        return iter(self.rungs)

    def __len__(self) -> int:
        return len(self.rungs)

    def __str__(self) -> str:
        width = max(len(rung.step) for rung in self.rungs)
        lines = [f"{'step':{width}}  before dB  after dB  kept"]
        lines += [
            f"{rung.step:{width}}  {rung.before:9.2f}  {rung.after:8.2f}  "
            f"{'yes' if rung.kept else 'no'}"
            for rung in self.rungs
        ]
        return "\n".join(lines)
