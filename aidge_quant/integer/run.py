"""The golden model: runs an integer network by its plan, or layer by layer to keep every tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from aidge_quant import kernels
from aidge_quant.errors import DataError, DtypeError
from aidge_quant.integer import layers
from aidge_quant.integer.ends import Arrays, bare, by_name, expect_batch
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.plan import Plan
from aidge_quant.integer.tensors import IntegerTensor

if TYPE_CHECKING:
    from aidge_quant.integer.network import IntegerNetwork

# What a layer computes of its inputs, all in the stored layout behind a batch axis.
LayerFunction = Callable[[Any, Sequence[np.ndarray], IntegerTensor], np.ndarray]


def _kernel(layer: Layer, x: np.ndarray) -> Callable[..., np.ndarray]:
    """Return the kernel of a layer with arithmetic for the type of its data."""
    return getattr(kernels, f"{layer.kernel}_s{x.dtype.itemsize * 8}")


def _affine(layer: layers.Affine, inputs: Sequence[np.ndarray], **options: Any) -> np.ndarray:
    constants = (layer.weight, layer.bias, layer.requantization)
    residual = None if layer.residual is None else (layer.residual, inputs[1])
    return _kernel(layer, inputs[0])(inputs[0], *constants, residual=residual, **options)


def _convolution(
    layer: layers.Convolution, inputs: Sequence[np.ndarray], output: IntegerTensor
) -> np.ndarray:
    return _affine(
        layer,
        inputs,
        stride=layer.stride,
        dilation=layer.dilation,
        padding=layer.padding,
        groups=layer.groups,
        pad_value=layer.pad_value,
        dtype=output.dtype.numpy,
    )


def _depthwise(
    layer: layers.DepthwiseConvolution, inputs: Sequence[np.ndarray], output: IntegerTensor
) -> np.ndarray:
    return _affine(
        layer,
        inputs,
        stride=layer.stride,
        dilation=layer.dilation,
        padding=layer.padding,
        pad_value=layer.pad_value,
        dtype=output.dtype.numpy,
    )


def _transposed(
    layer: layers.TransposedConvolution, inputs: Sequence[np.ndarray], output: IntegerTensor
) -> np.ndarray:
    return _affine(
        layer,
        inputs,
        stride=layer.stride,
        dilation=layer.dilation,
        padding=layer.padding,
        groups=layer.groups,
        input_zero_point=layer.input_zero_point,
        dtype=output.dtype.numpy,
    )


def _fully_connected(
    layer: layers.FullyConnected, inputs: Sequence[np.ndarray], output: IntegerTensor
) -> np.ndarray:
    x, (out, depth) = inputs[0], layer.weight.shape
    rows = [x.reshape(-1, depth), *(r.reshape(-1, out) for r in inputs[1:])]
    y = _affine(layer, rows, dtype=output.dtype.numpy)
    return y.reshape(x.shape[0], *output.shape)


def _add(layer: layers.Add, inputs: Sequence[np.ndarray], output: IntegerTensor) -> np.ndarray:
    return _kernel(layer, inputs[0])(
        *inputs,
        layer.requantization,
        multipliers=layer.multipliers,
        bias=layer.bias,
        dtype=output.dtype.numpy,
    )


def _multiply(
    layer: layers.Multiply, inputs: Sequence[np.ndarray], output: IntegerTensor
) -> np.ndarray:
    return _kernel(layer, inputs[0])(
        *inputs,
        layer.requantization,
        multiplier=layer.multiplier,
        zero_points=layer.zero_points,
        bias=layer.bias,
        dtype=output.dtype.numpy,
    )


def _rescale(
    layer: layers.Rescale, inputs: Sequence[np.ndarray], output: IntegerTensor
) -> np.ndarray:
    return _kernel(layer, inputs[0])(
        *inputs,
        layer.requantization,
        multiplier=layer.multiplier,
        bias=layer.bias,
        dtype=output.dtype.numpy,
    )


def _average_pool(
    layer: layers.AveragePool, inputs: Sequence[np.ndarray], output: IntegerTensor
) -> np.ndarray:
    return _kernel(layer, inputs[0])(
        *inputs,
        layer.requantization,
        window=layer.window,
        stride=layer.stride,
        padding=layer.padding,
        count_include_pad=layer.count_include_pad,
        zero_point=layer.zero_point,
        bias=layer.bias,
        lower=layer.lower,
        upper=layer.upper,
        dtype=output.dtype.numpy,
    )


def _max_pool(layer: layers.MaxPool, inputs: Sequence[np.ndarray], _: IntegerTensor) -> np.ndarray:
    return _kernel(layer, inputs[0])(
        *inputs,
        window=layer.window,
        stride=layer.stride,
        dilation=layer.dilation,
        padding=layer.padding,
    )


FUNCTIONS: dict[type[Layer], LayerFunction] = {
    layers.Convolution: _convolution,
    layers.DepthwiseConvolution: _depthwise,
    layers.TransposedConvolution: _transposed,
    layers.FullyConnected: _fully_connected,
    layers.Add: _add,
    layers.Multiply: _multiply,
    layers.Rescale: _rescale,
    layers.AveragePool: _average_pool,
    layers.MaxPool: _max_pool,
    layers.Clamp: lambda layer, inputs, _: _kernel(layer, inputs[0])(
        *inputs, lower=layer.lower, upper=layer.upper
    ),
    layers.Lookup: lambda layer, inputs, _: kernels.lookup_s8(*inputs, table=layer.table),
    layers.Reshape: lambda _, inputs, output: kernels.reshape(*inputs, shape=output.shape),
    layers.Transpose: lambda layer, inputs, _: kernels.transpose(
        *inputs, permutation=layer.permutation
    ),
    layers.Slice: lambda layer, inputs, output: kernels.slice_(
        *inputs, starts=layer.starts, steps=layer.steps, shape=output.shape
    ),
    layers.Pad: lambda layer, inputs, _: kernels.pad(
        *inputs, before=layer.before, after=layer.after, value=layer.value
    ),
    layers.Concat: lambda layer, inputs, _: kernels.concat(inputs, axis=layer.axis),
    layers.Resize: lambda layer, inputs, _: kernels.resize(
        *inputs, rows=layer.rows, columns=layer.columns
    ),
    layers.ArgMax: lambda _layer, inputs, _: kernels.argmax(*inputs),
}


def run_layer(layer: Layer, inputs: Sequence[np.ndarray], output: IntegerTensor) -> np.ndarray:
    """Return what one layer computes.

    Parameters
    ----------
    layer : Layer
    inputs : sequence of integer arrays (batch, *stored shape)
    output : IntegerTensor

    Returns
    -------
    integer array (batch, *stored shape) of the output's type
    """
    return FUNCTIONS[type(layer)](layer, inputs, output)


def _checked_inputs(network: IntegerNetwork, q: Arrays) -> list[np.ndarray]:
    """Return the checked inputs, in the order of the network and the layout of ONNX."""
    arrays = by_name(q, network.input_names, "input")
    batch = next((len(array) for array in arrays.values() if array.ndim), 0)
    for tensor_name, (name, array) in zip(network.inputs, arrays.items(), strict=True):
        tensor = network.tensor(tensor_name)
        if array.dtype != tensor.dtype.numpy:
            raise DtypeError(
                f"input {name} is {array.dtype}, expected {tensor.dtype.value}; quantize_input "
                "makes it from real numbers"
            )
        expect_batch(array, tensor, f"input {name}", batch)
    return list(arrays.values())


_WHOLE = (int, np.integer)
_PLANS: WeakKeyDictionary[IntegerNetwork, Plan] = WeakKeyDictionary()


def plan_of(network: IntegerNetwork) -> Plan:
    """Return the plan of a network, made at the first call."""
    plan = _PLANS.get(network)
    if plan is None:
        plan = _PLANS[network] = Plan(network, run_layer)
    return plan


def run_network(
    network: IntegerNetwork, q: Arrays, *, intermediates: bool = False, threads: int = 1
) -> Any:  # the forms are those of IntegerNetwork.run
    """Run the golden model.

    Parameters
    ----------
    network : IntegerNetwork
    q : integer array (batch, *ONNX shape), or a mapping of them by input name
    intermediates : bool
        Also return every tensor, by tensor name, in ONNX layout. The layers then run one by one.
    threads : int
        How many the images of the batch, or the layers of fewer images, are shared out among.

    Returns
    -------
    array (batch, *ONNX shape), or a dictionary by output name when there are several; with
    ``intermediates`` the pair of that and the dictionary of all tensors.

    Raises
    ------
    ShapeError, DtypeError, DataError
        If the input does not fit the network, or ``threads`` is not a whole number from 1.
    """
    if not isinstance(threads, _WHOLE) or threads < 1:
        raise DataError(f"threads is {threads!r}, expected a whole number from 1")
    if intermediates:
        return _layer_by_layer(network, _checked_inputs(network, q))
    plan = plan_of(network)
    if isinstance(q, np.ndarray) and plan.takes(q):
        arrays = [q]
    else:
        arrays = _checked_inputs(network, q)
    results = plan.run(arrays, int(threads))
    if len(results) == 1:
        return results[0]
    return dict(zip(network.output_names, results, strict=True))


def _layer_by_layer(network: IntegerNetwork, arrays: Sequence[np.ndarray]) -> tuple[Any, dict]:
    """Return the outputs and all tensors, by the kernels of the layers."""
    values = {
        name: network.tensor(name).from_onnx(array)
        for name, array in zip(network.inputs, arrays, strict=True)
    }
    for layer in network.layers:
        inputs = [values[name] for name in layer.inputs]
        values[layer.output] = run_layer(layer, inputs, network.tensor(layer.output))
    everything = {name: network.tensor(name).to_onnx(array) for name, array in values.items()}
    results = {
        name: everything[tensor_name]
        for tensor_name, name in zip(network.outputs, network.output_names, strict=True)
    }
    return bare(results), everything
