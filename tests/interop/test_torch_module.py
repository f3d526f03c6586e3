"""A graph as a module of torch: values, gradients, training, and the way back."""

import copy
import io

import networks
import numpy as np
import pytest
import trained_networks as nets

import aidge_quant as aq
from aidge_quant import lsq, ops, sat
from aidge_quant.errors import DataError, GraphError, ShapeError, UnsupportedError
from aidge_quant.graph import GraphView
from aidge_quant.training import Kind, cross_entropy, loss_and_gradients, parameters

torch = pytest.importorskip("torch", reason="torch is not installed")
GraphModule = pytest.importorskip("aidge_quant.interop.torch").GraphModule

NAMES = ("resnet", "dwsep", "mbv2r")

#: The bar of the interface: what float32 sums in another order may differ by.
TOLERANCE = 1e-4


def with_lsq(graph, x):
    lsq.setup_quantizers(graph, 4, calibration=x)


def with_normalized_lsq(graph, x):
    lsq.setup_quantizers(graph, 4, fold_batch_norms=False, calibration=x)


def with_shifts(graph, x):
    lsq.setup_quantizers(graph, 4, power_of_two=True, calibration=x)


def with_frozen_lsq(graph, x):
    with_normalized_lsq(graph, x)
    lsq.freeze_batch_norms(graph)


def with_channels_and_shifts(graph, x):
    lsq.setup_quantizers(graph, 4, power_of_two=True, channel_wise=True, calibration=x)


def with_aligned_lsq(graph, x):
    lsq.setup_quantizers(graph, 4, power_of_two=True, fold_batch_norms=False, calibration=x)
    lsq.align_batch_norms(graph)


def with_sat(graph, x):
    sat.insert_sat_nodes(graph, True)
    sat.insert_param_quantizers(graph, 4)
    sat.insert_activ_quantizers(graph, 4, signed_input=False, calibration=x)


def with_fixed_point(graph, x):
    """Put FixedQ on every weight, without quantizers of activations."""
    for node in graph.topological():
        if node.operator.type in ("Conv", "FC"):
            graph.insert_before(node, 1, ops.FixedQ(6, 2.0), f"{node.name}_fixed")


def as_it_is(graph, x):
    """Leave the float network."""


WAYS = (
    as_it_is,
    with_lsq,
    with_normalized_lsq,
    with_shifts,
    with_frozen_lsq,
    with_channels_and_shifts,
    with_aligned_lsq,
    with_sat,
    with_fixed_point,
)


def reference(name, way):
    """Return a network of the shared folder in float64, its samples, and labels.

    Where a sum is 0, or a value lies on the edge of two integers, the last bit of a float decides
    which gradient there is. In float64, with steps of ten bits, the sums of a layer are exact in
    any order, so that both decide alike.
    """
    samples = networks.NETWORKS[name].samples()
    graph = aq.load_onnx(networks.NETWORKS[name].file())
    way(graph, samples.calibration)
    kinds = {parameter.node: parameter.kind for parameter in parameters(graph)}
    for node in producers(graph):
        value = np.asarray(node.operator.value)
        if value.dtype.kind == "f":
            value = value.astype(np.float64)
            if kinds.get(node) == Kind.STEP:
                mantissa, exponent = np.frexp(value)
                value = np.ldexp(np.rint(mantissa * 1024), exponent - 10)
            node.operator = ops.producer(value, constant=node.operator.constant)
    return graph, samples.test[:16].astype(np.float64), samples.labels[:16]


def producers(graph):
    return [node for node in graph.topological() if isinstance(node.operator, ops.Producer)]


def small(way=with_normalized_lsq, make=nets.residual):
    graph = make()
    x, y = nets.samples(64)
    way(graph, x)
    return graph, x, y


def ours(graph, x, y, train):
    (name,) = (output.name for output in graph.outputs)
    (fed,) = (node.name for node in graph.inputs)

    def loss(outputs):
        total, gradient = cross_entropy(outputs[name], y)
        return total, {name: gradient}

    trained = parameters(graph)
    return loss_and_gradients(graph, {fed: x}, loss, trained, batch_statistics=train)


def compare(graph, x, y, train, tolerance=TOLERANCE):
    """Compare outputs, gradients and statistics of both on one batch."""
    module = GraphModule(graph).train(train)
    output = module(torch.tensor(x))
    torch.nn.functional.cross_entropy(output, torch.tensor(y)).backward()
    total, gradients, outputs = ours(graph, x, y, train)
    assert np.isfinite(total)
    (expected,) = outputs.values()
    size = np.abs(expected).max()
    np.testing.assert_allclose(output.detach().numpy(), expected, atol=tolerance * size)
    assert {module.keys[name] for name in gradients} == {n for n, _ in module.named_parameters()}
    for name, wanted in gradients.items():
        gradient = module.get_parameter(module.keys[name]).grad
        found = np.zeros(wanted.shape) if gradient is None else gradient.numpy()
        largest = max(float(np.abs(wanted).max()), 1e-3)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * largest, err_msg=name)
    for name, key in module.keys.items():  # statistics: both have seen one batch
        value = module.get_buffer(key) if key in dict(module.named_buffers()) else None
        if value is not None and value.is_floating_point():
            np.testing.assert_allclose(
                value.numpy(), graph.node(name).operator.value, rtol=tolerance, atol=tolerance
            )


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("train", [True, False])
def test_reference_networks_have_our_outputs_and_gradients(name, way, train):
    compare(*reference(name, way), train)


@pytest.mark.parametrize("make", [nets.chain, nets.residual, nets.concat, nets.linear_bottleneck])
@pytest.mark.parametrize("way", [as_it_is, with_shifts, with_channels_and_shifts])
def test_float32_networks_have_our_outputs(make, way):
    graph, x, _ = small(way, make)
    expected = aq.run(graph, x)
    found = GraphModule(graph).eval()(torch.tensor(x)).detach().numpy()
    if way is not as_it_is:  # all sums are exact
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def train(module, x, y, epochs=20, rate=0.01):
    groups = [
        {"params": module.parameters_of(Kind.WEIGHT), "weight_decay": 1e-4},
        {"params": module.parameters_of(Kind.STEP, Kind.ALPHA), "lr": rate / 10},
        {"params": module.parameters_of(Kind.BIAS, Kind.NORMALIZATION, Kind.OTHER)},
    ]
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9)
    losses = []
    for _ in range(epochs):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(torch.tensor(x)), torch.tensor(y))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("way", [with_normalized_lsq, with_sat])
def test_what_torch_trained_becomes_an_integer_network(way):
    graph, x, y = small(with_normalized_lsq if way is with_normalized_lsq else as_it_is)
    if way is with_sat:
        sat.insert_sat_nodes(graph, True)
        sat.insert_param_quantizers(graph, 4)
        sat.insert_activ_quantizers(graph, 4, input_range=float(np.abs(x).max()), calibration=x)
    before = {node.name: np.array(node.operator.value) for node in producers(graph)}
    module = GraphModule(graph)
    losses = train(module, x, y)
    assert losses[-1] < 0.8 * losses[0]
    for node in producers(graph):  # nothing reaches the graph until it is told
        np.testing.assert_array_equal(node.operator.value, before[node.name])
    module.write_back()
    moved = [n.name for n in producers(graph) if (n.operator.value != before[n.name]).any()]
    assert set(moved) >= {p.name for p in parameters(graph) if p.kind == Kind.WEIGHT}
    assert {"second_bn_mean", "second_bn_var"} <= set(moved)
    expected = module.eval()(torch.tensor(x)).detach().numpy()
    found = aq.run(graph, x)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.95
    (lsq if way is with_normalized_lsq else sat).post_training_transform(graph, True)
    network = aq.lower(graph)
    integers = network.run(network.quantize_input(x))
    assert (integers.argmax(axis=1) == found.argmax(axis=1)).mean() > 0.9


def test_values_go_both_ways():
    graph, x, y = small()
    module = GraphModule(graph)
    train(module, x, y, 3)
    module.write_back()
    kinds = {node.name: node.operator.value.dtype for node in producers(graph)}
    assert set(kinds.values()) == {np.dtype(np.float32)}
    other = GraphModule(graph)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    train(module, x, y, 3)
    module.read_graph()
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, module.state_dict()[name])


def test_the_values_of_the_module_are_its_own():
    graph, x, y = small()
    module = GraphModule(graph)
    twin = graph.clone()
    train(module, x, y, 2)
    module.write_back()
    changed = [
        (a.operator.value != b.operator.value).any()
        for a, b in zip(producers(graph), producers(twin), strict=True)
    ]
    assert any(changed)


def test_state_is_saved_and_loaded():
    graph, x, y = small()
    module, other = GraphModule(graph), GraphModule(graph)
    train(module, x, y, 3)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    a, b = (m.eval()(torch.tensor(x)) for m in (module, other))
    assert torch.equal(a, b)
    twin = copy.deepcopy(module)
    assert torch.equal(twin(torch.tensor(x)), a)
    module.double()(torch.tensor(x, dtype=torch.float64))


def test_names_that_torch_does_not_allow_are_changed():
    graph = GraphView("names")
    x = graph.add_input(ops.Input((1, 3)), "input")
    for i, name in enumerate(("layer.0", "layer_0", "forward", "training")):
        weight = graph.add(ops.producer(np.eye(3, dtype=np.float32) * (i + 2)), (), name)
        x = graph.add(ops.FC(), (x, weight), f"fc{i}")
    graph.add_output(x, "output")
    module = GraphModule(graph)
    assert len(set(module.keys.values())) == 4
    assert module.keys["layer.0"] == "layer_0"
    out = module(torch.ones(2, 3))
    assert (out == 2 * 3 * 4 * 5).all()
    with torch.no_grad():
        module.get_parameter(module.keys["layer.0"]).mul_(2)
    module.write_back()
    assert graph.node("layer.0").operator.value[0, 0] == 4
    assert graph.node("layer_0").operator.value[0, 0] == 3


def test_frozen_statistics_stay_and_constants_do_not_train():
    graph, x, y = small(with_frozen_lsq, nets.residual)
    module = GraphModule(graph)
    before = {name: tensor.clone() for name, tensor in module.named_buffers()}
    train(module, x, y, 3)
    for name, tensor in module.named_buffers():
        assert torch.equal(tensor, before[name])


def test_several_inputs_and_outputs_have_names():
    graph = GraphView("two")
    a, b = (graph.add_input(ops.Input((1, 3)), name) for name in "ab")
    both = graph.add(ops.Add(), (a, b), "sum")
    graph.add_output(both, "sum")
    graph.add_output(graph.add(ops.ReLU(), (both,), "relu"), "relu")
    module = GraphModule(graph)
    found = module({"a": torch.ones(2, 3), "b": torch.full((2, 3), -3.0)})
    assert (found["sum"] == -2).all()
    assert (found["relu"] == 0).all()
    with pytest.raises(DataError, match=r"inputs \['a'\] were fed, expected \['a', 'b'\]"):
        module({"a": torch.ones(2, 3)})
    with pytest.raises(DataError, match="one tensor was fed"):
        module(torch.ones(2, 3))
    with pytest.raises(ShapeError, match="input b has shape"):
        module({"a": torch.ones(2, 3), "b": torch.ones(2, 4)})


def test_what_cannot_run_is_refused_by_name():
    graph = GraphView("refused")
    x = graph.add_input(ops.Input((1, 3)), "input")
    graph.add_output(graph.add(ops.ArgMax(1), (x,), "winner"), "output")
    with pytest.raises(UnsupportedError, match=r"winner \(ArgMax\): ArgMax does not run in torch"):
        GraphModule(graph)


def test_steps_that_are_not_set_are_refused():
    graph = nets.chain()
    lsq.setup_quantizers(graph, 4)
    with pytest.raises(GraphError, match="_ss: the step of .* call aidge_quant.training"):
        GraphModule(graph)


def test_values_that_are_none_do_not_reach_the_graph():
    graph, *_ = small()
    module = GraphModule(graph)
    step = module.parameters_of(Kind.STEP)[0]
    with torch.no_grad():
        step.neg_()
    with pytest.raises(DataError, match="expected steps and bounds above 0"):
        module.write_back()
    with torch.no_grad():
        step.neg_()
        module.parameters_of(Kind.WEIGHT)[0][0] = float("nan")
    kept = [np.array(node.operator.value) for node in producers(graph)]
    with pytest.raises(DataError, match="holds NaN or infinite values"):
        module.write_back()
    for value, node in zip(kept, producers(graph), strict=True):
        np.testing.assert_array_equal(value, node.operator.value)
