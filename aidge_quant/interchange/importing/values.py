"""What is known of a tensor of a QDQ graph: which integers of the quantized graph it is."""

from dataclasses import dataclass, replace

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.graph import Port

Bounds = tuple[float, float]

NO_BOUNDS: Bounds = (-np.inf, np.inf)

#: Kinds of values: integers on a grid, the network's input in real numbers, a sum or product of
#: integers, a function of one stored value in real numbers, indices.
STORED, INPUT, ACCUMULATOR, FUNCTION, INDEX = "stored", "input", "accumulator", "function", "index"


@dataclass(frozen=True)
class Grid:
    """How a QuantizeLinear stores real values: real = scale * (q - zero_point).

    Attributes
    ----------
    scale : float
        A float32 number.
    zero_point : int
    element_type : dtype
    """

    scale: float
    zero_point: int
    element_type: dtype

    @property
    def interval(self) -> tuple[int, int]:
        """Bounds of q - zero_point."""
        limits = self.element_type
        return limits.min - self.zero_point, limits.max - self.zero_point

    def steps(self, bound: float) -> float:
        """Return a real bound as QuantizeLinear rounds it, less the zero point; may be infinite."""
        return float(np.rint(np.float32(bound) / np.float32(self.scale)))

    def __str__(self) -> str:
        return f"{self.element_type.value}, scale {self.scale:g}, zero point {self.zero_point}"


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the QDQ graph in terms of the quantized graph.

    Attributes
    ----------
    port : Port
        Of the quantized graph; without zero point.
    kind : str
    unit : float32 or float64 array () or (channels,)
        Real value of one integer; float32 where ONNX Runtime multiplies scales in float32.
    grid : Grid or None
        Of stored values.
    real : bool
        False between QuantizeLinear and DequantizeLinear.
    axis : int
        Of the channels of the unit.
    bounds : (float, float)
        Real bounds that are still to be applied: those of ReLU and Clip.
    clip : str
        Name of the last node with such bounds.
    single : bool
        Whether an accumulator is a product that one more integer may multiply.
    noted : bool
        Whether a record says what its integers mean, so that scales in the model may differ.
    """

    port: Port
    kind: str
    unit: np.ndarray
    grid: Grid | None = None
    real: bool = True
    axis: int = 1
    bounds: Bounds = NO_BOUNDS
    clip: str = ""
    single: bool = False
    noted: bool = False

    @property
    def multiplies(self) -> bool:
        """Whether an integer may stand between the value and its quantizer: behind no sum."""
        return self.kind == STORED or self.single

    def bounded(self, lower: float, upper: float, name: str) -> "Value":
        """Return the value with one more pair of real bounds; the last upper one wins."""
        least, most = (min(max(bound, lower), upper) for bound in self.bounds)
        return replace(self, bounds=(least, most), clip=name)
