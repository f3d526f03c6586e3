"""optimize_signs on trained networks: real resolution, and no network that loses by it."""

import numpy as np
import pytest
from networks import NETWORKS

import aidge_quant as aq

COUNT = 200

#: The networks with batch normalization are the same functions.
TRAINED = [name for name in NETWORKS if not name.endswith("_bn")]

FORMS = {
    "shift": {"single_shift": True},
    "shift, channels": {"single_shift": True, "channel_wise": True},
    "multiplier": {},
}


def lowered(name, **options):
    graph = aq.load_onnx(NETWORKS[name].file())
    aq.auto_assign_node_precision(graph, aq.dtype.int8, aq.dtype.int8, aq.dtype.int32)
    aq.quantize_network(graph, NETWORKS[name].samples().calibration[:64], **options)
    return aq.lower(graph)


def sqnr(name, network):
    test = NETWORKS[name].samples().test[:COUNT]
    graph = aq.load_onnx(NETWORKS[name].file())
    aq.prepare_network(graph)
    expected = aq.run(graph, test).astype(np.float64).reshape(len(test), -1)
    real = network.dequantize_output(network.run(network.quantize_input(test)))
    noise = np.square(real.reshape(len(test), -1) - expected).sum()
    return 10 * np.log10(np.square(expected).sum() / noise)


@pytest.mark.parametrize("name", ["resnet", "resnet8_cifar10", "dwsep"])
def test_tensors_behind_a_relu_use_the_levels_that_a_sign_wastes(name):
    test = NETWORKS[name].samples().test[:32]
    used = []
    for signs in (False, True):
        network = lowered(name, single_shift=True, optimize_signs=signs)
        _, tensors = network.run(network.quantize_input(test), intermediates=True)
        least = -128 if signs else 0
        rectified = [
            tensors[layer.output]
            for layer in network.layers
            if (form := getattr(layer, "requantization", None)) and form.lower == least
        ]
        zero_points = {network.tensor(layer.output).zero_point for layer in network.layers}
        assert zero_points == ({0, -128} if signs else {0})
        used.append(max(len(np.unique(values)) for values in rectified))
    assert used[0] <= 128 < 200 < used[1] <= 256


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", TRAINED)
def test_no_network_loses_by_signs(name, form):
    plain = sqnr(name, lowered(name, **FORMS[form]))
    # Where an odd layer limits a network, signs gain nothing and move the noise a little.
    assert sqnr(name, lowered(name, optimize_signs=True, **FORMS[form])) > plain - 0.25
