"""LSQ from a float network to integers: what was trained is what the integer network computes."""

import numpy as np
import pytest
import trained_networks as nets
from trained_integers import check_integers

import aidge_quant as aq
from aidge_quant import lsq, ops
from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError, GraphError, UnsupportedError
from aidge_quant.executor import run
from aidge_quant.ops import LSQ, BatchNorm, Clip, Quantizer, Softmax, producer
from aidge_quant.recipes.fold_batch_norm import batch_norm_affine
from aidge_quant.training import SGD, fit

#: How much of an output step the rounding of a bias may be.
BIAS_ERROR = 1 / 64

X, Y = nets.samples(120)
NETS = {
    "chain": nets.chain,
    "residual": nets.residual,
    "concat": nets.concat,
    "linear": nets.linear_bottleneck,
}


def trained(name, bits=4, epochs=2, **options):
    graph = NETS[name]()
    lsq.setup_quantizers(graph, bits, **{"calibration": X, **options})
    fit(graph, (X, Y), epochs=epochs, batch_size=20, optimizer=SGD(0.02))
    return graph


def integers_of(graph, true_integers=True):
    twin = graph.clone()
    lsq.post_training_transform(twin, true_integers)
    return twin


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_integer_network_computes_what_was_trained(name, shift, channels, bits):
    graph = trained(name, bits, power_of_two=shift, channel_wise=channels)
    fake, exact = run(graph, X), integers_of(graph)
    network = aq.lower(exact)
    out = network.run(network.quantize_input(X))
    np.testing.assert_array_equal(run(exact, X), out)
    real = network.dequantize_output(out)
    others, total = check_integers(graph, exact, X)
    if shift:  # every product is exact in float32
        np.testing.assert_array_equal(real, fake)
        assert all(not layer_multiplies(layer) for layer in network.layers)
        assert others == 0
    else:  # a value may lie on the edge of two integers
        assert others < 1e-3 * total
        assert agreement(real, fake) == 1


def agreement(real, fake):
    """Return how often the largest output is the same, where it is clearly the largest."""
    ranked = np.sort(fake, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > 0.05 * np.abs(fake).max()
    return (real.argmax(axis=1) == fake.argmax(axis=1))[clear].mean()


def layer_multiplies(layer):
    form = getattr(layer, "requantization", None)
    return form is not None and form.multiplier is not None


@pytest.mark.parametrize("name", NETS)
def test_graphs_of_integers_and_of_floats_hold_the_same(name):
    graph = trained(name)
    exact, floats = integers_of(graph), integers_of(graph, False)
    network = aq.lower(exact)
    out = network.run(network.quantize_input(X))
    np.testing.assert_array_equal(run(exact, X), out)
    np.testing.assert_array_equal(run(floats, X), out)
    other = aq.lower(floats)
    np.testing.assert_array_equal(other.run(other.quantize_input(X)), out)
    assert run(exact, X).dtype == np.int32
    assert run(floats, X).dtype == np.float32


def test_types_are_small():
    graph = integers_of(trained("residual", 4, first_bits=8))
    types = {n.name: n.operator.element_type for n in graph.nodes if n.inputs == ()}
    assert types["conv_w_int"] is dtype.int8
    assert types["inner_w_int"] is dtype.int4
    assert types["inner_b_int"] is dtype.int32
    found = {n.operator.element_type for n in graph.nodes if isinstance(n.operator, Quantizer)}
    assert found == {dtype.uint4, dtype.uint8, dtype.int8, dtype.int32}
    network = aq.lower(graph)
    assert {t.dtype for t in network.tensors} == {dtype.int8, dtype.int32}
    assert {layer.weight_dtype for layer in network.layers if hasattr(layer, "weight_dtype")} == {
        dtype.int4,
        dtype.int8,
    }


def test_quantizers_are_where_the_page_says():
    graph = nets.chain()
    lsq.setup_quantizers(graph, 4)
    for name in ("conv", "inner", "fc"):
        layer = graph.node(name)
        assert layer.input(1).node.name == f"{name}_lsq_p"
        assert layer.input(1).node.operator.range == (-7, 7)
        assert graph.node(f"{name}_lsq_p").input(1).node.name == f"{name}_lsq_p_ss"
        data = graph.node(f"{name}_lsq_i")
        assert data.operator.range == ((-8, 7) if name == "conv" else (0, 15))
        assert not data.input(1).node.operator.value.any()
    assert graph.node("conv").input(0).node.name == "conv_lsq_i"
    assert graph.node("fc").input(0).node.name == "fc_lsq_i"


def test_bits_of_layers():
    graph = nets.residual()
    options = {"activation_bits": 5, "first_bits": 8, "last_bits": 7}
    lsq.setup_quantizers(graph, 2, **options, layer_bits={"inner": aq.LayerBits(3, 6)})
    ranges = {n.name: n.operator.range for n in graph.nodes if isinstance(n.operator, LSQ)}
    assert ranges["conv_lsq_p"] == (-127, 127)
    assert ranges["conv_lsq_i"] == (-128, 127)
    assert ranges["inner_lsq_p"] == (-4, 3)
    assert ranges["inner_lsq_i"] == (0, 63)
    assert ranges["fc_lsq_p"] == (-64, 63)
    assert ranges["fc_lsq_i"] == (0, 127)
    assert ranges["add_lsq"] == (0, 255)
    with pytest.raises(GraphError, match="no layers with weights"):
        lsq.setup_quantizers(nets.residual(), 4, layer_bits={"relu": aq.LayerBits(3, 6)})
    with pytest.raises(DataError, match="weight bits: 9, expected"):
        lsq.setup_quantizers(nets.residual(), 9)
    with pytest.raises(DataError, match="joined_bits: 16, expected"):
        lsq.setup_quantizers(nets.residual(), 4, joined_bits=16)
    with pytest.raises(DataError, match="needs fold_batch_norms"):
        lsq.setup_quantizers(nets.chain(), 4, channel_wise=True, fold_batch_norms=False)


def test_inputs_without_negative_values_are_unsigned():
    graph = nets.chain()
    lsq.setup_quantizers(graph, 4, calibration=np.abs(X))
    assert graph.node("conv_lsq_i").operator.range == (0, 15)
    assert all(
        n.input(1).node.operator.value > 0 for n in graph.nodes if isinstance(n.operator, LSQ)
    )


def test_members_of_a_concat_share_one_step():
    graph = trained("concat")
    nodes = [port.node for port in graph.node("join").inputs]
    assert len({node.input(1).node for node in nodes}) == 1
    assert all(isinstance(node.operator, LSQ) for node in nodes)


def test_samples_that_are_no_numbers_are_refused():
    graph, x = nets.chain(), X.copy()
    x[3, 0, 1, 1] = np.nan
    before = str(graph)
    with pytest.raises(DataError, match="input input: 1 values of the calibration are NaN"):
        lsq.setup_quantizers(graph, 4, calibration=x)
    assert str(graph) == before
    lsq.setup_quantizers(graph, 4)
    with pytest.raises(DataError, match="sees values that are NaN"):
        fit(graph, (x, Y), epochs=1, batch_size=120)


@pytest.mark.parametrize("negative", [False, True])
def test_batch_norm_that_trained_is_folded_at_the_end(negative):
    graph = nets.chain()
    if negative:
        scale = graph.node("conv_bn_scale")
        value = scale.operator.value.copy()
        value[:2] = (-1.5, 0.0)
        scale.operator = producer(value)
    lsq.setup_quantizers(graph, 8, calibration=X, fold_batch_norms=False)
    fit(graph, (X, Y), epochs=2, batch_size=20, optimizer=SGD(0.02))
    assert any(isinstance(n.operator, BatchNorm) for n in graph.nodes)
    fake = run(graph, X)
    network = aq.lower(integers_of(graph))
    real = network.dequantize_output(network.run(network.quantize_input(X)))
    assert np.abs(real - fake).max() < 0.05 * np.abs(fake).max()  # biases are rounded
    assert agreement(real, fake) == 1
    check_integers(graph, integers_of(graph), X, bias_error=BIAS_ERROR)


@pytest.mark.parametrize("name", NETS)
def test_frozen_batch_norms_lose_nothing_at_the_end(name):
    graph = NETS[name]()
    lsq.setup_quantizers(graph, 4, calibration=X, fold_batch_norms=False)
    fit(graph, (X, Y), epochs=2, batch_size=20, optimizer=SGD(0.02))
    before = run(graph, X)
    lsq.freeze_batch_norms(graph)
    fake = run(graph, X)
    assert np.abs(fake - before).mean() < 0.05 * np.abs(before).max()  # biases are rounded
    fit(graph, (X, Y), epochs=1, batch_size=20, optimizer=SGD(0.005), batch_statistics=False)
    fake = run(graph, X)
    exact = integers_of(graph)
    network = aq.lower(exact)
    real = network.dequantize_output(network.run(network.quantize_input(X)))
    np.testing.assert_array_equal(run(exact, X), network.run(network.quantize_input(X)))
    others, total = check_integers(graph, exact, X)
    assert others < 1e-3 * total
    assert agreement(real, fake) == 1
    with pytest.raises(GraphError, match="its bias is quantized already"):
        lsq.freeze_batch_norms(graph)


@pytest.mark.parametrize("name", ["chain", "residual"])
def test_aligned_batch_norms_end_in_shifts_and_lose_nothing(name):
    graph = NETS[name]()
    lsq.setup_quantizers(graph, 4, calibration=X, power_of_two=True, fold_batch_norms=False)
    lsq.align_batch_norms(graph)
    fit(graph, (X, Y), epochs=2, batch_size=20, optimizer=SGD(0.02))
    lsq.align_batch_norms(graph)
    before = run(graph, X)
    lsq.freeze_batch_norms(graph)
    fake = run(graph, X)
    assert np.abs(fake - before).mean() < 0.05 * np.abs(before).max()  # biases are rounded
    fit(graph, (X, Y), epochs=1, batch_size=20, optimizer=SGD(0.005), batch_statistics=False)
    network = aq.lower(integers_of(graph))
    real = network.dequantize_output(network.run(network.quantize_input(X)))
    np.testing.assert_array_equal(real, run(graph, X))
    assert all(not layer_multiplies(layer) for layer in network.layers)
    with pytest.raises(GraphError, match="its bias is quantized already"):
        lsq.align_batch_norms(graph)


def test_aligning_changes_factors_and_not_the_float_function():
    graph = nets.residual()
    scale = graph.node("second_bn_scale")
    value = scale.operator.value.copy()
    value[:2] = (-1.5, 0.0)
    scale.operator = producer(value)
    lsq.setup_quantizers(graph, 8, calibration=X, power_of_two=True, fold_batch_norms=False)
    before = run(graph, X)
    lsq.align_batch_norms(graph)
    (norm,) = (node for node in graph.nodes if isinstance(node.operator, BatchNorm))
    factor, _ = batch_norm_affine(norm)
    exponents = np.log2(np.abs(np.delete(factor, 1)))
    np.testing.assert_allclose(exponents, np.rint(exponents), rtol=0, atol=1e-5)
    assert factor[0] < 0
    assert factor[1] == 0
    # The weights, of 8 bits, are rounded and clipped anew.
    assert np.abs(run(graph, X) - before).mean() < 0.05 * np.abs(before).max()


def test_channels_of_other_sizes_keep_their_bits():
    plain, wise = nets.residual(), nets.residual()
    for graph in (plain, wise):
        weight = graph.node("inner_w")
        value = weight.operator.value.copy()
        value[0] *= 64
        weight.operator = producer(value)
    lsq.setup_quantizers(plain, 4, calibration=X)
    lsq.setup_quantizers(wise, 4, calibration=X, channel_wise=True)
    kept = [
        np.unique(g.node("inner_w_int").operator.value[1]).size
        for g in map(integers_of, (plain, wise))
    ]
    assert kept[0] <= 3 < 7 <= kept[1]


def test_a_frozen_channel_that_passes_nothing_is_a_constant():
    graph = nets.chain()
    scale = graph.node("conv_bn_scale")
    value = scale.operator.value.copy()
    value[:2] = (-1.5, 0.0)
    scale.operator = producer(value)
    lsq.setup_quantizers(graph, 8, calibration=X, fold_batch_norms=False)
    before = run(graph, X)
    lsq.freeze_batch_norms(graph)
    np.testing.assert_allclose(run(graph, X), before, rtol=0, atol=0.05 * np.abs(before).max())
    fake = run(graph, X)
    network = aq.lower(integers_of(graph))
    real = network.dequantize_output(network.run(network.quantize_input(X)))
    np.testing.assert_allclose(real, fake, rtol=0, atol=0.05 * np.abs(fake).max())
    check_integers(graph, integers_of(graph), X)


def test_coarse_biases_get_finer_weights():
    graph = trained("linear", 3, fold_batch_norms=False)
    fine, coarse = integers_of(graph), graph.clone()
    lsq.post_training_transform(coarse, True, fine_biases=False)
    wide, narrow = (g.node("depth_w_int").operator for g in (fine, coarse))
    assert (wide.element_type, narrow.element_type) == (dtype.int8, dtype.int4)
    factor = wide.value.max() // narrow.value.max()
    assert factor in (2, 4, 8, 16, 32)
    np.testing.assert_array_equal(wide.value, narrow.value * factor)


def test_c_equals_the_golden_model(tmp_path):
    for name in ("residual", "concat"):
        network = aq.lower(integers_of(trained(name, power_of_two=name == "concat")))
        q = network.quantize_input(X)
        aq.export_c(network, tmp_path / name, name=name, test_inputs=q[:4])
        check = aq.verify_c(tmp_path / name, network, q)
        assert check.identical == check.total


def test_training_with_quantizers_learns():
    graph = trained("residual", 3, epochs=12)
    assert (run(graph, X).argmax(axis=1) == Y).mean() > 0.85


def test_what_cannot_be_transformed_is_refused_and_stays():
    graph = nets.chain()
    with pytest.raises(GraphError, match="no quantizer"):
        lsq.post_training_transform(graph, True)
    lsq.setup_quantizers(graph, 4)
    before = str(graph)
    with pytest.raises(GraphError, match="expected one positive number; train"):
        lsq.post_training_transform(graph, True)
    assert str(graph) == before
    soft = nets.chain()
    soft.insert_after(soft.node("flatten"), Softmax(), "inside")
    with pytest.raises(UnsupportedError, match=r"has no integer form"):
        lsq.setup_quantizers(soft, 4)


def test_a_network_is_set_up_once():
    graph = nets.residual()
    lsq.setup_quantizers(graph, 4, calibration=X)
    before = str(graph)
    with pytest.raises(GraphError, match="without quantizers"):
        lsq.setup_quantizers(graph, 4)
    assert str(graph) == before


def with_pool(padding, count_include_pad=False):
    make = nets.Maker("pool")
    x = make.relu(make.conv(make.input, "conv", (4, 2, 3, 3)), "relu")
    pool = ops.AveragePool((3, 3), (2, 2), (1, 1), padding, False, count_include_pad)
    return make.finish(make.graph.add(pool, (x,), "pool"), 64)


def test_pools_that_the_integer_network_would_round_twice_are_refused():
    with pytest.raises(UnsupportedError, match=r"pool \(AveragePool\): its windows are cut"):
        lsq.setup_quantizers(with_pool((1, 1, 1, 1)), 4, calibration=X)
    lsq.setup_quantizers(with_pool((1, 1, 1, 1), True), 4, calibration=X)


def test_training_goes_on_without_moving_frozen_statistics():
    graph = nets.chain()
    lsq.setup_quantizers(graph, 4, calibration=X, fold_batch_norms=False)
    fit(graph, (X, Y), epochs=1, batch_size=20, optimizer=SGD(0.02))
    lsq.freeze_batch_norms(graph)
    (norm,) = (node for node in graph.nodes if isinstance(node.operator, BatchNorm))
    before = [norm.input(slot).node.operator.value.copy() for slot in (3, 4)]
    fit(graph, (X, Y), epochs=1, batch_size=20, optimizer=SGD(0.02))
    for slot, value in zip((3, 4), before, strict=True):
        np.testing.assert_array_equal(norm.input(slot).node.operator.value, value)


@pytest.mark.parametrize("bounds", [(-1.37, 1.37), (0.2, 2.9), (-np.inf, 0.55), (0.0, 6.0)])
@pytest.mark.parametrize("shift", [False, True])
def test_a_clip_behind_a_fork_computes_what_was_trained(bounds, shift):
    """Its bounds are on the grid of no step that training finds: a quantizer rounds them."""
    graph = nets.fork(*bounds)
    lsq.setup_quantizers(graph, 4, power_of_two=shift, calibration=X)
    clip = graph.node("clip")
    (quantizer,) = graph.consumers(clip)
    assert quantizer.input(1).node is graph.node("conv_lsq").input(1).node
    fit(graph, (X, Y), epochs=1, batch_size=20, optimizer=SGD(0.02))
    exact = integers_of(graph)
    others, _ = check_integers(graph, exact, X)
    network = aq.lower(exact)
    real = network.dequantize_output(network.run(network.quantize_input(X)))
    if shift:
        assert others == 0
        np.testing.assert_array_equal(real, run(graph, X))
    assert not any(n.name == quantizer.name for n in exact.nodes)  # nothing is rounded twice


def test_a_clip_whose_bounds_integers_cannot_have_is_refused():
    graph = nets.fork(-1.37, 1.37)
    lsq.setup_quantizers(graph, 8, power_of_two=True, calibration=X)
    (quantizer,) = graph.consumers(graph.node("clip"))
    graph.bypass(quantizer)
    before = str(graph)
    with pytest.raises(GraphError, match=r"clip \(Clip\): its bounds are not on the grid"):
        lsq.post_training_transform(graph, True)
    assert str(graph) == before
    clip = graph.node("clip")
    clip.operator = Clip(-1.0, 1.5)
    steps = [n for n in graph.nodes if n.name.endswith("_lsq_ss")]
    for node in steps:
        node.operator = producer(np.full(1, 0.5, np.float32))
    lsq.post_training_transform(graph, True)
    (clip,) = (node for node in graph.nodes if isinstance(node.operator, Clip))
    assert (clip.operator.lower, clip.operator.upper) == (-2.0, 3.0)
