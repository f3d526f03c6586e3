"""The integer contract once more, in Python's unbounded integers, one number at a time.

Nothing of the package is imported: this file is read against the docstrings of
``aidge_quant.integer.layers`` and then judges the kernels and the exported C. Speed is no concern.

A network is a dictionary of plain values, made by ``plain.network``::

    {"tensors": {name: {"shape": [...], "dtype": "int8", "zero_point": 0, "onnx_shape": [...],
                        "layout": [...], ...}},
     "layers": [{"kind": "Add", "name": ..., "inputs": [...], "output": ..., field: value, ...}],
     "inputs": [...], "outputs": [...], ...}

An array is ``{"shape": [...], "values": [...]}``, the values in C order. Tensors are lists of
integers in the stored order, without a batch.
"""

from itertools import product

RANGES = {
    "int8": (-(2**7), 2**7 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1),
}


# -- indices -------------------------------------------------------------------------------


def position(index, shape):
    """Return where in a list in C order an element lies."""
    place = 0
    for i, size in zip(index, shape, strict=True):
        if not 0 <= i < size:
            raise AssertionError(f"index {index} outside {shape}")
        place = place * size + i
    return place


def indices(shape):
    """Return all indices of a shape in C order."""
    return product(*(range(size) for size in shape))


def at(array, *index):
    """Return one element of an array."""
    return array["values"][position(index, array["shape"])]


def from_onnx(tensor, values):
    """Return a tensor in stored order from the order of ONNX."""
    sizes = [tensor["onnx_shape"][axis] for axis in tensor["layout"]]
    stored = []
    for index in indices(sizes):
        onnx_index = [0] * len(sizes)
        for axis, i in zip(tensor["layout"], index, strict=True):
            onnx_index[axis] = i
        stored.append(values[position(onnx_index, tensor["onnx_shape"])])
    return stored


def to_onnx(tensor, values):
    """Return a tensor in the order of ONNX from the stored order."""
    sizes = [tensor["onnx_shape"][axis] for axis in tensor["layout"]]
    return [
        values[position([index[axis] for axis in tensor["layout"]], sizes)]
        for index in indices(tensor["onnx_shape"])
    ]


# -- arithmetic ----------------------------------------------------------------------------


def accumulate(bias, products):
    """Return the sum; no order of adding may leave int32."""
    products = list(products)
    assert abs(bias) + sum(map(abs, products)) < 2**31
    return bias + sum(products)


def clip(value, lower, upper):
    return max(lower, min(value, upper))


def divide(numerator, power, rounding):
    """Return numerator / 2**power, rounded half up or half even."""
    quotient, rest = divmod(numerator, 2**power)
    half = 2**power / 2
    if rest > half or (rest == half and (rounding == "half_up" or quotient % 2)):
        quotient += 1
    return quotient


def requantize(acc, step, channel):
    """Return the stored output of an accumulator."""
    assert -(2**31) <= acc < 2**31
    one = len(step["shift"]["values"]) == 1
    k = step["shift"]["values"][0 if one else channel]
    if step["multiplier"] is not None:
        m = step["multiplier"]["values"][0 if one else channel]
        assert 2**30 <= m < 2**31
        assert 1 <= k <= 62
        t = divide(acc * m, k, step["rounding"])
        assert abs(acc * m) + 2 ** (k - 1) < 2**63
    elif k < 0:
        t = acc * 2**-k
        assert abs(t) + abs(step["offset"]) < 2**31
    elif step["rounding"] == "half_even":
        t = divide(acc, k, "half_even")
    else:
        t = acc // 2**k  # the rounding constant is part of the bias
    upper = step["upper"]
    if isinstance(upper, dict):
        upper = upper["values"][channel]
    return clip(t + step["offset"], step["lower"], upper)


# -- layers: of (layer, tensors of the inputs, values of the inputs, tensor of the output) --------


def residual(layer, values, place, channel):
    """Return what a second input adds to the accumulator of one output, as a list of products."""
    factors = layer["residual"]
    if factors is None:
        return []
    one = len(factors["values"]) == 1
    return [factors["values"][0 if one else channel] * values[1][place]]


def window_taps(layer, shape, y, x, window):
    """Return (ky, kx, row or None, column or None) of a window; None is outside."""
    top, left, _, _ = layer["padding"]
    dy, dx = layer.get("dilation", (1, 1))
    for ky, kx in indices(window):
        row = y * layer["stride"][0] + ky * dy - top
        column = x * layer["stride"][1] + kx * dx - left
        inside = 0 <= row < shape[0] and 0 <= column < shape[1]
        yield ky, kx, row if inside else None, column if inside else None


def convolution(layer, inputs, values, output):
    shape, weight = inputs[0]["shape"], layer["weight"]
    out, height, width, depth = weight["shape"]
    result = []
    for y, x, o in indices(output["shape"]):
        first = o // (out // layer["groups"]) * depth
        products = []
        for ky, kx, row, column in window_taps(layer, shape, y, x, (height, width)):
            for i in range(depth):
                q = layer["pad_value"]
                if row is not None:
                    q = values[0][position((row, column, first + i), shape)]
                products.append(at(weight, o, ky, kx, i) * q)
        products += residual(layer, values, len(result), o)
        acc = accumulate(layer["bias"]["values"][o], products)
        result.append(requantize(acc, layer["requantization"], o))
    return result


def depthwise(layer, inputs, values, output):
    shape, weight = inputs[0]["shape"], layer["weight"]
    result = []
    for y, x, c in indices(output["shape"]):
        products = []
        for ky, kx, row, column in window_taps(layer, shape, y, x, weight["shape"][:2]):
            outside = row is None
            q = layer["pad_value"] if outside else values[0][position((row, column, c), shape)]
            products.append(at(weight, ky, kx, c) * q)
        products += residual(layer, values, len(result), c)
        acc = accumulate(layer["bias"]["values"][c], products)
        result.append(requantize(acc, layer["requantization"], c))
    return result


def transposed(layer, inputs, values, output):
    """Scatter: every input position adds to the outputs it reaches."""
    (height, width, _), weight = inputs[0]["shape"], layer["weight"]
    out, kernel_height, kernel_width, depth = weight["shape"]
    (sy, sx), (dy, dx), (top, left, _, _) = layer["stride"], layer["dilation"], layer["padding"]
    products = [[] for _ in range(len(list(indices(output["shape"]))))]
    for iy, ix, ky, kx in indices((height, width, kernel_height, kernel_width)):
        y, x = iy * sy + ky * dy - top, ix * sx + kx * dx - left
        if not (0 <= y < output["shape"][0] and 0 <= x < output["shape"][1]):
            continue
        for o, i in indices((out, depth)):
            first = o // (out // layer["groups"]) * depth
            q = values[0][position((iy, ix, first + i), inputs[0]["shape"])]
            term = at(weight, o, ky, kx, i) * (q - layer["input_zero_point"])
            products[position((y, x, o), output["shape"])].append(term)
    result = []
    for (_, _, o), terms in zip(indices(output["shape"]), products, strict=True):
        terms += residual(layer, values, len(result), o)
        acc = accumulate(layer["bias"]["values"][o], terms)
        result.append(requantize(acc, layer["requantization"], o))
    return result


def fully_connected(layer, inputs, values, output):
    out, depth = layer["weight"]["shape"]
    result = []
    for start in range(0, len(values[0]), depth):
        row = values[0][start : start + depth]
        for o in range(out):
            products = [at(layer["weight"], o, i) * row[i] for i in range(depth)]
            products += residual(layer, values, len(result), o)
            acc = accumulate(layer["bias"]["values"][o], products)
            result.append(requantize(acc, layer["requantization"], o))
    return result


def add(layer, inputs, values, output):
    ma, mb = layer["multipliers"]
    return [
        requantize(accumulate(layer["bias"], (ma * a, mb * b)), layer["requantization"], 0)
        for a, b in zip(*values, strict=True)
    ]


def multiply(layer, inputs, values, output):
    za, zb = layer["zero_points"]
    m = layer["multiplier"]
    a, b = values
    if len(b) != len(a):  # one value a channel, the last axis
        b = b * (len(a) // len(b))
    step = layer["requantization"]
    return [
        requantize(accumulate(layer["bias"], (m * (p - za) * (q - zb),)), step, 0)
        for p, q in zip(a, b, strict=True)
    ]


def rescale(layer, inputs, values, output):
    step = layer["requantization"]
    return [
        requantize(accumulate(layer["bias"], (layer["multiplier"] * x,)), step, 0)
        for x in values[0]
    ]


def average_pool(layer, inputs, values, output):
    shape, zero = inputs[0]["shape"], layer["zero_point"]
    result = []
    for y, x, c in indices(output["shape"]):
        inside, outside = [], 0
        for _, _, row, column in window_taps(layer, shape, y, x, layer["window"]):
            if row is None:
                outside += 1
            else:
                inside.append(values[0][position((row, column, c), shape)])
        assert inside
        if layer["requantization"] is not None:
            acc = accumulate(layer["bias"], inside + [zero] * outside)
            result.append(requantize(acc, layer["requantization"], 0))
            continue
        count = len(inside) + (outside if layer["count_include_pad"] else 0)
        total = sum(q - zero for q in inside)
        assert abs(2 * total) + count < 2**31
        t = (2 * total + count) // (2 * count)
        result.append(clip(t + zero, layer["lower"], layer["upper"]))
    return result


def max_pool(layer, inputs, values, output):
    shape = inputs[0]["shape"]
    return [
        max(
            values[0][position((row, column, c), shape)]
            for _, _, row, column in window_taps(layer, shape, y, x, layer["window"])
            if row is not None
        )
        for y, x, c in indices(output["shape"])
    ]


def clamp(layer, inputs, values, output):
    return [clip(x, layer["lower"], layer["upper"]) for x in values[0]]


def lookup(layer, inputs, values, output):
    rows = layer["table"]["shape"][0]
    return [at(layer["table"], place % rows, x + 128) for place, x in enumerate(values[0])]


def reshape(layer, inputs, values, output):
    return list(values[0])


def transpose(layer, inputs, values, output):
    result = []
    for index in indices(output["shape"]):
        source = [0] * len(index)
        for axis, i in zip(layer["permutation"], index, strict=True):
            source[axis] = i
        result.append(values[0][position(source, inputs[0]["shape"])])
    return result


def slice_(layer, inputs, values, output):
    return [
        values[0][
            position(
                [
                    start + i * step
                    for start, i, step in zip(layer["starts"], index, layer["steps"], strict=True)
                ],
                inputs[0]["shape"],
            )
        ]
        for index in indices(output["shape"])
    ]


def pad(layer, inputs, values, output):
    shape = inputs[0]["shape"]
    result = []
    for index in indices(output["shape"]):
        source = [i - before for i, before in zip(index, layer["before"], strict=True)]
        inside = all(0 <= i < size for i, size in zip(source, shape, strict=True))
        result.append(values[0][position(source, shape)] if inside else layer["value"])
    return result


def concat(layer, inputs, values, output):
    axis = layer["axis"]
    result = []
    for index in indices(output["shape"]):
        i, which = index[axis], 0
        while i >= inputs[which]["shape"][axis]:
            i -= inputs[which]["shape"][axis]
            which += 1
        source = (*index[:axis], i, *index[axis + 1 :])
        result.append(values[which][position(source, inputs[which]["shape"])])
    return result


def resize(layer, inputs, values, output):
    rows, columns = layer["rows"]["values"], layer["columns"]["values"]
    return [
        values[0][position((rows[y], columns[x], c), inputs[0]["shape"])]
        for y, x, c in indices(output["shape"])
    ]


def argmax(layer, inputs, values, output):
    size = inputs[0]["shape"][-1]
    runs = [values[0][start : start + size] for start in range(0, len(values[0]), size)]
    return [run.index(max(run)) for run in runs]


LAYERS = {
    "Convolution": convolution,
    "DepthwiseConvolution": depthwise,
    "TransposedConvolution": transposed,
    "FullyConnected": fully_connected,
    "Add": add,
    "Multiply": multiply,
    "Rescale": rescale,
    "AveragePool": average_pool,
    "MaxPool": max_pool,
    "Clamp": clamp,
    "Lookup": lookup,
    "Reshape": reshape,
    "Transpose": transpose,
    "Slice": slice_,
    "Pad": pad,
    "Concat": concat,
    "Resize": resize,
    "ArgMax": argmax,
}


def run(network, inputs):
    """Return every tensor of one run.

    Parameters
    ----------
    network : dict
    inputs : dict of lists of int, by tensor name, in stored order

    Returns
    -------
    dict of lists of int, by tensor name, in stored order
    """
    values = {name: list(inputs[name]) for name in network["inputs"]}
    for layer in network["layers"]:
        tensors = [network["tensors"][name] for name in layer["inputs"]]
        output = network["tensors"][layer["output"]]
        read = [values[name] for name in layer["inputs"]]
        written = LAYERS[layer["kind"]](layer, tensors, read, output)
        lower, upper = RANGES[output["dtype"]]
        assert len(written) == len(list(indices(output["shape"])))
        assert all(lower <= value <= upper for value in written)
        values[layer["output"]] = written
    return values
