"""Run candidates on samples: only the layers that changed are computed again."""

import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from aidge_quant.integer.layers import Layer
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.run import run_layer

CHUNK = 16
THREADS = 2
CACHE_BYTES = 256 * 2**20

Chunks = list[np.ndarray]


class Evaluation:
    """The error of integer networks against the float network on a set of samples.

    Parameters
    ----------
    inputs : mapping of float32 array (n, *shape) by input name
    references : mapping of float array (n, *shape) by output name
        What the float network returns for them.

    Notes
    -----
    The tensors of earlier candidates are kept, filed under a digest of all that led to them, so
    that a candidate costs its changed layers and those behind them. The oldest go when
    CACHE_BYTES are held.
    """

    def __init__(
        self, inputs: Mapping[str, np.ndarray], references: Mapping[str, np.ndarray]
    ) -> None:
        self.inputs = inputs
        self.references = {
            name: np.asarray(y, np.float64).reshape(len(y), -1) for name, y in references.items()
        }
        self.count = len(next(iter(inputs.values())))
        self._held: OrderedDict[bytes, Chunks] = OrderedDict()
        self._bytes = 0

    def errors(self, network: IntegerNetwork, *, centered: bool = False) -> np.ndarray:
        """Return the squared error of every sample over the mean signal: float64 (n,).

        With ``centered``, the mean error of each output, which a bias can remove, does not count.
        """
        results = self.outputs(network)
        total = np.zeros(self.count)
        for name, reference in self.references.items():
            difference = results[name] - reference
            if centered:
                difference = difference - difference.mean(axis=0)
            signal = np.square(reference).sum() / self.count or 1.0
            total += np.square(difference).sum(axis=1) / signal
        return total / len(self.references)

    def sqnr(self, network: IntegerNetwork) -> float:
        """Return 10 log10(signal / error) of the outputs, in dB."""
        noise = float(self.errors(network).mean())
        return float(-10 * np.log10(max(noise, 1e-30)))

    def outputs(self, network: IntegerNetwork) -> dict[str, np.ndarray]:
        """Return the real outputs, float64 (n, size), by name."""
        keys = self._run(network, network.outputs)
        found = {}
        for tensor_name, name in zip(network.outputs, network.output_names, strict=True):
            tensor = network.tensor(tensor_name)
            stored = np.concatenate(self._held[keys[tensor_name]])
            found[name] = tensor.to_onnx(stored)
        real = _by_name(network.dequantize_output(_bare(found)), network.output_names[0])
        return {name: y.reshape(self.count, -1) for name, y in real.items()}

    def tensor(self, network: IntegerNetwork, name: str) -> np.ndarray:
        """Return one tensor without its zero point: int16 or int32 (n, *ONNX shape)."""
        keys = self._run(network, (name,))
        tensor = network.tensor(name)
        stored = tensor.to_onnx(np.concatenate(self._held[keys[name]]))
        return stored.astype(np.int32) - tensor.zero_point

    def forget(self) -> None:
        """Let go of the tensors of earlier candidates."""
        self._held.clear()
        self._bytes = 0

    def _run(self, network: IntegerNetwork, wanted: Sequence[str]) -> dict[str, bytes]:
        """Compute the wanted tensors and return the digest of each tensor on the way."""
        writers = {layer.output: layer for layer in network.layers}
        needed, stack = set(), list(wanted)
        while stack:
            name = stack.pop()
            if name not in needed:
                needed.add(name)
                stack += writers[name].inputs if name in writers else ()
        keys = self._feed(network)
        for layer in network.layers:
            if layer.output in needed:
                keys[layer.output] = _digest(layer, [keys[name] for name in layer.inputs])
        missing, stack = set(), list(wanted)
        while stack:
            name = stack.pop()
            if keys[name] in self._held:
                self._held.move_to_end(keys[name])
            elif name not in missing:
                missing.add(name)
                stack += writers[name].inputs
        live = {keys[name] for name in needed}
        with ThreadPoolExecutor(THREADS) as pool:
            for layer in network.layers:
                if layer.output in missing:
                    output = network.tensor(layer.output)
                    sources = [self._held[keys[name]] for name in layer.inputs]
                    jobs = [
                        pool.submit(run_layer, layer, parts, output)
                        for parts in zip(*sources, strict=True)
                    ]
                    self._keep(keys[layer.output], [job.result() for job in jobs], live)
        return keys

    def _feed(self, network: IntegerNetwork) -> dict[str, bytes]:
        keys = {}
        quantized: Any = None
        for tensor_name, name in zip(network.inputs, network.input_names, strict=True):
            tensor = network.tensor(tensor_name)
            text = f"{name} {tensor.scale} {tensor.zero_point} {tensor.dtype.value}"
            keys[tensor_name] = text.encode()
            if keys[tensor_name] not in self._held:
                if quantized is None:
                    quantized = _by_name(network.quantize_input(_bare(self.inputs)), name)
                stored = tensor.from_onnx(quantized[name])
                chunks = [stored[i : i + CHUNK] for i in range(0, self.count, CHUNK)]
                self._keep(keys[tensor_name], chunks, set())
        return keys

    def _keep(self, key: bytes, chunks: Chunks, live: set[bytes]) -> None:
        self._held[key] = chunks
        self._bytes += sum(chunk.nbytes for chunk in chunks)
        for old in list(self._held):
            if self._bytes <= CACHE_BYTES:
                return
            if old not in live and old != key:
                self._bytes -= sum(chunk.nbytes for chunk in self._held.pop(old))


def _bare(arrays: Mapping[str, np.ndarray]) -> Any:
    """Return the only array, or all of them by name."""
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def _by_name(arrays: Any, name: str) -> Mapping[str, np.ndarray]:
    """Return arrays by name, ``name`` being that of a single one."""
    return arrays if isinstance(arrays, Mapping) else {name: arrays}


def _digest(layer: Layer, inputs: Sequence[bytes]) -> bytes:
    """Return a digest of all that decides the layer's output."""
    found = hashlib.blake2b(layer.kind.encode(), digest_size=16)
    for key in inputs:
        found.update(key)
    for field in dataclasses.fields(layer):
        if field.name not in ("name", "source", "inputs", "output"):
            _update(found, getattr(layer, field.name))
    return found.digest()


def _update(found: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        found.update(f"{value.dtype}{value.shape}".encode())
        found.update(np.ascontiguousarray(value).tobytes())
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _update(found, getattr(value, field.name))
    else:
        found.update(repr(value).encode())
    found.update(b";")
