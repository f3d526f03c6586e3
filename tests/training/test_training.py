"""Training on the graph: gradients of whole networks, optimizers, repeatable runs."""

import io
import types

import numpy as np
import pytest
from rich.console import Console

from aidge_quant import ops
from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError, DtypeError, FileError, GraphError, ShapeError
from aidge_quant.executor import evaluate, run
from aidge_quant.graph import GraphView
from aidge_quant.training import (
    SGD,
    Adam,
    Group,
    Kind,
    constant,
    cosine,
    cross_entropy,
    fit,
    initialize,
    loss_and_gradients,
    mean_squared_error,
    parameters,
    steps,
)
from aidge_quant.training.parameters import KINDS
from aidge_quant.training.progress import shown


def network(seed=0, *, kind=np.float32, normalize=True):
    """Return a small residual network: conv, BatchNorm, ReLU, depthwise conv, Add, pool, FC."""
    rng = np.random.default_rng(seed)
    graph = GraphView("small")

    def value(name, *shape, scale=0.4):
        return graph.add(ops.producer(rng.normal(0, scale, shape).astype(kind)), (), name)

    x = graph.add_input(ops.Input((1, 2, 6, 6), dtype.of(np.dtype(kind))), "input")
    geometry = ((1, 1), (1, 1), (1, 1, 1, 1))
    node = graph.add(ops.Conv(*geometry), (x, value("conv_w", 4, 2, 3, 3)), "conv")
    if normalize:
        ones, zeros = np.ones(4, kind), np.zeros(4, kind)
        stored = [
            graph.add(ops.producer(array), (), f"bn_{part}")
            for part, array in zip(
                ("scale", "bias", "mean", "var"), (ones, zeros, zeros, ones), strict=True
            )
        ]
        node = graph.add(ops.BatchNorm(), (node, *stored), "bn")
    relu = graph.add(ops.ReLU(), (node,), "relu")
    inner = graph.add(
        ops.Conv(*geometry, 4), (relu, value("dw_w", 4, 1, 3, 3), value("dw_b", 4)), "dw"
    )
    total = graph.add(ops.Add(), (relu, inner), "add")
    pool = graph.add(ops.GlobalAveragePool(), (total,), "pool")
    flat = graph.add(ops.Flatten(), (pool,), "flatten")
    fc = graph.add(ops.FC(), (flat, value("fc_w", 3, 4), value("fc_b", 3)), "fc")
    graph.add_output(fc, "output")
    return graph


def samples(count=96, seed=1):
    """Return images whose class is the place of a bright spot."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.3, (count, 2, 6, 6)).astype(np.float32)
    y = rng.integers(0, 3, count)
    for i, label in enumerate(y):
        x[i, label % 2, :, :] += 1.0 + label // 2
    return x, y


def values(graph):
    return {n.name: n.operator.value for n in graph.nodes if isinstance(n.operator, ops.Producer)}


def equal(a, b):
    first, second = values(a), values(b)
    assert first.keys() == second.keys()
    return all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("normalize", [False, True])
def test_gradients_of_a_network_are_finite_differences(normalize):
    graph = network(kind=np.float64, normalize=normalize)
    x, y = samples(6)
    feeds = {"input": x.astype(np.float64)}

    def loss(outputs):
        total, gradient = cross_entropy(outputs["output"], y)
        return total, {"output": gradient}

    trained, first = parameters(graph), graph.clone()
    _, gradients, _ = loss_and_gradients(first, feeds, loss, parameters(first))
    for parameter in trained:
        array = parameter.value
        for place in list(np.ndindex(*array.shape))[:12]:
            sides = []
            for sign in (1, -1):
                twin = graph.clone()
                moved = array.copy()
                moved[place] += sign * 1e-6
                twin.node(parameter.name).operator = ops.producer(moved)
                sides.append(loss_and_gradients(twin, feeds, loss, ())[0])
            expected = (sides[0] - sides[1]) / 2e-6
            assert gradients[parameter.name][place] == pytest.approx(expected, rel=1e-5, abs=1e-8)


def test_parameters_have_their_kinds():
    kinds = {parameter.name: parameter.kind for parameter in parameters(network())}
    assert kinds == {
        "conv_w": Kind.WEIGHT,
        "bn_scale": Kind.NORMALIZATION,
        "bn_bias": Kind.NORMALIZATION,
        "dw_w": Kind.WEIGHT,
        "dw_b": Kind.BIAS,
        "fc_w": Kind.WEIGHT,
        "fc_b": Kind.BIAS,
    }


@pytest.mark.parametrize("optimizer", [SGD(0.1, 1e-4), Adam(0.02)])
def test_a_network_learns(optimizer):
    graph, (x, y) = network(), samples()
    history = fit(
        graph, (x, y), epochs=12, batch_size=16, optimizer=optimizer, validation=samples(60, 2)
    )
    assert [epoch.number for epoch in history] == list(range(1, 13))
    assert history[-1].loss < 0.5 * history[0].loss
    assert history[-1].accuracy >= 0.9
    assert (run(graph, x).argmax(axis=1) == y).mean() >= 0.9


def test_statistics_follow_the_data():
    graph = network()
    x, y = samples()
    before = evaluate(graph, {"input": x})
    fit(graph, (x, y), epochs=60, optimizer=SGD(1e-12), schedule=constant, batch_size=96)
    conv = evaluate_at(graph, "conv", x)
    found = values(graph)
    np.testing.assert_allclose(found["bn_mean"], conv.mean(axis=(0, 2, 3)), atol=0.05)
    np.testing.assert_allclose(found["bn_var"], conv.var(axis=(0, 2, 3)), rtol=0.2)
    fixed = network()
    fit(fixed, (x, y), epochs=1, optimizer=SGD(1e-12), batch_statistics=False)
    np.testing.assert_array_equal(values(fixed)["bn_mean"], np.zeros(4))
    np.testing.assert_allclose(run(fixed, x), before["output"], atol=1e-5)


def evaluate_at(graph, name, x):
    seen = {}
    evaluate(graph, {"input": x}, observe=lambda node, out: seen.update({node.name: out[0]}))
    return seen[name]


def test_equal_runs_give_equal_weights():
    runs = [network() for _ in range(3)]
    for graph, seed in zip(runs, (7, 7, 8), strict=True):
        fit(graph, samples(), epochs=2, batch_size=20, seed=seed, optimizer=SGD(0.05))
    assert equal(runs[0], runs[1])
    assert not equal(runs[0], runs[2])


@pytest.mark.parametrize("optimizer", [SGD(0.05, 1e-3), Adam(0.01)])
def test_a_continued_training_equals_one_without_interruption(tmp_path, optimizer):
    def augment(rng, x):
        return x + rng.normal(0, 0.1, x.shape).astype(np.float32)

    options = {"epochs": 4, "batch_size": 20, "optimizer": optimizer, "augment": augment}
    options |= {"validation": samples(30, 3), "patience": 3}
    whole, parts = network(), network()
    expected = fit(whole, samples(), **options)
    path = tmp_path / "state.npz"
    fit(parts, samples(), **options, checkpoint=path, callbacks=[lambda g, e: e.number == 2])
    assert not equal(whole, parts)
    fresh = network(5)
    found = fit(fresh, samples(), **options, checkpoint=path)
    assert equal(whole, fresh)
    assert found == expected


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    path = tmp_path / "state.npz"
    fit(network(), samples(), epochs=1, checkpoint=path)
    with pytest.raises(DataError, match="belongs to another network"):
        fit(network(normalize=False), samples(), epochs=2, checkpoint=path)
    for optimizer in (Adam(), SGD(9.0)):
        with pytest.raises(DataError, match=r"was written with SGD\(.*, now it is"):
            fit(network(), samples(), epochs=2, checkpoint=path, optimizer=optimizer)
    with pytest.raises(DataError, match="with seed 0, now it is 1"):
        fit(network(), samples(), epochs=2, checkpoint=path, seed=1)
    whole = path.read_bytes()
    for content in (b"PK something", b"", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(FileError, match="no checkpoint"):
            fit(network(), samples(), epochs=2, checkpoint=path)


@pytest.mark.parametrize("data", [None, (), (1, 2, 3), (np.zeros((2, 2, 6, 6)), None)])
def test_data_that_are_no_pair_are_refused(data):
    with pytest.raises(DataError, match="expected"):
        fit(network(), data, epochs=1)


@pytest.mark.parametrize(
    "options", [{"epochs": 1.5}, {"epochs": 0}, {"seed": -1}, {"clip_norm": -1.0}]
)
def test_options_that_are_no_numbers_of_their_kind_are_refused(options):
    with pytest.raises(DataError, match="expected a"):
        fit(network(), samples(), **{"epochs": 1, **options})


def test_patience_stops_and_takes_the_best():
    graph, (x, y) = network(), samples()
    wrong = (samples(40, 4)[0], (samples(40, 4)[1] + 1) % 3)  # gets worse with training
    kept = []
    history = fit(
        graph,
        (x, y),
        epochs=20,
        optimizer=SGD(0.05),
        validation=wrong,
        patience=3,
        callbacks=[lambda g, e: kept.append(values(g))],
    )
    best = min(history, key=lambda epoch: epoch.validation_loss)
    assert len(history) == best.number + 3
    after = values(graph)
    assert all(np.array_equal(after[name], kept[best.number - 1][name]) for name in after)


def test_groups_set_rates_and_clipping_shortens():
    x, y = samples()
    graph = network()
    before = values(graph)
    fit(graph, (x, y), epochs=1, groups=[Group((Kind.WEIGHT,), rate=0), Group(("dw_b",), 0.0)])
    after = values(graph)
    changed = {n for n in before if not np.array_equal(before[n], after[n])}
    assert changed == {"fc_b", "bn_scale", "bn_bias", "bn_mean", "bn_var"}
    graph = network(normalize=False)
    before = values(graph)
    options = {"optimizer": SGD(1.0, momentum=0.0), "schedule": constant}
    fit(graph, (x, y), epochs=1, batch_size=96, clip_norm=1e-3, **options)
    moved = sum(((values(graph)[n] - before[n]) ** 2).sum() for n in before)
    assert moved**0.5 == pytest.approx(1e-3, rel=1e-3)


def test_data_come_from_iterables_and_tensors():
    x, y = samples(40)
    tensor = lambda a: types.SimpleNamespace(  # noqa: E731 - as torch's tensors answer
        detach=lambda: types.SimpleNamespace(cpu=lambda: types.SimpleNamespace(numpy=lambda: a))
    )
    pairs = [(x[:20], y[:20]), (x[20:], y[20:])]
    graphs = [network() for _ in range(3)]
    fit(graphs[0], pairs, epochs=2)
    fit(graphs[1], lambda: iter(pairs), epochs=2, schedule=cosine)
    fit(graphs[2], [(tensor(a), tensor(b)) for a, b in pairs], epochs=2)
    assert equal(graphs[0], graphs[2])
    with pytest.raises(DataError, match="serves one epoch"):
        fit(network(), (pair for pair in pairs), epochs=2)


def test_schedules_and_losses():
    assert [cosine(p) for p in (0, 1)] == [1, 0]
    drop = steps(0.5, 0.75)
    assert [drop(p) for p in (0, 0.5, 0.9)] == pytest.approx([1, 0.1, 0.01])
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(5, 4)), rng.integers(0, 4, 5)
    soft = np.eye(4)[labels]
    assert cross_entropy(logits, labels)[0] == pytest.approx(cross_entropy(logits, soft)[0])
    for function, target in ((cross_entropy, labels), (mean_squared_error, soft)):
        gradient = function(logits, target)[1]
        for place in np.ndindex(*logits.shape):
            move = np.zeros_like(logits)
            move[place] = 1e-6
            sides = [function(logits + sign * move, target)[0] for sign in (1, -1)]
            assert gradient[place] == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-8)
    with pytest.raises(DataError, match="labels span"):
        cross_entropy(logits, labels + 4)
    with pytest.raises(ShapeError, match="labels have shape"):
        cross_entropy(logits, labels[:3])
    with pytest.raises(DtypeError, match="expected floats in that shape, one-hot or not"):
        cross_entropy(logits, soft.astype(np.int64))
    with pytest.raises(DataError, match="labels are not whole numbers"):
        cross_entropy(logits, labels + 0.5)


def test_steps_are_set_by_the_first_batch():
    graph, (x, y) = network(), samples()
    step = graph.add(ops.producer(np.zeros(1, np.float32)), (), "step")
    graph.insert_after(graph.node("relu"), ops.LSQ((0, 15)), "lsq", (step,))
    initialize(graph, x)
    seen = evaluate_at(graph, "relu", x)
    assert values(graph)["step"] == pytest.approx(2 * seen.mean() / np.sqrt(15), rel=1e-5)
    kept = values(graph)["step"]
    initialize(graph, 2 * x)
    assert values(graph)["step"] == kept
    fit(graph, (x, y), epochs=1, optimizer=SGD(1e4))
    assert values(graph)["step"] > 0


def test_what_cannot_train_is_refused():
    x, y = samples()
    with pytest.raises(GraphError, match="no parameter to train"):
        fit(network(), (x, y), epochs=1, groups=[Group(KINDS, rate=0)])
    graph = network()
    last = graph.insert_after(graph.node("fc"), ops.Softmax(), "softmax")
    with pytest.raises(GraphError, match=r"softmax \(Softmax\): cross_entropy takes logits"):
        fit(graph, (x, y), epochs=1)
    assert last in graph
    with pytest.raises(DataError, match="epochs is 0"):
        fit(network(), (x, y), epochs=0)
    with pytest.raises(DataError, match="expected one number"):
        fit(network(), (x, y[:5]), epochs=1)
    too_fast = pytest.raises(DataError, match="the loss is nan|not finite any more")
    with too_fast, np.errstate(all="ignore"):
        fit(network(), (x, y), epochs=20, optimizer=SGD(1e30))


def test_groups_without_members_are_refused():
    for members, message in (
        (("dw_bias",), r"names \['dw_bias'\], expected names of parameters"),
        ((Kind.WEIGHT, "conv"), r"names \['conv'\]"),
        ((Kind.STEP, Kind.ALPHA), "has no member among the parameters"),
        ((), "has no member"),
    ):
        with pytest.raises(GraphError, match=message):
            fit(network(), samples(), epochs=1, groups=[Group(members)])
    fit(network(), samples(), epochs=1, groups=[Group((Kind.WEIGHT, Kind.STEP))])


def test_gradients_that_are_no_numbers_reach_no_parameter():
    """Also in the last batch, behind which no other loss tells."""
    graph, (x, y) = network(), samples()
    before = values(network())

    def loss(outputs, labels):
        total, gradient = cross_entropy(outputs, labels)
        return total, np.full_like(gradient, np.nan)

    with pytest.raises(DataError, match="the gradient of .* is not finite any more; lower"):
        fit(graph, (x, y), epochs=1, batch_size=len(x), loss=loss)
    with pytest.raises(DataError, match="the value of .* is not finite"), np.errstate(all="ignore"):
        fit(graph, (x, y), epochs=1, batch_size=len(x), optimizer=SGD(3e38), schedule=lambda _: 1e9)
    after = values(graph)
    for name in set(before) - {"bn_mean", "bn_var"}:
        np.testing.assert_array_equal(after[name], before[name])


def test_progress_is_a_bar_on_a_terminal(monkeypatch, capsys):
    text = io.StringIO()
    terminal = Console(file=text, force_terminal=True, width=120, legacy_windows=False)
    monkeypatch.setattr("aidge_quant.training.progress.Console", lambda stderr: terminal)
    options = {"epochs": 2, "batch_size": 48, "validation": samples(30, 3)}
    history = fit(network(), samples(), progress=True, **options)
    assert "epoch 2 of 2" in text.getvalue()
    assert f"loss {history[-1].loss:.4f}, validation" in text.getvalue()
    assert capsys.readouterr() == ("", "")


def test_progress_is_silent_elsewhere(capsys):
    fit(network(), samples(), epochs=1, progress=True)
    assert capsys.readouterr() == ("", "")
    seen = []
    fit(network(), samples(), epochs=2, batch_size=48, progress=lambda *at: seen.append(at))
    assert seen == [(1, 0.0), (1, 0.5), (2, 0.0), (2, 0.5)]
    with shown(False, 1, []) as (tell, told):
        tell(1, 0.5)
        told(None)
