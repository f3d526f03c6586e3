"""What a kernel asks of the memory plan."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Needs:
    """What a kernel asks of the memory plan besides its inputs and its output.

    Attributes
    ----------
    scratch : int
        Bytes of working memory while the layer runs.
    front, same : tuple of str
        Tensors among its inputs that the output may overlap if it does not start behind them, or
        if both start at the same place.
    """

    scratch: int = 0
    front: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
