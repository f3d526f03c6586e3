"""The published API: names, parameters and defaults, as its page has them."""

import inspect

import pytest

import aidge_quant
from aidge_quant import ops, ptq
from aidge_quant.ops import DoReFaMode
from aidge_quant.ptq import Clipping

REQUIRED = inspect.Parameter.empty

#: Function, then its parameters with defaults in the order of the page.
PTQ = {
    "check_architecture": {"network": REQUIRED},
    "quantizability_report": {"graphView": REQUIRED},
    "auto_assign_node_precision": {
        "graphview": REQUIRED,
        "act_precision": REQUIRED,
        "weight_precision": REQUIRED,
        "bias_precision": REQUIRED,
    },
    "quantize_network": {
        "network": REQUIRED,
        "calibration_set": REQUIRED,
        "clipping_mode": Clipping.MAX,
        "equalize": True,
        "channel_wise": False,
        "no_quant": False,
        "optimize_signs": False,
        "single_shift": False,
        "fold_graph": True,
        "fake_quantize": False,
        "dequantize": False,
        "verbose": False,
    },
    "prepare_network": {"network": REQUIRED},
    "insert_scaling_nodes": {"network": REQUIRED, "channel_wise": False},
    "cross_layer_equalization": {"network": REQUIRED, "target_delta": 0.01},
    "normalize_parameters": {"network": REQUIRED, "channel_wise": REQUIRED},
    "compute_ranges": {
        "network": REQUIRED,
        "calibration_set": REQUIRED,
        "scaling_nodes_only": REQUIRED,
    },
    "adjust_ranges": {
        "clipping_mode": REQUIRED,
        "value_ranges": REQUIRED,
        "network": REQUIRED,
        "calibration_set": REQUIRED,
        "verbose": False,
    },
    "normalize_activations": {"network": REQUIRED, "value_ranges": REQUIRED},
    "quantize_normalized_network": {
        "network": REQUIRED,
        "no_quant": False,
        "optimize_signs": False,
        "verbose": False,
    },
    "perform_dequantization": {"network": REQUIRED},
    "insert_compensation_nodes": {"graphview": REQUIRED},
    "perform_single_shift_approximation": {"graphview": REQUIRED},
    "cast_quantized_network": {
        "network": REQUIRED,
        "single_shift": REQUIRED,
        "dequantize": REQUIRED,
    },
    "fold_producer_quantizers": {"graphview": REQUIRED},
}

#: The last chapter of the page.
INTERCHANGE = {
    "set_to_qdq": {"graph_view": REQUIRED},
    "set_to_qop": {"graph": REQUIRED, "qops_selected": [], "qdq_needed": False},
    "from_qop": {"graph_view": REQUIRED, "qops_to_expand": [], "to_qdq": False},
    "from_qdq": {"graph_view": REQUIRED},
}


@pytest.mark.parametrize("name", INTERCHANGE)
def test_interchange_has_the_parameters_and_defaults_of_the_page(name):
    function = getattr(aidge_quant, name)
    parameters = inspect.signature(function).parameters.values()
    found = {p.name: p.default for p in parameters if p.kind is not p.KEYWORD_ONLY}
    assert list(found.items()) == list(INTERCHANGE[name].items())
    assert all(p.default is not REQUIRED for p in parameters if p.kind is p.KEYWORD_ONLY)
    assert "Parameters\n" in (inspect.getdoc(function) or "")


@pytest.mark.parametrize("name", PTQ)
def test_function_has_the_parameters_and_defaults_of_the_page(name):
    parameters = inspect.signature(getattr(ptq, name)).parameters.values()
    found = {p.name: p.default for p in parameters if p.kind is not p.KEYWORD_ONLY}
    assert list(found.items()) == list(PTQ[name].items())


@pytest.mark.parametrize("name", PTQ)
def test_additions_are_keyword_only_with_a_default(name):
    parameters = inspect.signature(getattr(ptq, name)).parameters.values()
    assert all(p.default is not REQUIRED for p in parameters if p.kind is p.KEYWORD_ONLY)


@pytest.mark.parametrize("name", [*PTQ, "Clipping"])
def test_facade_has_the_name(name):
    assert getattr(aidge_quant, name) is getattr(ptq, name)


def test_clipping_has_the_values_of_the_page():
    names = ["MAX", "MSE", "AA", "KL", "SIGMA3", "SIGMA4", "SIGMA5"]
    assert [mode.name for mode in Clipping] == names
    assert Clipping.MAX.value == 1


@pytest.mark.parametrize("name", PTQ)
def test_function_is_documented(name):
    text = inspect.getdoc(getattr(ptq, name))
    assert text
    assert "Parameters\n" in text


#: The same of the functions of a submodule, by its name.
QAT = {
    ("lsq", "setup_quantizers"): {"network": REQUIRED, "nb_bits": REQUIRED},
    ("lsq", "post_training_transform"): {"network": REQUIRED, "true_integers": REQUIRED},
    ("sat", "insert_param_clamping"): {"network": REQUIRED},
    ("sat", "insert_param_scaling_adjust"): {"network": REQUIRED, "use_batchnorms": REQUIRED},
    ("sat", "insert_sat_nodes"): {"network": REQUIRED, "use_batchnorms": REQUIRED},
    ("sat", "insert_param_quantizers"): {
        "network": REQUIRED,
        "nb_bits": REQUIRED,
        "mode": DoReFaMode.Default,
    },
    ("sat", "insert_activ_quantizers"): {
        "network": REQUIRED,
        "nb_bits": REQUIRED,
        "init_alpha": 1.0,
    },
    ("sat", "post_training_transform"): {"network": REQUIRED, "true_integers": REQUIRED},
}

#: The same of the functions that make nodes.
FACTORIES = {
    "CGPACT": {"range": 255, "name": ""},
    "DoReFa": {"range": 255, "mode": DoReFaMode.Default, "name": ""},
    "FixedQ": {"nb_bits": 8, "span": 4.0, "is_output_unsigned": False, "name": ""},
    "LSQ": {"range": (0, 255), "name": ""},
    "ScaleAdjust": {"name": ""},
    "TanhClamp": {"name": ""},
}


@pytest.mark.parametrize(("module", "name"), QAT)
def test_training_function_has_the_parameters_of_the_page(module, name):
    function = getattr(getattr(aidge_quant, module), name)
    parameters = inspect.signature(function).parameters.values()
    found = {p.name: p.default for p in parameters if p.kind is not p.KEYWORD_ONLY}
    assert list(found.items()) == list(QAT[module, name].items())
    assert all(p.default is not REQUIRED for p in parameters if p.kind is p.KEYWORD_ONLY)
    assert "Parameters\n" in (inspect.getdoc(function) or "")


@pytest.mark.parametrize("name", FACTORIES)
def test_a_factory_makes_a_node(name):
    factory = getattr(aidge_quant, name)
    parameters = inspect.signature(factory).parameters.values()
    assert {p.name: p.default for p in parameters} == FACTORIES[name]
    node, named = factory(), factory(name="mine")
    assert isinstance(node, aidge_quant.Node)
    assert (node.type, named.name) == (name, "mine")
    assert node.operator.type in ops.registered()


def test_dorefa_modes_have_the_values_of_the_page():
    assert (DoReFaMode.Default.value, aidge_quant.DoReFaMode) == (0, DoReFaMode)
    assert {"Default", "Symmetric"} <= {mode.name for mode in DoReFaMode}


#: Functions of ours: positional parameters, then keyword-only ones with defaults.
OURS = {
    "quantize": (
        {"network": REQUIRED, "calibration": REQUIRED},
        {
            "effort": "balanced",
            "weight_bits": 8,
            "activation_bits": 8,
            "per_channel": True,
            "single_shift": True,
            "flash_budget": None,
            "ram_budget": None,
            "seed": 0,
            "progress": None,
            "verbose": False,
        },
    ),
    "analyze": (
        {"graph": REQUIRED, "quantized": REQUIRED, "samples": REQUIRED},
        {"calibration": None, "batch_size": 64, "progress": None},
    ),
}


@pytest.mark.parametrize("name", OURS)
def test_our_functions_have_their_parameters(name):
    function = getattr(aidge_quant, name)
    parameters = inspect.signature(function).parameters.values()
    positional = {p.name: p.default for p in parameters if p.kind is not p.KEYWORD_ONLY}
    keywords = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert (positional, keywords) == OURS[name]
    assert "Parameters\n" in (inspect.getdoc(function) or "")


def test_an_analysis_has_its_fields():
    found = list(inspect.signature(aidge_quant.Analysis).parameters)
    assert found == ["network", "samples", "rows", "outputs", "warnings"]
    assert {"sqnr_db", "agreement", "to_dict"} <= set(dir(aidge_quant.Analysis))
