"""Training the networks of the shared folder to few bits: what it is worth, and what is lost after.

``python -m pytest -m slow tests/test_quantization_aware_training.py`` takes some minutes.
"""

import networks
import numpy as np
import pytest

import aidge_quant as aq
from aidge_quant import lsq, sat
from aidge_quant.executor import run
from aidge_quant.training import SGD, Adam, fit

NAMES = ("resnet", "dwsep", "mbv2r")

#: Bits of weights and activations, and how many points below float the result may be.
BITS = [(4, 4, 0.5), (2, 4, 3.0), (8, 8, 0.2)]

#: Epochs with BatchNorm in training and with it frozen, and the optimizers, by bits of the weights.
SCHEDULES = {
    2: ((20, 5), Adam(2e-3), Adam(5e-4)),
    4: ((12, 3), SGD(0.02, 1e-4), SGD(0.005, 1e-4)),
    8: ((12, 3), SGD(0.02, 1e-4), SGD(0.005, 1e-4)),
}

pytestmark = pytest.mark.slow


def digits(name):
    """Return the digits that are not among the test images, with labels, and the test samples."""
    datasets = pytest.importorskip("sklearn.datasets")
    samples = networks.NETWORKS[name].samples()
    held_back = {image.astype(np.float32).tobytes() for image in samples.test}
    loaded = datasets.load_digits()
    images = (loaded.images[:, None] / 16).astype(np.float32)
    free = [i for i, image in enumerate(images) if image.tobytes() not in held_back]
    return (images[free], loaded.target[free]), samples


def right(outputs, samples):
    return int((outputs.argmax(axis=1) == samples.labels).sum())


def check(graph, samples, float_right, points, transform, tmp_path):
    """Compare float, trained and integer network on the test images, and a hundred with the C."""
    fake = run(graph, samples.test)
    transform(graph, True)
    network = aq.lower(graph)
    q = network.quantize_input(samples.test)
    out = network.run(q)
    count = len(samples.test)
    print(f"float {float_right}, trained {right(fake, samples)}, integers {right(out, samples)}")
    assert right(out, samples) >= float_right - points * count / 100
    assert (out.argmax(axis=1) == fake.argmax(axis=1)).mean() >= 0.995
    aq.export_c(network, tmp_path / "c", name="trained", test_inputs=q[:4])
    found = aq.verify_c(tmp_path / "c", network, q[:100])
    assert found.identical == found.total


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("weights", "activations", "points"), BITS)
def test_lsq(name, weights, activations, points, tmp_path):
    train, samples = digits(name)
    graph = aq.load_onnx(networks.NETWORKS[name].file())
    float_right = right(run(graph, samples.test), samples)
    lsq.setup_quantizers(
        graph,
        weights,
        activation_bits=activations,
        first_bits=8,
        last_bits=8,
        fold_batch_norms=False,
        calibration=train[0][:256],
    )
    options = {"batch_size": 32, "seed": 1}
    epochs, first, last = SCHEDULES[weights]
    fit(graph, train, epochs=epochs[0], optimizer=first, **options)
    lsq.freeze_batch_norms(graph)
    fit(graph, train, epochs=epochs[1], optimizer=last, batch_statistics=False, **options)
    check(graph, samples, float_right, points, lsq.post_training_transform, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_lsq_with_single_shifts_loses_nothing_at_the_end(name):
    train, samples = digits(name)
    graph = aq.load_onnx(networks.NETWORKS[name].file())
    options = {"first_bits": 8, "last_bits": 8, "power_of_two": True}
    lsq.setup_quantizers(graph, 4, calibration=train[0][:256], **options)
    fit(graph, train, epochs=3, batch_size=32, optimizer=SGD(0.01, 1e-4))
    fake = run(graph, samples.test)
    lsq.post_training_transform(graph, True)
    network = aq.lower(graph)
    real = network.dequantize_output(network.run(network.quantize_input(samples.test)))
    np.testing.assert_array_equal(real, fake)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("weights", "activations", "points"), BITS)
def test_sat(name, weights, activations, points, tmp_path):
    train, samples = digits(name)
    graph = aq.load_onnx(networks.NETWORKS[name].file())
    float_right = right(run(graph, samples.test), samples)
    options = {"batch_size": 32, "seed": 1}
    sat.insert_sat_nodes(graph, True)
    fit(graph, train, epochs=6, optimizer=SGD(0.05, 1e-4), **options)
    sat.insert_param_quantizers(graph, weights, first_bits=8, last_bits=8)
    sat.insert_activ_quantizers(
        graph, activations, last_bits=8, signed_input=False, calibration=train[0][:256]
    )
    fit(graph, train, epochs=12, optimizer=SGD(0.02, 1e-4), **options)
    sat.freeze_batch_norms(graph)
    check(graph, samples, float_right, points, sat.post_training_transform, tmp_path)


@pytest.mark.parametrize("name", [n for n in networks.NETWORKS if n not in NAMES])
@pytest.mark.parametrize("bits", [4, 8])
def test_networks_of_others_become_what_they_would_train_as(name, bits):
    """Without training: with single shifts, every bit of the output is that of the graph."""
    network = networks.NETWORKS[name]
    x = network.samples().calibration[:16]
    graph = aq.load_onnx(network.file())
    lsq.setup_quantizers(graph, bits, power_of_two=True, calibration=x)
    fake = run(graph, x)
    lsq.post_training_transform(graph, True)
    integers = aq.lower(graph)
    real = integers.dequantize_output(integers.run(integers.quantize_input(x)))
    np.testing.assert_array_equal(real, fake)
    layers = [getattr(layer, "requantization", None) for layer in integers.layers]
    multiplied = sum(form is not None and form.multiplier is not None for form in layers)
    # A pool over 5 x 25 positions divides by 125, which is no shift.
    assert multiplied == (1 if name.startswith("dscnn_kws") else 0)
