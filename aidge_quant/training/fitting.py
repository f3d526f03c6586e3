"""fit: train the parameters of a graph, epoch by epoch."""

import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aidge_quant.errors import DataError, GraphError
from aidge_quant.executor import Arrays, evaluate, graph_feeds
from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import BatchNorm, Producer, Softmax
from aidge_quant.training import checkpoint as files
from aidge_quant.training.batches import Data, batches
from aidge_quant.training.gradients import loss_and_gradients
from aidge_quant.training.losses import cross_entropy
from aidge_quant.training.optimizers import SGD, Optimizer, State
from aidge_quant.training.parameters import (
    DEFAULT_GROUPS,
    POSITIVE,
    Group,
    Parameter,
    group_of,
    parameters,
    set_value,
)
from aidge_quant.training.schedules import Schedule, cosine

logger = logging.getLogger("aidge_quant")

#: From the output of the network and the labels: the loss and its gradient.
LossFunction = Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]]

#: Changes a batch of samples: from (rng, x) to x.
Augmentation = Callable[[np.random.Generator, Arrays], Arrays]


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


def fit(
    network: GraphView,
    data: Data,
    *,
    epochs: int,
    batch_size: int = 64,
    loss: LossFunction = cross_entropy,
    optimizer: Optimizer | None = None,
    schedule: Schedule = cosine,
    groups: Iterable[Group] = (),
    clip_norm: float | None = None,
    batch_statistics: bool = True,
    augment: Augmentation | None = None,
    validation: Data | None = None,
    patience: int | None = None,
    callbacks: Iterable[Callable[[GraphView, Epoch], object]] = (),
    checkpoint: str | Path | None = None,
    seed: int = 0,
    progress: Callable[[int, float], object] | None = None,
) -> list[Epoch]:
    """Train the parameters of a network in place and return what each epoch came to.

    Two runs with equal arguments give equal weights, and so does one that was interrupted and
    continued from its checkpoint.

    Parameters
    ----------
    network : GraphView
        With one output. LSQ steps that are not set are set by the first batch.
    data : pair (x, y) of arrays, iterable of such batches, or a function that returns one
        A torch DataLoader is such an iterable.
    epochs, batch_size : int
    loss : callable
        ``cross_entropy`` (of logits), ``mean_squared_error`` or any of that form.
    optimizer : Optimizer
        By default ``SGD(0.01, momentum=0.9)``.
    schedule : callable
        Factor of the learning rate at a fraction of the training: ``cosine``, ``constant``,
        ``steps(0.5, 0.75)``.
    groups : iterable of Group
        Rates and decays of some parameters; without any, only weights decay.
    clip_norm : float, optional
        Longest gradient, all parameters together; longer ones are shortened.
    batch_statistics : bool
        Whether BatchNorm normalizes with the batch and learns its statistics.
    augment : callable, optional
        Changes the samples of a batch, from (rng, x) to x.
    validation : as ``data``, optional
        Measured after each epoch.
    patience : int, optional
        Stop after so many epochs without a better validation, and take the best parameters.
    callbacks : iterable of callable
        Called with network and epoch after each; one that returns True ends the training.
    checkpoint : path, optional
        Written after each epoch; where it exists, the training continues from it.
    seed : int
        Of the order of the samples and of ``augment``.
    progress : callable, optional
        Called with the number of the epoch and the fraction done of it.

    Raises
    ------
    DataError, GraphError
        If an argument cannot be used, or the loss is not a number any more.
    UnsupportedError
        If an operator between a parameter and the output has no backward.
    """
    _require(network, epochs, batch_size, loss, validation, patience, seed, clip_norm)
    trainer = _Trainer(network, optimizer or SGD(), (*DEFAULT_GROUPS, *groups), clip_norm)
    history: list[Epoch] = []
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None and path.exists():
        history = trainer.restore(path, seed)
    for number in range(len(history) + 1, epochs + 1):
        if trainer.finished(history, patience):
            break
        rng = np.random.default_rng((seed, number))
        losses, counts = [], []
        for (x, y), done in batches(data, batch_size, rng):
            if progress is not None:
                progress(number, done)
            feeds = graph_feeds(network, x if augment is None else augment(rng, x))
            rate = schedule((number - 1 + done) / epochs)
            losses.append(trainer.step(feeds, y, loss, rate, batch_statistics))
            counts.append(len(y))
        mean = float(np.average(losses, weights=counts))
        found = (None, None) if validation is None else _validate(network, validation, loss)
        epoch = Epoch(number, mean, *found)
        history.append(epoch)
        logger.info("%s: epoch %d of %d: %s", network.name, number, epochs, epoch)
        trainer.keep_best(epoch, patience)
        if path is not None:
            trainer.save(path, seed, history)
        stops = [callback(network, epoch) is True for callback in callbacks]
        if any(stops):
            break
    trainer.take_best(patience)
    return history


class _Trainer:
    """The parameters of one training, with the state of the optimizer for each."""

    def __init__(
        self,
        network: GraphView,
        optimizer: Optimizer,
        groups: tuple[Group, ...],
        clip_norm: float | None,
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.clip_norm = clip_norm
        self.rates: dict[str, tuple[float, float]] = {}
        self.trained: list[Parameter] = []
        for parameter in parameters(network):
            rate, decay = group_of(parameter, groups)
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


def _validate(network: GraphView, data: Data, loss: LossFunction) -> tuple[float, float | None]:
    """Return the mean loss, and the accuracy where the labels are classes."""
    losses, counts, hits = [], [], []
    for (x, y), _ in batches(data, 256, None):
        (output,) = evaluate(network, graph_feeds(network, x)).values()
        losses.append(loss(output, y)[0])
        counts.append(len(y))
        if y.ndim == 1 and y.dtype.kind in "iu":
            hits.append(int((output.argmax(axis=1) == y).sum()))
    accuracy = sum(hits) / sum(counts) if len(hits) == len(counts) else None
    return float(np.average(losses, weights=counts)), accuracy


def _require(
    network: GraphView,
    epochs: int,
    batch_size: int,
    loss: LossFunction,
    validation: Data | None,
    patience: int | None,
    seed: int,
    clip_norm: float | None,
) -> None:
    network.check()
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if not isinstance(value, int | np.integer) or value < 1:
            raise DataError(f"{name} is {value!r}, expected a whole number from 1")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise DataError(f"seed is {seed!r}, expected a whole number from 0")
    if clip_norm is not None and not clip_norm > 0:
        raise DataError(f"clip_norm is {clip_norm!r}, expected a number above 0")
    if patience is not None and (patience < 1 or validation is None):
        raise DataError("patience needs validation data, and is at least 1")
    if len(network.outputs) != 1:
        names = [output.name for output in network.outputs]
        raise GraphError(f"graph {network.name} has outputs {names}, expected one to train")
    last = network.outputs[0].port.node
    if loss is cross_entropy and isinstance(last.operator, Softmax):
        raise GraphError(
            f"{last.name} (Softmax): cross_entropy takes logits; remove it "
            "(aidge_quant.recipes.remove_trailing_softmax)"
        )
