"""The table of operators in torch: every operator that has a ``backward`` of ours."""

from collections.abc import Callable
from typing import Any

from aidge_quant import ops
from aidge_quant.errors import UnsupportedError
from aidge_quant.interop.torch import quantizers, windows
from aidge_quant.interop.torch.library import Tensor, functional, torch

#: From the operator and its inputs, None where one is left out, to its output or outputs.
Function = Callable[..., Any]


def supported() -> tuple[str, ...]:
    """Return the names of the operators that ``GraphModule`` runs."""
    return tuple(sorted((*TABLE, *ENDS)))


def function_of(operator: ops.Operator) -> Function:
    """Return the function of an operator.

    Raises
    ------
    UnsupportedError
        If it has none.
    """
    if operator.type not in TABLE:
        raise UnsupportedError(
            f"{operator.type} does not run in torch, expected one of {', '.join(supported())}"
        )
    return TABLE[operator.type]


def batch_norm(
    operator: ops.BatchNorm,
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    train: bool = False,
    momentum: float = 0.0,
) -> Tensor:
    """Normalize; in training with the batch, towards which the stored statistics then move."""
    # Statistics have no gradient; what is detached is the same memory, so they move.
    arguments = (mean.detach(), variance.detach(), scale, bias, train, momentum, operator.epsilon)
    return functional.batch_norm(x, *arguments)


def _clip(operator: ops.Clip, x: Tensor) -> Tensor:
    """Return the clipped values; no gradient at the bounds, where torch's clamp has one."""
    upper = torch.as_tensor(operator.upper, dtype=x.dtype, device=x.device)
    if upper.ndim:
        upper = upper.reshape(-1, *(1,) * (x.ndim - 2))
    lower = torch.as_tensor(operator.lower, dtype=x.dtype, device=x.device)
    bounded = torch.minimum(torch.maximum(x.detach(), lower), upper)
    return torch.where((x > lower) & (x < upper), x, bounded)


def _softmax(operator: ops.Softmax, x: Tensor) -> Tensor:
    axis = operator.axis % x.ndim
    if not operator.flatten:
        return torch.softmax(x, axis)
    return torch.softmax(x.flatten(axis), axis).reshape(x.shape)


def _gemm(operator: ops.Gemm, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    left, right = a.T if operator.transpose_a else a, b.T if operator.transpose_b else b
    product = left @ right * operator.alpha
    return product if c is None else product + c * operator.beta


def _global_max_pool(operator: ops.GlobalMaxPool, x: Tensor) -> Tensor:
    flat = x.flatten(2)
    first = flat.argmax(dim=2, keepdim=True)  # of equal ones the first, which gets the gradient
    return flat.gather(2, first).reshape(*x.shape[:2], *(1,) * (x.ndim - 2))


def _slice(operator: ops.Slice, x: Tensor) -> Tensor:
    for axis, part in enumerate(operator.slices(tuple(x.shape))):
        places = range(*part.indices(x.shape[axis]))
        if len(places) != x.shape[axis] or part.step != 1:
            x = x.index_select(axis, torch.tensor(list(places), dtype=torch.int64, device=x.device))
    return x


def _pad(operator: ops.Pad, x: Tensor) -> Tensor:
    pairs = reversed(list(zip(operator.before, operator.after, strict=True)))
    return functional.pad(x, [n for pair in pairs for n in pair], value=operator.value)


def _shaped(operator: Any, x: Tensor) -> Tensor:
    (shape,) = operator.infer_shapes(tuple(x.shape))
    return x.reshape(shape)


def _quantizer(function: Any) -> Function:
    return lambda operator, *tensors: function.apply(*tensors, operator)


#: Without inputs: the module itself provides what they give.
ENDS = ("Input", "Producer")

TABLE: dict[str, Function] = {
    "Add": lambda _, a, b: a + b,
    "AveragePool": windows.average_pool,
    "BatchNorm": batch_norm,
    "BiasQuantizer": _quantizer(quantizers.BiasQuantizerFunction),
    "CGPACT": _quantizer(quantizers.CGPACTFunction),
    "Clip": _clip,
    "Concat": lambda operator, *parts: torch.cat(parts, operator.axis),
    "Conv": windows.conv,
    "ConvTranspose": windows.conv_transpose,
    "Div": lambda _, a, b: a / b,
    "DoReFa": _quantizer(quantizers.DoReFaFunction),
    "FC": lambda _, x, weight, bias=None: functional.linear(x, weight, bias),
    "FixedQ": _quantizer(quantizers.FixedQFunction),
    "Flatten": _shaped,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, x: x.mean(dim=tuple(range(2, x.ndim)), keepdim=True),
    "GlobalMaxPool": _global_max_pool,
    "Identity": lambda _, x: x,
    "LSQ": _quantizer(quantizers.LSQFunction),
    "LeakyReLU": lambda operator, x: torch.where(x >= 0, x, x * operator.alpha),
    "MatMul": lambda _, a, b: a @ b,
    "MaxPool": windows.max_pool,
    "Mul": lambda _, a, b: a * b,
    "Pad": _pad,
    "ReLU": lambda _, x: torch.relu(x),
    "ReduceMean": lambda operator, x: x.mean(dim=operator.axes, keepdim=operator.keep_axes),
    "Reshape": _shaped,
    "ScaleAdjust": lambda _, x: quantizers.scale_adjust(x),
    "Sigmoid": lambda _, x: torch.sigmoid(x),
    "Slice": _slice,
    "Softmax": _softmax,
    "Squeeze": _shaped,
    "Sub": lambda _, a, b: a - b,
    "SumPool": windows.sum_pool,
    "Tanh": lambda _, x: torch.tanh(x),
    "TanhClamp": lambda _, x: quantizers.tanh_clamp(x),
    "Transpose": lambda operator, x: x.permute(operator.permutation),
    "Unsqueeze": _shaped,
}
