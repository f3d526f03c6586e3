"""The state of a training: values, state of the optimizer, the best so far; and its file."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aidge_quant.errors import DataError, GraphError
from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import BatchNorm, Producer
from aidge_quant.training import checkpoint as files
from aidge_quant.training.gradients import loss_and_gradients
from aidge_quant.training.optimizers import Optimizer, State
from aidge_quant.training.parameters import (
    DEFAULT_GROUPS,
    POSITIVE,
    Group,
    Parameter,
    group_of,
    parameters,
    require_members,
    set_value,
)

#: From the output of the network and the labels: the loss and its gradient.
LossFunction = Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to.

    Attributes
    ----------
    number : int
        From 1.
    loss : float
        Mean over the samples, while they trained.
    validation_loss : float or None
    accuracy : float or None
        Fraction of the validation samples whose largest output is their label, for labels that are
        classes.
    """

    number: int
    loss: float
    validation_loss: float | None = None
    accuracy: float | None = None


class Trainer:
    """The parameters of one training, with the state of the optimizer for each."""

    def __init__(
        self,
        network: GraphView,
        optimizer: Optimizer,
        groups: Iterable[Group],
        clip_norm: float | None,
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.clip_norm = clip_norm
        self.rates: dict[str, tuple[float, float]] = {}
        self.trained: list[Parameter] = []
        found, own = parameters(network), tuple(groups)
        require_members(found, own)
        for parameter in found:
            rate, decay = group_of(parameter, (*DEFAULT_GROUPS, *own))
            if rate:
                self.trained.append(parameter)
                decay = optimizer.weight_decay if decay is None else decay
                self.rates[parameter.name] = (rate, decay)
        if not self.trained:
            raise GraphError(f"graph {network.name} has no parameter to train")
        self.states: dict[str, State] = {}
        self.best: dict[str, np.ndarray] = {}
        self.best_loss = math.inf
        self.best_number = 0

    def step(
        self,
        feeds: Mapping[str, np.ndarray],
        labels: np.ndarray,
        loss: LossFunction,
        factor: float,
        batch_statistics: bool,
    ) -> float:
        """Train on one batch, in place, and return its loss."""
        (name,) = (output.name for output in self.network.outputs)

        def of_output(outputs: Mapping[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
            total, gradient = loss(outputs[name], labels)
            return total, {name: gradient}

        total, gradients, _ = loss_and_gradients(
            self.network, feeds, of_output, self.trained, batch_statistics=batch_statistics
        )
        if not np.isfinite(total):
            raise DataError(
                f"{self.network.name}: the loss is {total}; lower the learning rate, or set "
                "clip_norm"
            )
        self._shorten(gradients)
        moved: list[tuple[Parameter, np.ndarray]] = []
        for parameter in self.trained:
            rate, decay = self.rates[parameter.name]
            state = self.states.get(parameter.name) or self._first_state(parameter)
            value, self.states[parameter.name] = self.optimizer.update(
                parameter.value,
                gradients[parameter.name],
                state,
                self.optimizer.rate * factor * rate,
                decay,
            )
            if parameter.kind in POSITIVE:
                value = np.maximum(value, parameter.value / 2)
            if not np.isfinite(value).all():
                wrong = "value" if np.isfinite(gradients[parameter.name]).all() else "gradient"
                raise DataError(
                    f"{self.network.name}: the {wrong} of {parameter.name} is not finite any more; "
                    "lower the learning rate, or set clip_norm"
                )
            moved.append((parameter, value))
        for parameter, value in moved:
            set_value(parameter.node, value)
        return total

    def _first_state(self, parameter: Parameter) -> State:
        zeros = {name: np.zeros_like(parameter.value) for name in self.optimizer.kept}
        return {**zeros, "count": np.zeros((), np.int64)}

    def _shorten(self, gradients: dict[str, np.ndarray]) -> None:
        if self.clip_norm is None:
            return
        squares = (np.sum(np.square(g, dtype=np.float64)) for _, g in sorted(gradients.items()))
        norm = math.sqrt(math.fsum(squares))
        if norm > self.clip_norm:
            for name, gradient in gradients.items():
                gradients[name] = gradient * gradient.dtype.type(self.clip_norm / norm)

    # -- the best parameters, and files ----------------------------------------------------------

    def finished(self, history: list[Epoch], patience: int | None) -> bool:
        """Whether the validation has not become better for long enough."""
        return patience is not None and len(history) - self.best_number >= patience

    def keep_best(self, epoch: Epoch, patience: int | None) -> None:
        """Keep the parameters where the validation is the best so far."""
        found = epoch.validation_loss
        if patience is not None and found is not None and found < self.best_loss:
            self.best, self.best_loss, self.best_number = self._values(), found, epoch.number

    def take_best(self, patience: int | None) -> None:
        """Give, in place, the network the best parameters."""
        if patience is not None and self.best:
            self._set(self.best)

    def save(self, path: Path, seed: int, history: list[Epoch]) -> None:
        """Write the whole state."""
        arrays = {f"value/{name}": value for name, value in self._values().items()}
        arrays |= {f"best/{name}": value for name, value in self.best.items()}
        for name, state in self.states.items():
            arrays |= {f"{part}/{name}": value for part, value in state.items()}
        notes: dict[str, Any] = {
            "seed": int(seed),
            "optimizer": repr(self.optimizer),
            "network": _signature(self.network),
            "history": [asdict(epoch) for epoch in history],
            "best": [self.best_number, self.best_loss if self.best else None],
        }
        files.save(path, arrays, notes)

    def restore(self, path: Path, seed: int) -> list[Epoch]:
        """Take the state from a file, in place, and return the history."""
        arrays, notes = files.load(path)
        values = {n.removeprefix("value/"): a for n, a in arrays.items() if n.startswith("value/")}
        now = self._values()
        fits = {n: a.shape for n, a in values.items()} == {n: a.shape for n, a in now.items()}
        if not fits or notes["network"] != _signature(self.network):
            raise DataError(f"{path} belongs to another network; remove it")
        if notes["optimizer"] != repr(self.optimizer):
            raise DataError(
                f"{path} was written with {notes['optimizer']}, now it is {self.optimizer!r}; "
                "go on with the same, or remove the file"
            )
        if notes["seed"] != seed:
            raise DataError(f"{path} was written with seed {notes['seed']}, now it is {seed}")
        self._set(values)
        self.best = {n.removeprefix("best/"): a for n, a in arrays.items() if n.startswith("best/")}
        self.best_number = notes["best"][0]
        self.best_loss = math.inf if notes["best"][1] is None else notes["best"][1]
        for name in self.rates:
            if f"count/{name}" in arrays:
                parts = (*self.optimizer.kept, "count")
                self.states[name] = {part: arrays[f"{part}/{name}"] for part in parts}
        return [Epoch(**entry) for entry in notes["history"]]

    def _holders(self) -> dict[str, Node]:
        # All parameters, also those that do not train: the first batch may have set their steps.
        holders = {parameter.name: parameter.node for parameter in parameters(self.network)}
        for node in self.network.topological():
            if isinstance(node.operator, BatchNorm):
                holders |= {node.input(slot).node.name: node.input(slot).node for slot in (3, 4)}
        return holders

    def _values(self) -> dict[str, np.ndarray]:
        return {name: node.operator.value for name, node in self._holders().items()}

    def _set(self, values: Mapping[str, np.ndarray]) -> None:
        for name, node in self._holders().items():
            set_value(node, values[name])


def _signature(network: GraphView) -> str:
    """Return SHA-256 (hexadecimal) of nodes, operators but for their values, and edges."""
    lines = []
    for node in network.topological():
        operator = node.operator
        shown = operator.value.shape if isinstance(operator, Producer) else repr(operator)
        inputs = [None if p is None else (p.node.name, p.index) for p in node.inputs]
        lines.append(f"{node.name} {operator.type} {shown} {inputs}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
