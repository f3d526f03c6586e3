"""Progress of a long command: a live line on a terminal, plain lines elsewhere."""

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

#: Shares of a step that get a line of their own where there is no live line.
QUARTERS = 4


class Steps:
    """Shows the step that is going on; used as a context manager.

    Parameters
    ----------
    console : Console
        Steps are shown on it when it is a terminal, and on standard error when it is not.
    live : bool
        Whether one line that changes may show them on a terminal; it does not go with log messages.
    """

    def __init__(self, console: Console, *, live: bool = True) -> None:
        self._console = console if console.is_terminal else Console(stderr=True)
        self._live = live and self._console.is_terminal
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._task = self._progress.add_task("", total=None)
        self._text = self._part = ""
        self._quarters = 0

    def begin(self, text: str) -> None:
        """Show that a step begins."""
        self._text, self._part = text, ""
        self._restart(text)
        self._line(f"{text} ...")

    def tell(self, part: str, share: float) -> None:
        """Show how much of a part of the step is done, 0 to 1."""
        if part != self._part:
            self._line(f"  {part} ...")
        if part != self._part or share == 0:
            self._part = part
            self._restart(f"{self._text}: {part}")
        quarters = int(QUARTERS * share)
        if share > 0:
            self._progress.update(self._task, total=1.0, completed=share)
            if self._quarters < quarters < QUARTERS:
                self._line(f"  {part}: {100 * quarters // QUARTERS} %")
        self._quarters = quarters

    def _restart(self, description: str) -> None:
        """Begin a bar that does not know its length yet."""
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(description, total=None)

    def _line(self, text: str) -> None:
        if not self._live:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> "Steps":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
