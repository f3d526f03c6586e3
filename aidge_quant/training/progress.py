"""The progress of a training: a bar on a terminal, or a function of the caller."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from aidge_quant.training.state import Epoch

#: Takes the number of an epoch and the fraction done of it.
Tell = Callable[[int, float], object]

#: Takes an epoch that is over.
Told = Callable[[Epoch], object]


@contextmanager
def shown(
    progress: bool | Tell, epochs: int, history: Sequence[Epoch]
) -> Iterator[tuple[Tell, Told]]:
    """Return what is to be called before a batch, and after an epoch.

    Parameters
    ----------
    progress : bool or callable
        True: a bar on standard error, nothing where that is no terminal.
    epochs : int
        How many there will be.
    history : sequence of Epoch
        Those that are over.
    """
    console = Console(stderr=True)
    if callable(progress) or not progress or not console.is_terminal:
        yield progress if callable(progress) else _nothing, _nothing
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[last]}"))
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *times, console=console, transient=True) as bar:
        last = summary(history[-1]) if history else ""
        task = bar.add_task("training", total=epochs, completed=len(history), last=last)

        def tell(number: int, done: float) -> None:
            text = f"epoch {number} of {epochs}"
            bar.update(task, completed=number - 1 + done, description=text)

        yield tell, lambda epoch: bar.update(task, completed=epoch.number, last=summary(epoch))


def summary(epoch: Epoch) -> str:
    """Return the figures of an epoch in a few words."""
    parts = [f"loss {epoch.loss:.4f}"]
    if epoch.validation_loss is not None:
        parts.append(f"validation {epoch.validation_loss:.4f}")
    if epoch.accuracy is not None:
        parts.append(f"accuracy {epoch.accuracy:.2%}")
    return ", ".join(parts)


def _nothing(*_: object) -> None:
    """Show nothing."""
