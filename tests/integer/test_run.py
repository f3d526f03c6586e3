"""Feeding a network: quantization of the input, errors, and what comes back."""

import numpy as np
import pytest
from tiny_network import network, step

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError, DtypeError, ShapeError
from aidge_quant.integer.layers import Add, Clamp
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.tensors import IntegerTensor

TINY = network()
SHAPE = (3, 4, 5)


def vector(name, scale=0.5, zero=0, kind=dtype.int8, size=3):
    return IntegerTensor(name, (size,), kind, scale, zero, (size,), (0,))


def clamps(tensor: IntegerTensor) -> IntegerNetwork:
    """Return a network that hands its input on."""
    output = vector("y", tensor.scale, tensor.zero_point, tensor.dtype, tensor.size)
    layer = Clamp("clamp", ("x",), "y", (), tensor.dtype.min, tensor.dtype.max)
    return IntegerNetwork("ends", (tensor, output), (layer,), ("x",), ("y",), ("x",), ("y",))


def pair() -> IntegerNetwork:
    """Return a network of two inputs and two outputs, one of them an input."""
    tensors = (vector("a"), vector("b", zero=3), vector("s"))
    layer = Add("add", ("a", "b"), "s", (), (1, 1), -3, step(0))
    ends = (("a", "b"), ("s", "a"), ("left", "right"), ("sum", "left"))
    return IntegerNetwork("pair", tensors, (layer,), *ends)


def test_ties_of_the_input_go_up():
    x = np.array([[-1.25, -0.75, -0.25, 0.25, 0.75, 1.25]])
    q = clamps(vector("x", size=6)).quantize_input(x)
    assert q.dtype == np.int8
    assert q.tolist() == [[-2, -1, 0, 1, 2, 3]]


def test_a_scale_of_1_over_127_is_floor_of_127_x_and_a_half():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-1, 1, 5000), (np.arange(-127, 127) + 0.5) / 127])
    for values in (x, x.astype(np.float32)):
        network = clamps(vector("x", 1 / 127, size=values.size))
        expected = np.floor(127 * values.astype(np.float64) + 0.5)
        assert np.array_equal(network.quantize_input(values[None])[0], expected)


@pytest.mark.parametrize(
    ("kind", "zero", "ends"), [(dtype.int8, -128, [-128, 127]), (dtype.int16, 0, [-32768, 32767])]
)
def test_the_input_saturates(kind, zero, ends):
    network = clamps(vector("x", 0.5, zero, kind, 2))
    q = network.quantize_input(np.array([[-1e30, 1e30]], np.float32))
    assert q.dtype == kind.numpy
    assert q[0].tolist() == ends


def test_unsigned_images_are_real_values_and_stored_integers_are_not():
    network = clamps(vector("x", 1.0, -128))
    assert network.quantize_input(np.array([[0, 128, 255]], np.uint8)).tolist() == [[-128, 0, 127]]
    with pytest.raises(DtypeError, match="it seems quantized already"):
        network.quantize_input(np.zeros((1, 3), np.int8))
    with pytest.raises(DtypeError, match="expected real numbers"):
        network.quantize_input(np.zeros((1, 3), bool))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(value):
    with pytest.raises(DataError, match="input x holds NaN or infinity"):
        clamps(vector("x")).quantize_input(np.array([[0.0, value, 1.0]]))


def test_the_output_is_real_again():
    network = clamps(vector("x", 0.5, -128))
    q = np.array([[-128, 0, 127]], np.int8)
    assert network.dequantize_output(network.run(q)).tolist() == [[0.0, 64.0, 127.5]]
    logits = TINY.dequantize_output(np.array([[4, 4]], np.int32))
    assert logits.dtype == np.float64
    assert logits.tolist() == [[2.0, 1.0]]


def test_several_ends_are_dictionaries():
    network = pair()
    real = {"right": np.full((2, 3), 1.0), "left": np.full((2, 3), 2.0)}
    q = network.quantize_input(real)
    assert {name: array[0, 0] for name, array in q.items()} == {"left": 4, "right": 5}
    outputs, tensors = network.run(q, intermediates=True)
    assert list(outputs) == ["sum", "left"]
    assert (outputs["sum"] == 6).all()
    assert (outputs["left"] == 4).all()
    assert list(tensors) == ["a", "b", "s"]
    assert network.dequantize_output(outputs)["sum"][0, 0] == 3.0


def test_a_single_input_may_come_by_name():
    q = np.random.default_rng(0).integers(-128, 128, (2, *SHAPE)).astype(np.int8)
    assert np.array_equal(TINY.run({"image": q}), TINY.run(q))


def test_arrays_of_any_stride_and_byte_order_are_read():
    q = np.random.default_rng(0).integers(-128, 128, (4, *SHAPE)).astype(np.int8)
    strided = np.asfortranarray(q)[::2]
    assert np.array_equal(TINY.run(strided), TINY.run(q[::2].copy()))
    frozen = q.copy()
    frozen.flags.writeable = False
    assert np.array_equal(TINY.run(frozen), TINY.run(q))


def test_the_run_leaves_its_input_alone():
    q = np.random.default_rng(0).integers(-128, 128, (2, *SHAPE)).astype(np.int8)
    before = q.copy()
    outputs, tensors = TINY.run(q, intermediates=True)
    assert np.array_equal(q, before)
    assert tensors["c"].shape == (2, *SHAPE)
    assert not np.shares_memory(outputs, q)


FEEDS = {
    "type": (lambda: np.zeros((1, *SHAPE)), DtypeError, "float64, expected int8; quantize_input"),
    "unsigned": (lambda: np.zeros((1, *SHAPE), np.uint8), DtypeError, "uint8, expected int8"),
    "list": (lambda: [[0]], DtypeError, "expected a numpy array"),
    "layout": (lambda: np.zeros((1, 4, 5, 3), np.int8), ShapeError, "expected (batch, 3, 4, 5)"),
    "no-batch": (lambda: np.zeros(SHAPE, np.int8), ShapeError, "expected (batch, 3, 4, 5)"),
    "no-axes": (lambda: np.zeros((), np.int8), ShapeError, "expected (batch, 3, 4, 5)"),
    "empty": (lambda: np.zeros((0, *SHAPE), np.int8), DataError, "the batch is empty"),
    "name": (lambda: {"x": np.zeros((1, *SHAPE), np.int8)}, DataError, "expected image"),
    "no-names": (dict, DataError, "expected image"),
}


@pytest.mark.parametrize("case", FEEDS)
def test_an_input_that_does_not_fit_is_refused(case):
    make, error, message = FEEDS[case]
    with pytest.raises(error) as raised:
        TINY.run(make())
    assert type(raised.value) is error
    assert message in str(raised.value)


def test_inputs_of_different_batches_are_refused():
    arrays = {"left": np.zeros((2, 3), np.int8), "right": np.zeros((1, 3), np.int8)}
    with pytest.raises(ShapeError, match="right is a batch of 1, expected 2"):
        pair().run(arrays)


def test_a_bare_array_for_two_inputs_is_refused():
    with pytest.raises(DataError, match="expected a mapping with the names left, right"):
        pair().run(np.zeros((1, 3), np.int8))
