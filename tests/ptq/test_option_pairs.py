"""Every combination of the options of quantize_network runs, and its integers agree."""

import itertools

import numpy as np
import pytest
from float_networks import NETWORKS, residual, samples

import aidge_quant as aq
from aidge_quant.dtypes import dtype
from aidge_quant.graph import Annotation
from aidge_quant.ptq import Clipping, auto_assign_node_precision, prepare_network, quantize_network
from aidge_quant.ptq.flow import source

FORMS = ("equalize", "channel_wise", "optimize_signs", "single_shift")
ENDS = ("fold_graph", "dequantize", "rescale_inputs")


def combinations(names):
    for values in itertools.product((False, True), repeat=len(names)):
        yield dict(zip(names, values, strict=True))


def quantized(graph, x, **options):
    auto_assign_node_precision(graph, dtype.int8, dtype.int8, dtype.int32)
    quantize_network(graph, x, **options)
    return graph


@pytest.mark.parametrize(
    "ends", list(combinations(ENDS)), ids=lambda c: "-".join(k for k in c if c[k])
)
@pytest.mark.parametrize("name", NETWORKS)
def test_integers_of_every_combination_agree(name, ends):
    for form in combinations(FORMS):
        graph = NETWORKS[name]()
        x = samples(graph, 8)
        quantized(graph, x, **form, **ends)
        network = aq.lower(graph)
        q = network.quantize_input(x)
        golden = network.run(q)
        if ends["dequantize"]:
            golden = network.dequantize_output(golden).astype(np.float32)
        assert np.array_equal(aq.run(graph, x if ends["rescale_inputs"] else q), golden)


@pytest.mark.slow
@pytest.mark.parametrize("fake", [True, False])
def test_every_combination_without_rounding_is_the_float_network(fake):
    names = ("channel_wise", "optimize_signs", "single_shift", "correct_biases", *ENDS)
    for options in combinations(names):
        graph = residual()
        x = samples(graph, 4)
        prepared = residual()
        prepare_network(prepared)
        expected = aq.run(prepared, x)
        quantized(graph, x, no_quant=True, fake_quantize=fake, **options)
        if not options["rescale_inputs"]:
            x = x / np.float32(graph.inputs[0].annotations[Annotation.SCALE])
        found = aq.run(graph, x)
        if not options["dequantize"]:
            found = found * source(graph.outputs[0].port).annotations[Annotation.SCALE]
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("mode", Clipping)
def test_every_clipping_goes_with_every_form(mode):
    for form in combinations(FORMS):
        graph = residual()
        x = samples(graph, 8)
        quantized(graph, x, clipping_mode=mode, **form)
        network = aq.lower(graph)
        q = network.quantize_input(x)
        assert np.array_equal(aq.run(graph, q), network.run(q))
