"""The graph that a form of an integer network is drawn on, and the views of its tensors.

An integer network stores its tensors channels last; ONNX keeps channels first. Every stored tensor
has a canonical view here, decided by its stored shape alone: (channels, height, width) for a stored
(height, width, channels), the stored order for anything else. Layers read and write canonical views
(a fully connected layer the stored order); only the ends of the network see the model's own axes.
"""

from dataclasses import dataclass

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.ops import Operator, Producer, Reshape, Transpose

Shape = tuple[int, ...]


@dataclass(frozen=True)
class View:
    """Axes under which a stored tensor is read; as ``onnx_shape`` and ``layout`` of the tensor."""

    shape: Shape
    layout: tuple[int, ...]


def canonical(stored: Shape) -> View:
    """Return channels first for (height, width, channels), else the stored order."""
    if len(stored) == 3:
        return View((stored[2], stored[0], stored[1]), (1, 2, 0))
    return plain(stored)


def plain(stored: Shape) -> View:
    """Return the stored order."""
    return View(stored, tuple(range(len(stored))))


def own(tensor: IntegerTensor) -> View:
    """Return the axes that the model gives the tensor."""
    return View(tensor.onnx_shape, tensor.layout)


class Sheet:
    """A graph under construction, with the ports that hold the tensors of a network.

    Parameters
    ----------
    network : IntegerNetwork
    unsigned : bool
        Whether int8 tensors are held as uint8, 128 higher.
    """

    def __init__(self, network: IntegerNetwork, *, unsigned: bool) -> None:
        self.network = network
        self.unsigned = unsigned
        self.graph = GraphView(network.name)
        self._ports: dict[tuple[str, View], Port] = {}
        self._constants: dict[tuple[str, dtype, Shape, bytes], Node] = {}

    # -- values ----------------------------------------------------------------------------------

    def offset(self, tensor: IntegerTensor) -> int:
        """Return what is added to the stored integers of ``tensor`` here."""
        return 128 if self.unsigned and tensor.dtype is dtype.int8 else 0

    def held(self, tensor: IntegerTensor) -> dtype:
        """Return the type that holds the integers of ``tensor`` here."""
        return dtype.uint8 if self.offset(tensor) else tensor.dtype

    def bind(self, name: str, port: Port | Node, view: View | None = None) -> None:
        """Say that ``port`` holds tensor ``name``, by default under its canonical view."""
        found = port if isinstance(port, Port) else Port(port)
        self._ports[name, view or canonical(self.network.tensor(name).shape)] = found

    def port(self, name: str, view: View | None = None) -> Port:
        """Return tensor ``name`` under a view, by default the canonical one."""
        stored = self.network.tensor(name).shape
        view = view or canonical(stored)
        if (name, view) not in self._ports:
            known = next(v for (other, v) in self._ports if other == name)
            port = self._ports[name, known]
            self._ports[name, view] = self.rearranged(port, (known, view), name)
        return self._ports[name, view]

    def row(self, name: str) -> Port:
        """Return tensor ``name`` as one row (batch, size), in the order of its canonical view."""
        tensor = self.network.tensor(name)
        view = canonical(tensor.shape)
        return self.reshaped(self.port(name), view.shape, (tensor.size,), name)

    # -- nodes -----------------------------------------------------------------------------------

    def add(self, operator: Operator, *inputs: Port | Node | None, name: str) -> Node:
        """Add a node under a free name made from ``name``."""
        return self.graph.add(operator, inputs, self.graph.unique_name(name))

    def constant(
        self, value: np.ndarray, name: str = "constant", element_type: dtype | None = None
    ) -> Node:
        """Return the producer of a constant, one for equal values asked for under one name."""
        array = np.asarray(value, order="C")
        kind = element_type or dtype.of(array)
        key = (name, kind, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.add(Producer(array, kind, True), name=name)
        return self._constants[key]

    def rearranged(self, port: Port, views: tuple[View, View], name: str) -> Port:
        """Return a stored tensor that is held under one view under another one.

        Parameters
        ----------
        port : Port
        views : (View, View)
            The view that ``port`` has, and the one that is wanted; both of the same stored order.
        name : str
            What new nodes are called after.
        """
        now, wanted = views
        index = np.arange(int(np.prod(now.shape, dtype=np.int64)))
        stored = index.reshape(now.shape).transpose(now.layout)
        parts = tuple(wanted.shape[axis] for axis in wanted.layout)
        back = tuple(int(axis) for axis in np.argsort(wanted.layout))
        if np.array_equal(stored.reshape(parts).transpose(back).ravel(), index):
            return self.reshaped(port, now.shape, wanted.shape, name)
        if stored.shape == parts:
            return self.transposed(port, tuple(now.layout[axis] for axis in back), name)
        port = self.transposed(port, now.layout, name)
        port = self.reshaped(port, stored.shape, parts, name)
        return self.transposed(port, back, name)

    def reshaped(self, port: Port, now: Shape, wanted: Shape, name: str) -> Port:
        """Return (batch, *now) as (batch, *wanted), values in the same order."""
        if now == wanted:
            return port
        return Port(self.add(Reshape((0, *wanted)), port, name=f"{name}_reshaped"))

    def transposed(self, port: Port, permutation: Shape, name: str) -> Port:
        """Return the values with their axes, batch left out, in another order."""
        if permutation == tuple(range(len(permutation))):
            return port
        axes = (0, *(axis + 1 for axis in permutation))
        return Port(self.add(Transpose(axes), port, name=f"{name}_transposed"))
