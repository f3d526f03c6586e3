"""Integer networks and their data as plain values, the form that ``oracle`` reads."""

import dataclasses
from typing import Any

import numpy as np
import oracle

from aidge_quant.dtypes import dtype
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.network import IntegerNetwork


def plain(value: Any) -> Any:
    """Return a value of a dataclass field in numbers, strings, lists and dictionaries."""
    if isinstance(value, np.ndarray):
        return {"shape": list(value.shape), "values": value.ravel().tolist()}
    if isinstance(value, dtype):
        return value.value
    if dataclasses.is_dataclass(value):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": value.kind, **fields} if isinstance(value, Layer) else fields
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def network(integer_network: IntegerNetwork) -> dict[str, Any]:
    """Return the description of a network that ``oracle.run`` takes."""
    return {
        "tensors": {tensor.name: plain(tensor) for tensor in integer_network.tensors},
        "layers": plain(integer_network.layers),
        "inputs": list(integer_network.inputs),
        "outputs": list(integer_network.outputs),
    }


def oracle_run(integer_network: IntegerNetwork, q) -> dict[str, np.ndarray]:
    """Return every tensor, in ONNX layout with a batch, as the oracle computes it.

    Parameters
    ----------
    integer_network : IntegerNetwork
    q : what ``IntegerNetwork.run`` takes

    Returns
    -------
    dict of int64 arrays (batch, *ONNX shape), by tensor name
    """
    description = network(integer_network)
    tensors = description["tensors"]
    arrays = q if isinstance(q, dict) else {integer_network.input_names[0]: q}
    names = dict(zip(integer_network.inputs, integer_network.input_names, strict=True))
    results: dict[str, list] = {name: [] for name in tensors}
    for element in range(len(next(iter(arrays.values())))):
        inputs = {
            name: oracle.from_onnx(tensors[name], arrays[names[name]][element].ravel().tolist())
            for name in integer_network.inputs
        }
        for name, values in oracle.run(description, inputs).items():
            results[name].append(oracle.to_onnx(tensors[name], values))
    return {
        name: np.array(rows, np.int64).reshape(len(rows), *tensors[name]["onnx_shape"])
        for name, rows in results.items()
    }
