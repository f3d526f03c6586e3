"""Progress of a long command: a live line on a terminal, plain lines elsewhere."""

from types import TracebackType

from rich.console import Console
from rich.status import Status


class Steps:
    """Shows the step that is going on; used as a context manager.

    Parameters
    ----------
    console : Console
        Steps are shown on it when it is a terminal, and printed a line each when it is not.
    """

    def __init__(self, console: Console) -> None:
        self._console = Console(stderr=True) if not console.is_terminal else console
        self._status: Status | None = None

    def begin(self, text: str) -> None:
        """Show that a step begins."""
        if not self._console.is_terminal:
            self._console.print(f"{text} ...", highlight=False, soft_wrap=True)
        elif self._status is None:
            self._status = self._console.status(text)
            self._status.start()
        else:
            self._status.update(text)

    def __enter__(self) -> "Steps":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()
