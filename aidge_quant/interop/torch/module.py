"""GraphModule: a graph as a module of torch, and its trained values back in the graph."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from aidge_quant.errors import AidgeQuantError, DataError, GraphError, ShapeError
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.graph.names import free_name
from aidge_quant.interop.torch.library import Tensor, torch
from aidge_quant.interop.torch.operators import function_of
from aidge_quant.ops import LSQ, BatchNorm, BiasQuantizer, Input, Producer
from aidge_quant.training.gradients import MOMENTUM
from aidge_quant.training.parameters import POSITIVE, parameters, set_value


class _Step(NamedTuple):
    """One node of the plan, the ports that it reads, and the nodes whose values end with it."""

    node: Node
    inputs: tuple[Port | None, ...]
    follows: bool  #: a BatchNorm whose statistics move in training
    done: tuple[Node, ...]


class GraphModule(torch.nn.Module):
    """A graph that runs, and trains, in torch.

    Values of the graph are copied when the module is made, into parameters, and the statistics of
    every BatchNorm into buffers. Training changes the module; ``write_back`` gives the graph its
    values, and then everything of aidge_quant goes on from there.

    Parameters
    ----------
    graph : GraphView
        Float network, with or without quantizers for training. Its steps must be set: pass
        ``calibration`` to the function that inserts the quantizers, or call
        ``aidge_quant.training.initialize``. The structure of the graph must stay as it is while the
        module is in use.

    Attributes
    ----------
    graph : GraphView
    keys : dict
        By the name of a producer of the graph, that of its parameter or buffer here: the same,
        but for what torch does not allow in names.

    Raises
    ------
    UnsupportedError
        If torch does not run an operator; the message names node and operator.
    GraphError
        If the graph is malformed or a step is not set.

    Notes
    -----
    In ``train`` mode BatchNorm takes the statistics of the batch and the stored ones move a tenth
    of the way, as in ``fit``; in ``eval`` mode, as in ``fit(batch_statistics=False)``, they stay.
    Statistics marked constant (``freeze_batch_norms``) always stay. With DistributedDataParallel
    each process normalizes with its own part of the batch, and the scale of the gradients of steps,
    1 / sqrt(N upper), counts the values of that part.

    ``fit`` lets no step or bound lose more than half in one update; optimizers of torch know no
    such limit. Give them a rate of their own (``parameters_of``) where they are small.
    """

    def __init__(self, graph: GraphView) -> None:
        super().__init__()
        graph.check()
        self.graph = graph
        self.keys: dict[str, str] = {}
        self.kinds: dict[str, str] = {}
        self._plan = _plan(graph)
        self._hold()

    def _hold(self) -> None:
        """Register what the producers hold: parameters, statistics, constants."""
        kinds = {parameter.node: parameter.kind for parameter in parameters(self.graph)}
        moving = {
            step.node.input(slot).node for step in self._plan if step.follows for slot in (3, 4)
        }
        taken = set(dir(self))
        for node in self.graph.topological():
            if not isinstance(node.operator, Producer):
                continue
            key = free_name(node.name.replace(".", "_") or "value", taken)
            taken.add(key)
            self.keys[node.name] = key
            tensor = torch.tensor(node.operator.value)
            if node in kinds:
                self.kinds[key] = kinds[node]
                self.register_parameter(key, torch.nn.Parameter(tensor))
            else:
                self.register_buffer(key, tensor, persistent=node in moving)

    # -- computing -------------------------------------------------------------------------------

    def forward(self, x: Tensor | Mapping[str, Tensor]) -> Any:
        """Return the outputs of the graph for a batch.

        Parameters
        ----------
        x : tensor (batch, *shape), or a mapping of them by input name

        Returns
        -------
        tensor, or a dictionary by output name when there are several

        Raises
        ------
        DataError, ShapeError
            If an input is missing or unknown or has another shape than that of the graph.
        """
        feeds = self._feeds(x)
        values: dict[Node, Any] = {}
        for step in self._plan:
            operator = step.node.operator
            if isinstance(operator, Input):
                values[step.node] = feeds[step.node.name]
            elif isinstance(operator, Producer):
                values[step.node] = getattr(self, self.keys[step.node.name])
            else:
                tensors = [None if p is None else _output(values, p) for p in step.inputs]
                train = step.follows and self.training
                options = {"train": True, "momentum": MOMENTUM} if train else {}
                try:
                    values[step.node] = function_of(operator)(operator, *tensors, **options)
                except AidgeQuantError as error:
                    raise type(error)(f"{step.node.name} ({operator.type}): {error}") from error
            for node in step.done:
                del values[node]
        found = {output.name: _output(values, output.port) for output in self.graph.outputs}
        return found if len(found) > 1 else next(iter(found.values()))

    def _feeds(self, x: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        inputs = {node.name: node.operator for node in self.graph.inputs}
        if not isinstance(x, Mapping):
            if len(inputs) > 1:
                raise DataError(f"one tensor was fed, expected a mapping of {sorted(inputs)}")
            x = dict.fromkeys(inputs, x)
        if set(x) != set(inputs):
            raise DataError(f"inputs {sorted(x)} were fed, expected {sorted(inputs)}")
        for name, operator in inputs.items():
            if tuple(x[name].shape[1:]) != tuple(operator.shape[1:]):
                raise ShapeError(
                    f"input {name} has shape {tuple(x[name].shape)}, expected (batch, "
                    f"{', '.join(map(str, operator.shape[1:]))})"
                )
        return dict(x)

    # -- training --------------------------------------------------------------------------------

    def parameters_of(self, *kinds: str) -> list[Any]:
        """Return the parameters of some kinds, for the groups of an optimizer.

        Parameters
        ----------
        kinds : str
            Of ``aidge_quant.training.Kind``: "weight", "bias", "normalization", "step", "alpha",
            "other".
        """
        return [getattr(self, key) for key, kind in self.kinds.items() if kind in kinds]

    def write_back(self) -> None:
        """Give the graph, in place, the parameters and the statistics of the module.

        Values keep the types that they have in the graph. A failure leaves the graph as it was.

        Raises
        ------
        DataError
            If a value is NaN or infinite, or a step or bound is not above 0.
        """
        found: dict[Node, np.ndarray] = {}
        kept = self.state_dict()
        for name, key in self.keys.items():
            if key not in kept:
                continue
            node = self.graph.node(name)
            array = kept[key].detach().cpu().numpy().astype(node.operator.value.dtype)
            if not np.isfinite(array).all():
                raise DataError(f"{name} holds NaN or infinite values; lower the learning rate")
            if self.kinds.get(key) in POSITIVE and not (array > 0).all():
                raise DataError(
                    f"{name} is {array.reshape(-1).tolist()}, expected steps and bounds above 0; "
                    "lower the learning rate of steps and bounds (parameters_of)"
                )
            found[node] = array
        for node, array in found.items():
            set_value(node, array)

    def read_graph(self) -> None:
        """Take, in place, parameters and statistics from the graph, as when the module was made."""
        with torch.no_grad():
            for name, key in self.keys.items():
                value = torch.tensor(self.graph.node(name).operator.value)
                getattr(self, key).copy_(value)


def _output(values: Mapping[Node, Any], port: Port) -> Any:
    value = values[port.node]
    return value[port.index] if isinstance(value, tuple) else value


def _plan(graph: GraphView) -> list[_Step]:
    """Return the nodes in topological order, with what each ends the use of."""
    order = graph.topological()
    last: dict[Node, Node] = {}
    for node in order:
        for port in node.inputs:
            if port is not None:
                last[port.node] = node
    kept = {output.port.node for output in graph.outputs}
    plan = []
    for node in order:
        operator = node.operator
        _expect_set_steps(node)
        try:
            if not isinstance(operator, Input | Producer):
                function_of(operator)
        except AidgeQuantError as error:
            raise type(error)(f"{node.name} ({operator.type}): {error}") from error
        sources = dict.fromkeys(port.node for port in node.inputs if port is not None)
        done = tuple(s for s in sources if last[s] is node and s not in kept)
        plan.append(_Step(node, node.inputs, _follows(node), done))
    return plan


def _follows(node: Node) -> bool:
    if not isinstance(node.operator, BatchNorm):
        return False
    return not any(getattr(node.input(slot).node.operator, "constant", True) for slot in (3, 4))


def _expect_set_steps(node: Node) -> None:
    if not isinstance(node.operator, LSQ | BiasQuantizer):
        return
    for port in node.inputs[1:]:
        source = None if port is None else port.node.operator
        if isinstance(source, Producer) and not (source.value > 0).all():
            assert port is not None
            raise GraphError(
                f"{port.node.name}: the step of {node.name} is {source.value.reshape(-1)}, "
                "expected one number above 0; call aidge_quant.training.initialize with a batch"
            )
