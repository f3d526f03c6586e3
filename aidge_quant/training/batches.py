"""Batches of samples: from arrays, from any iterable of pairs, or from a torch DataLoader."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any

import numpy as np

from aidge_quant.errors import DataError
from aidge_quant.executor import Arrays

Batch = tuple[Arrays, np.ndarray]

#: A pair (x, y) of arrays; an iterable of such batches; or a function that returns one.
Data = tuple[Any, Any] | Iterable[tuple[Any, Any]] | Callable[[], Iterable[tuple[Any, Any]]]


def batches(
    data: Data, batch_size: int, rng: np.random.Generator | None
) -> Iterator[tuple[Batch, float]]:
    """Yield the batches of one epoch, each with the fraction of the epoch before it.

    Parameters
    ----------
    data : pair of arrays, iterable of batches, or callable that returns one
        The first of a pair may be a mapping of arrays by input name. Torch tensors become arrays.
    batch_size : int
        For arrays; iterables come in batches already.
    rng : Generator or None
        Shuffles arrays; None keeps their order.

    Raises
    ------
    DataError
        If there is no batch, as when a generator is used a second time: pass a function then.
    """
    if isinstance(data, tuple):
        if len(data) != 2 or any(part is None for part in data):
            raise DataError("the data are a tuple, expected the pair of samples and labels")
        x, y = data
        yield from _of_arrays(x, y, batch_size, rng)
        return
    source = data() if callable(data) else data
    if not isinstance(source, Iterable):
        raise DataError(
            f"the data are a {type(source).__name__}, expected a pair of arrays or batches of pairs"
        )
    total = len(source) if isinstance(source, Sized) else 0
    count = 0
    for count, (x, y) in enumerate(source, start=1):
        yield (_arrays(x), _array(y)), (count - 1) / total if total else 0.0
    if count == 0:
        raise DataError(
            "the data hold no batch (any more): a generator serves one epoch; pass a function that "
            "returns a new one"
        )


def _of_arrays(
    x: Any, y: Any, batch_size: int, rng: np.random.Generator | None
) -> Iterator[tuple[Batch, float]]:
    features, labels = _arrays(x), _array(y)
    parts = features.values() if isinstance(features, Mapping) else (features,)
    counts = {len(part) for part in (*parts, labels)}
    if len(counts) > 1 or counts == {0}:
        raise DataError(f"samples and labels have {sorted(counts)} entries, expected one number")
    (count,) = counts
    order = np.arange(count) if rng is None else rng.permutation(count)
    for start in range(0, count, batch_size):
        chosen = order[start : start + batch_size]
        if isinstance(features, Mapping):
            picked: Arrays = {name: part[chosen] for name, part in features.items()}
        else:
            picked = features[chosen]
        yield (picked, labels[chosen]), start / count


def _arrays(x: Any) -> Arrays:
    if isinstance(x, Mapping):
        return {name: _array(part) for name, part in x.items()}
    return _array(x)


def _array(x: Any) -> np.ndarray:
    if hasattr(x, "detach"):  # a torch tensor, perhaps on another device
        x = x.detach().cpu().numpy()
    return np.asarray(x)
