"""The main job on the trained networks: quantize, lower, run, export, compare."""

from functools import lru_cache

import numpy as np
import pytest
import shared_data
from c_builds import build_named, slower
from networks import NETWORKS, random_samples

import aidge_quant as aq
from aidge_quant.export import run_c
from aidge_quant.export.target import plan_for
from aidge_quant.integer.counts import layer_macs

MODES = {
    "shift": {"single_shift": True},
    "shift-channels": {"single_shift": True, "channel_wise": True},
    "multiplier": {},
}

#: Networks of the importer's folder that have no data of their own.
ODD = ("mtcnn_pnet", "mtcnn_rnet", "qonnx_espcn_float", "onnx2c_mnist_pytorch")

ALL = (*NETWORKS, *ODD)

#: Builds that the exported C of every network is tried with on 500 samples, or all there are.
SLOW_BUILDS = ("gcc-O2", "gcc-Os", "gcc-m32", "clang-O2")

#: Emulated cores, and the target of the C that each runs.
CORES = {
    "qemu-cortex-m0": "cortex-m0",
    "qemu-cortex-m3": "generic",
    "qemu-cortex-m4": "cortex-m4",
    "qemu-cortex-m7": "cortex-m4",
    "qemu-cortex-m33": "cortex-m4",
    "qemu-cortex-m55": "cortex-m55",
    "qemu-rv32imc": "rv32",
}

#: Multiply-accumulates that one unoptimized, sanitized run may take: some ten seconds.
SANITIZED_WORK = 300_000_000


def model_file(name):
    if name in ODD:
        return shared_data.shared_path("data", "odd", f"{name}.onnx")
    return NETWORKS[name].file()


@lru_cache(maxsize=2)
def samples(name):
    """Return calibration samples, test samples and labels."""
    if name in ODD:
        shape = aq.load_onnx(model_file(name)).inputs[0].operator.shape[1:]
        found = random_samples(shape, 96, len(name))
        return found[:64], found[64:], None
    data = NETWORKS[name].samples()
    return data.calibration[:64], data.test, data.labels


def quantized(name, **options):
    graph = aq.load_onnx(model_file(name))
    aq.auto_assign_node_precision(graph, aq.dtype.int8, aq.dtype.int8, aq.dtype.int32)
    aq.quantize_network(graph, samples(name)[0], **options)
    return graph


def accuracy(name, count, **options):
    """Return the accuracy of the integer and of the float network on the first samples."""
    _, test, labels = (part[:count] for part in samples(name))
    network = aq.lower(quantized(name, **options))
    integer = network.run(network.quantize_input(test)).reshape(len(test), -1).argmax(1)
    float_ = aq.run(aq.load_onnx(model_file(name)), test).reshape(len(test), -1).argmax(1)
    return (integer == labels).mean(), (float_ == labels).mean()


def differing(network, folder, q, build, **options):
    """Return how many values of the C, exported with options, differ from the golden model."""
    aq.export_c(network, folder, name="net", test_inputs=_first(q, 2), **options)
    expected = network.run(q)
    got = run_c(folder, network, q, **build.options)
    if not isinstance(expected, dict):
        expected, got = {"": expected}, {"": got}
    return sum(int((got[name] != values).sum()) for name, values in expected.items())


def _first(q, count):
    return {name: a[:count] for name, a in q.items()} if isinstance(q, dict) else q[:count]


@pytest.mark.parametrize("name", ["mlp", "lenet"])
def test_integers_equal_the_reference_system(name):
    with np.load(shared_data.shared_path("aidge_reference", f"{name}_aidge_ss.npz")) as reference:
        x, y = reference["x"], reference["y"]
    network = aq.lower(quantized(name, single_shift=True))
    assert np.array_equal(network.quantize_input(samples(name)[1][: len(x)]), x)
    assert np.array_equal(network.run(x), y)
    assert len(x) == 200


@pytest.mark.parametrize("mode", slower(MODES, ["shift"]))
@pytest.mark.parametrize("name", ALL)
def test_the_golden_model_equals_the_graph_and_the_c(name, mode, tmp_path):
    graph = quantized(name, **MODES[mode])
    network = aq.lower(graph)
    q = network.quantize_input(samples(name)[1][:4])
    golden, executed = network.run(q), aq.run(graph, q)
    if not isinstance(golden, dict):
        golden, executed = {"": golden}, {"": executed}
    for key, values in golden.items():
        assert np.array_equal(values, executed[key])
    assert differing(network, tmp_path / "net", q, build_named("gcc-O2")) == 0


@pytest.mark.slow
@pytest.mark.parametrize("build", SLOW_BUILDS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ALL)
def test_every_compiler_gives_the_golden_model(name, mode, build, tmp_path):
    network = aq.lower(quantized(name, **MODES[mode]))
    q = network.quantize_input(samples(name)[1][:500])
    assert differing(network, tmp_path / "net", q, build_named(build)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ALL)
def test_sanitized_c_gives_the_golden_model(name, mode, tmp_path):
    network = aq.lower(quantized(name, **MODES[mode]))
    macs = sum(layer_macs(network, layer) for layer in network.layers)
    count = min(500, max(4, SANITIZED_WORK // macs))
    q = network.quantize_input(samples(name)[1][:count])
    assert differing(network, tmp_path / "net", q, build_named("gcc-sanitized")) == 0


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ALL)
def test_an_emulated_cortex_m4_gives_the_golden_model(name, mode, tmp_path):
    network = aq.lower(quantized(name, **MODES[mode]))
    q = network.quantize_input(samples(name)[1][:5])
    assert differing(network, tmp_path / "net", q, build_named("qemu-cortex-m4")) == 0


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.parametrize("build", CORES)
@pytest.mark.parametrize("name", ALL)
def test_every_emulated_core_gives_the_golden_model(name, build, tmp_path):
    network = aq.lower(quantized(name, single_shift=True, optimize_signs=True))
    q = network.quantize_input(samples(name)[1][:2])
    options = {"target": CORES[build], "input_in_arena": True}
    assert differing(network, tmp_path / "net", q, build_named(build), **options) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_networks_in_stripes_give_the_golden_model(name, tmp_path):
    network = aq.lower(quantized(name, single_shift=True))
    q = network.quantize_input(samples(name)[1][:2])
    options = {"input_in_arena": True, "stripes": True}
    assert differing(network, tmp_path / "net", q, build_named("gcc-O2"), **options) == 0


@pytest.mark.slow
@pytest.mark.parametrize("target", ["generic", "cortex-m55"])
@pytest.mark.parametrize("name", ALL)
def test_the_memory_plan_is_near_its_bound(name, target):
    network = aq.lower(quantized(name, single_shift=True))
    # The bound sees single layers; the vector kernels' working memory meets values in turn.
    limit = 1.06 if target == "cortex-m55" else 1.02
    for input_in_arena in (False, True):
        plan = plan_for(network, target, input_in_arena=input_in_arena)[1]
        assert plan.arena_size <= max(4, limit * plan.lower_bound)


#: The best row of the reference system for each network, single shift, 64 calibration images
#: (docs of the shared folder): accuracy, on how many of the first test images, and the options
#: that reach it here.
REFERENCE_ACCURACY = {
    "mlp": (0.960, 500, {}),
    "lenet": (0.970, 500, {}),
    "lenet_imb": (0.990, 500, {}),
    "resnet": (0.996, 500, {"equalize": False}),
    "dwsep": (0.974, 500, {}),
    "mbv2r": (0.983, 300, {"optimize_signs": True, "equalize": False}),
    "mbv2r_imb": (0.980, 300, {}),
    "resnet8_cifar10": (0.890, 300, {"channel_wise": True, "equalize": False}),
    "dscnn_kws": (0.900, 300, {"optimize_signs": True}),
}


@pytest.mark.parametrize("name", REFERENCE_ACCURACY)
def test_accuracy_is_at_least_that_of_the_reference_system(name):
    expected, count, options = REFERENCE_ACCURACY[name]
    integer, _ = accuracy(name, count, single_shift=True, **options)
    assert round(float(integer), 3) >= expected


#: Options of single-shift networks that stay within one point of float.
NEAR_FLOAT = {
    "resnet8_cifar10": {"channel_wise": True, "optimize_signs": True},
    "resnet20_cifar10": {},
    "dscnn_kws": {"optimize_signs": True},
    "mnist_cntk": {},
    "streaming_wakeword": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NEAR_FLOAT)
def test_accuracy_is_within_a_point_of_float(name):
    integer, float_ = accuracy(name, None, single_shift=True, **NEAR_FLOAT[name])
    assert integer >= float_ - 0.010


#: What the recipe is held to with 256 calibration samples, by network and form: the effort, SQNR
#: in dB on the test samples, 1 dB or more below what it reached, and the accuracy it may lose.
RECIPE = {
    ("resnet8_cifar10", "tensor"): ("balanced", 35.5, 0.003),
    ("resnet20_cifar10", "tensor"): ("fast", 30.7, 0.003),
    ("dscnn_kws", "channel"): ("balanced", 33.0, 0.0035),
    ("mobilenetv1_025", "tensor"): ("balanced", 18.5, 0.020),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "form"), RECIPE)
def test_the_recipe_is_near_float_and_its_c_gives_the_same_bits(name, form, tmp_path):
    data = NETWORKS[name].samples()
    test, labels = data.test, data.labels
    graph = aq.load_onnx(model_file(name))
    effort, least, loss = RECIPE[name, form]
    options = {"effort": effort, "per_channel": form == "channel"}
    network = aq.quantize(graph, data.calibration[:256], **options).network
    q = network.quantize_input(test)
    real = network.dequantize_output(network.run(q)).reshape(len(test), -1)
    aq.prepare_network(graph)  # the logits
    expected = aq.run(graph, test).reshape(len(test), -1)
    noise = np.square(real - expected).sum() / np.square(expected.astype(np.float64)).sum()
    assert -10 * np.log10(noise) >= least
    hits = (expected.argmax(1) == labels).mean()
    assert (real.argmax(1) == labels).mean() >= hits - loss
    aq.export_c(network, tmp_path / "c", name="net", test_inputs=q[:2])
    check = aq.verify_c(tmp_path / "c", network, q[:200])
    assert check.identical == check.total


#: By bits of weights and activations: SQNR in dB of resnet20 as above, one shift a channel.
WIDE = {(8, 16): 43.9, (16, 16): 56.4}


@pytest.mark.slow
@pytest.mark.parametrize("bits", WIDE)
def test_sixteen_bits_come_nearer_to_float_and_their_c_gives_the_same_bits(bits, tmp_path):
    data = NETWORKS["resnet20_cifar10"].samples()
    graph = aq.load_onnx(model_file("resnet20_cifar10"))
    options = {"weight_bits": bits[0], "activation_bits": bits[1]}
    network = aq.quantize(graph, data.calibration[:256], **options).network
    q = network.quantize_input(data.test)
    real, expected = network.dequantize_output(network.run(q)), aq.run(graph, data.test)
    noise = np.square(real - expected).sum() / np.square(expected.astype(np.float64)).sum()
    assert -10 * np.log10(noise) >= WIDE[bits]
    aq.export_c(network, tmp_path / "c", name="net", test_inputs=q[:2])
    check = aq.verify_c(tmp_path / "c", network, q[:50])
    assert check.identical == check.total
