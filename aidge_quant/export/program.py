"""The parts of an exported program before they are printed: constants, records, kernels, steps."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from aidge_quant.errors import ExportError
from aidge_quant.export import ctext
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.memory.plan import Place, Plan


@dataclass(frozen=True)
class Constant:
    """A const array: weights, biases, tables.

    Attributes
    ----------
    name : str
        C identifier.
    type : str
        C element type.
    values : integer array, flat
    layer, comment : str
        The layer, and what it is: axes, shape and scale.
    """

    name: str
    type: str
    values: np.ndarray
    layer: str
    comment: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(self.values.size)

    @property
    def nbytes(self) -> int:
        """Bytes in flash."""
        return int(self.values.nbytes)


@dataclass(frozen=True)
class Record:
    """A const struct: the sizes of a layer, or its last step.

    Attributes
    ----------
    type, name : str
        C identifiers.
    fields : tuple of (str, str)
        Field and its ready initializer.
    """

    type: str
    name: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Walk:
    """A walk over two arrays at once: sizes, and steps in the array read and the one written."""

    size: tuple[int, ...]
    x_step: tuple[int, ...]
    y_step: tuple[int, ...]
    x_start: int = 0
    y_start: int = 0


@dataclass(frozen=True)
class Kernel:
    """One C function of a kernel template.

    Attributes
    ----------
    template : str
        Name of the file in ``templates/kernels``, without the extension.
    function : str
        C identifier.
    fields : mapping
        What the template gets as ``v``: types, flags, the requantization.
    """

    template: str
    function: str
    fields: Mapping[str, object]


@dataclass(frozen=True)
class Call:
    """A call of a kernel: the function and its ready arguments."""

    function: str
    arguments: tuple[str, ...]

    @property
    def text(self) -> str:
        """The statement, in as many lines as it takes."""
        return ctext.c_call(self.function, self.arguments)


@dataclass(frozen=True)
class Arrival:
    """An input that has a place in the arena.

    Attributes
    ----------
    index : int
        Position among the inputs of the network.
    place : str
        Expression of its address.
    call : str
        The statement that copies it there.
    """

    index: int
    place: str
    call: str


@dataclass
class Step:
    """What the C does for one layer: no call for a view, several for a Concat.

    Attributes
    ----------
    comment : str
        Layer, kind, shapes.
    layer : str
        Name of the layer; "" for the copies in the end.
    output : str
        Expression of the first element written.
    nbytes : int
        Bytes written.
    calls : list of Call
    flash : int
        Bytes of the layer's constants.
    """

    comment: str
    layer: str
    output: str
    nbytes: int
    calls: list[Call] = field(default_factory=list)
    flash: int = 0


class Program:
    """Collects the parts; the functions of `calls` write into it."""

    def __init__(self, network: IntegerNetwork, plan: Plan, name: str, ends: "Ends") -> None:
        self.network = network
        self.plan = plan
        self.name = name
        self.ends = ends
        self.constants: list[Constant] = []
        self._equal: dict[tuple[str, str, bytes], str] = {}
        self.records: list[Record] = []
        self.walks: list[tuple[str, Walk]] = []
        self.kernels: dict[str, Kernel] = {}
        self.arrivals: list[Arrival] = []
        self.steps: list[Step] = []
        idents = ctext.unique_identifiers(layer.name for layer in network.layers)
        self._idents = {
            layer.name: ident for layer, ident in zip(network.layers, idents, strict=True)
        }

    # What the plan says

    def pointer(self, name: str, element: int = 0) -> str:
        """Return the C expression of the address of an element of a tensor, the first one."""
        place = self.plan.places[name]
        itemsize = self.network.tensor(name).dtype.numpy.itemsize
        at = (place.offset // itemsize) + element
        if place.kind == "arena":
            return f"&net->{_union(place)}s{8 * itemsize}[{at}]"
        ends = self.ends.inputs if place.kind == "input" else self.ends.outputs
        return f"&{ends[place.index]}[{at}]" if at else ends[place.index]

    def lies(self, name: str, whole: str, elements: int) -> bool:
        """Whether a tensor lies in another one, so many elements from its start."""
        inner, outer = self.plan.places[name], self.plan.places[whole]
        itemsize = self.network.tensor(name).dtype.numpy.itemsize
        return inner == replace(outer, offset=outer.offset + itemsize * elements)

    def scratch(self, layer: Layer, itemsize: int = 2) -> str:
        """Return the C expression of the working memory of a layer, as int16 or int8.

        A layer that needs none gets the start of the arena.
        """
        place = self.plan.scratch.get(layer.name, Place("arena", 0, 0))
        return f"&net->{_union(place)}s{8 * itemsize}[{place.offset // itemsize}]"

    # What the layers add

    def begin(self, layer: Layer) -> None:
        """Start the step of a layer."""
        output = self.network.tensor(layer.output)
        shapes = " and ".join(shape_text(self.network.tensor(n).shape) for n in layer.inputs)
        named = ctext.comment(layer.name, 40)
        text = f"{named} ({layer.kind}): {shapes} to {shape_text(output.shape)}"
        self.steps.append(
            Step(
                comment=ctext.comment(text, 90),
                layer=layer.name,
                output=self.pointer(layer.output),
                nbytes=output.size * output.dtype.numpy.itemsize,
            )
        )

    def begin_copy(self, tensor: str, output: int) -> None:
        """Start the step that copies a tensor to an output of the network."""
        named = self.network.output_names[output]
        source = self.network.tensor(tensor)
        nbytes = source.size * source.dtype.numpy.itemsize
        text = ctext.comment(f"output {named}: a copy of {tensor}", 90)
        self.steps.append(Step(text, "", self.ends.outputs[output], nbytes))

    def constant(self, layer: Layer, suffix: str, type_: str, values: np.ndarray, text: str) -> str:
        """Add a const array and return its C name, that of an equal one if there is one."""
        flat = np.ravel(values)
        key = (type_, flat.dtype.str, flat.tobytes())
        if key in self._equal:
            return self._equal[key]
        name = f"{self.name}_{self._idents[layer.name]}_{suffix}"
        named, comment = ctext.comment(layer.name, 90), ctext.comment(text, 90)
        constant = Constant(name, type_, flat, named, comment)
        self.constants.append(constant)
        self._equal[key] = name
        self.steps[-1].flash += constant.nbytes
        return name

    def record(self, layer: Layer, suffix: str, type_: str, fields: Mapping[str, int | str]) -> str:
        """Add a const struct and return the address of it, or of an equal one if there is one."""
        name = f"{self.name}_{self._idents[layer.name]}_{suffix}"
        values = (
            (key, value if isinstance(value, str) else ctext.c_literal(value))
            for key, value in fields.items()
        )
        record = Record(f"{self.name}_{type_}_t", name, tuple(values))
        for known in self.records:
            if (known.type, known.fields) == (record.type, record.fields):
                return f"&{known.name}"
        self.records.append(record)
        return f"&{name}"

    def walk(self, layer: Layer, suffix: str, walk: Walk) -> str:
        """Add a walk and return the address of it, or of an equal one if there is one."""
        for known, other in self.walks:
            if other == walk:
                return f"&{known}"
        name = f"{self.name}_{self._idents[layer.name]}_{suffix}"
        self.walks.append((name, walk))
        return f"&{name}"

    @property
    def rank(self) -> int:
        """Largest number of axes that a walk has; 1 if there is none."""
        return max((len(walk.size) for _, walk in self.walks), default=1)

    def all_records(self) -> list[Record]:
        """Return the records, the walks among them brought to the same number of axes."""
        rank = self.rank
        records = list(self.records)
        for name, walk in self.walks:
            lead = rank - len(walk.size)
            fields = (
                ("size", (1,) * lead + walk.size),
                ("x_step", (0,) * lead + walk.x_step),
                ("y_step", (0,) * lead + walk.y_step),
            )
            lists = tuple((key, ctext.c_list(map(ctext.c_literal, v))) for key, v in fields)
            starts = (("x_start", str(walk.x_start)), ("y_start", str(walk.y_start)))
            records.append(Record(f"{self.name}_walk_t", name, lists + starts))
        return records

    def arrive(self, index: int) -> None:
        """Add what brings an input of the network to its place in the arena."""
        tensor = self.network.tensor(self.network.inputs[index])
        fields = {"x": type_of(tensor), "y": type_of(tensor)}
        place = self.pointer(tensor.name)
        arguments = (str(tensor.size), self.ends.inputs[index], place)
        function = self.kernel("move", suffix_of(tensor), fields)
        self.arrivals.append(Arrival(index, place, f"{function}({', '.join(arguments)});"))

    def call(
        self,
        template: str,
        suffix: str,
        fields: Mapping[str, object],
        arguments: Iterable[str | int],
    ) -> None:
        """Add a call of the kernel ``template`` in the form ``suffix``, and the kernel if new."""
        function = self.kernel(template, suffix, fields)
        words = tuple(a if isinstance(a, str) else ctext.c_literal(a) for a in arguments)
        self.steps[-1].calls.append(Call(function, words))

    def kernel(self, template: str, suffix: str, fields: Mapping[str, object]) -> str:
        """Add the kernel ``template`` in the form ``suffix`` if it is new; return its C name.

        Flags of the kernel are united over its calls: code that one layer needs is printed for all.
        """
        function = f"{self.name}_{template.replace('/', '_')}_{suffix}"
        known = dict(self.kernels[function].fields) if function in self.kernels else {}
        merged = {
            key: (known.get(key, False) or value) if isinstance(value, bool) else value
            for key, value in fields.items()
        }
        self.kernels[function] = Kernel(template, function, merged)
        return function


def _union(place: Place) -> str:
    """Return the expression of the arrays that a place is in, behind the network's pointer."""
    return f"{place.region}->" if place.region else "arena."


@dataclass(frozen=True)
class Ends:
    """C names of the parameters of the run function, in the order of the model."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def suffix_of(tensor: IntegerTensor) -> str:
    """Return ``s8``, ``s16`` or ``s32``, the part of a kernel's name for the type of its data."""
    return f"s{8 * tensor.dtype.numpy.itemsize}"


def type_of(tensor: IntegerTensor) -> str:
    """Return the C type of the elements of a tensor."""
    return ctext.c_type(tensor.dtype.numpy.itemsize)


def shape_text(shape: Iterable[int]) -> str:
    """Return ``32x32x16``; ``1`` for a tensor without axes."""
    return "x".join(str(size) for size in shape) or "1"


def refuse(layer: Layer, expected: str, came: object) -> ExportError:
    """Return the error that a layer cannot be written as C."""
    return ExportError(f"{layer.name} ({layer.kind}): expected {expected}, came {came}")
