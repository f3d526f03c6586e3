"""Problems: what cannot be read or written, collected so that one error lists everything."""

from dataclasses import dataclass, field

from aidge_quant.errors import AidgeQuantError, UnsupportedError


@dataclass(frozen=True)
class Problem:
    """One thing that cannot be converted: where, which operator, and why (with the remedy)."""

    name: str
    operator: str
    error: AidgeQuantError

    def __str__(self) -> str:
        return f"{self.name} ({self.operator}): {self.error}"


@dataclass
class Problems:
    """The list of problems of one model.

    Attributes
    ----------
    action : str
        What they prevent.
    """

    action: str = "read"
    found: list[Problem] = field(default_factory=list)

    def add(self, name: str, operator: str, error: AidgeQuantError) -> None:
        """Note a problem."""
        self.found.append(Problem(name, operator, error))

    def raise_any(self, source: str, remedy: str = "") -> None:
        """Raise one error that lists all problems and ends in the remedy, if there are any.

        It is an UnsupportedError if any of them is one, else of the type of the first.
        """
        if not self.found:
            return
        kinds = [type(problem.error) for problem in self.found]
        kind = UnsupportedError if UnsupportedError in kinds else kinds[0]
        count = "1 problem" if len(self.found) == 1 else f"{len(self.found)} problems"
        lines = "".join(f"\n  {problem}" for problem in self.found)
        lines += f"\n  {remedy}" if remedy else ""
        raise kind(f"cannot {self.action} {source}: {count}{lines}") from self.found[0].error
