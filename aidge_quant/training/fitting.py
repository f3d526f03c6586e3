"""fit: train the parameters of a graph, epoch by epoch."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from aidge_quant.errors import DataError, GraphError
from aidge_quant.executor import Arrays, evaluate, graph_feeds
from aidge_quant.graph import GraphView
from aidge_quant.ops import Softmax
from aidge_quant.training.batches import Data, batches
from aidge_quant.training.losses import cross_entropy
from aidge_quant.training.optimizers import SGD, Optimizer
from aidge_quant.training.parameters import Group
from aidge_quant.training.progress import shown
from aidge_quant.training.schedules import Schedule, cosine
from aidge_quant.training.state import Epoch, LossFunction, Trainer

logger = logging.getLogger("aidge_quant")

#: Changes a batch of samples: from (rng, x) to x.
Augmentation = Callable[[np.random.Generator, Arrays], Arrays]


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
    progress: bool | Callable[[int, float], object] = False,
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
    progress : bool or callable
        True draws a bar on standard error while that is a terminal. A function is called with the
        number of the epoch and the fraction done of it, before each batch.

    Raises
    ------
    DataError, GraphError
        If an argument cannot be used, or loss, gradients or values are not finite any more.
    UnsupportedError
        If an operator between a parameter and the output has no backward.
    """
    _require(network, epochs, batch_size, loss, validation, patience, seed, clip_norm)
    trainer = Trainer(network, optimizer or SGD(), groups, clip_norm)
    history: list[Epoch] = []
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None and path.exists():
        history = trainer.restore(path, seed)
    with shown(progress, epochs, history) as (tell, told):
        for number in range(len(history) + 1, epochs + 1):
            if trainer.finished(history, patience):
                break
            rng = np.random.default_rng((seed, number))
            losses, counts = [], []
            for (x, y), done in batches(data, batch_size, rng):
                tell(number, done)
                feeds = graph_feeds(network, x if augment is None else augment(rng, x))
                rate = schedule((number - 1 + done) / epochs)
                losses.append(trainer.step(feeds, y, loss, rate, batch_statistics))
                counts.append(len(y))
            mean = float(np.average(losses, weights=counts))
            found = (None, None) if validation is None else _validate(network, validation, loss)
            epoch = Epoch(number, mean, *found)
            history.append(epoch)
            logger.info("%s: epoch %d of %d: %s", network.name, number, epochs, epoch)
            told(epoch)
            trainer.keep_best(epoch, patience)
            if path is not None:
                trainer.save(path, seed, history)
            stops = [callback(network, epoch) is True for callback in callbacks]
            if any(stops):
                break
    trainer.take_best(patience)
    return history


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
