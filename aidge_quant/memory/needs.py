"""What a kernel asks of the memory plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Needs:
    """What a kernel asks of the memory plan besides its inputs and its output.

    Attributes
    ----------
    scratch : int
        Bytes of working memory while the layer runs.
    behind : mapping of str to int
        Tensors among its inputs that the output may overlap if they start at least so many bytes
        behind it: what is read of them is then still there.
    same : tuple of str
        Tensors among its inputs that the output may overlap if both start at the same place.
    """

    scratch: int = 0
    behind: Mapping[str, int] = field(default_factory=dict)
    same: tuple[str, ...] = ()
