"""The engine in a program of its own: for aarch64 by emulation, and with sanitizers."""

import itertools
import platform

import numpy as np
import pytest
from c_builds import absent
from engine_runner import AARCH64, X86_SANITIZED, ForeignSteps, Runner, layouts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import inputs_for, integer_networks, single_layer_networks
from tile_networks import FORMS, WEIGHTS, around_tiles, convolution

from aidge_quant.integer.plan import Plan
from aidge_quant.integer.run import run_layer
from aidge_quant.integer.steps import STEPS
from aidge_quant.kernels.engine import Engine

# A machine for each instruction set; the second does not have those of the first.
CPUS = {"neondot": "max", "neon": "cortex-a53", "portable": "cortex-a53"}


def built(target, factory):
    """Return the program for a target; skips or fails the test if it cannot be made here."""
    if target.missing is not None:
        absent(target.missing)
    return str(target.build(factory.mktemp("engine")))


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    return built(AARCH64, tmp_path_factory)


@pytest.fixture(scope="session", params=CPUS)
def runner(request, program):
    runner = Runner([*AARCH64.emulator, "-cpu", CPUS[request.param], program], request.param)
    yield runner
    runner.close()


@pytest.fixture(scope="session")
def sanitized_program(tmp_path_factory):
    if platform.machine() != "x86_64":
        pytest.skip("the instruction sets are those of x86-64")
    return built(X86_SANITIZED, tmp_path_factory)


@pytest.fixture(scope="session", params=["avx512vnni", "avx512vnni256", "avx2", "portable"])
def sanitized(request, sanitized_program):
    if request.param not in layouts([sanitized_program]):
        pytest.skip(f"this machine has no {request.param}")
    runner = Runner([sanitized_program], request.param)
    yield runner
    runner.close()


def sets(examples):
    return settings(
        deadline=None,
        derandomize=True,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def expect_as_here(network, batch, seed, runner):
    """Compare with the layers one by one on this machine."""
    q = inputs_for(network, batch, seed)
    arrays = [q[name] for name in network.input_names] if isinstance(q, dict) else [q]
    plan = Plan(network, run_layer, Engine(0, ForeignSteps(runner)))
    found = plan.run(arrays, threads=1)
    expected = network.run(q, intermediates=True)[0]
    expected = list(expected.values()) if isinstance(expected, dict) else [expected]
    for result, right in zip(found, expected, strict=True):
        assert result.dtype == right.dtype
        np.testing.assert_array_equal(result, right)


def check_layers(kind, runner, examples):
    @sets(examples)
    @given(single_layer_networks(kind), st.integers(0, 1000))
    def check(network, seed):
        expect_as_here(network, 3, seed, runner)

    check()


def check_networks(runner, examples):
    @sets(examples)
    @given(integer_networks(max_layers=8), st.integers(0, 1000), st.integers(1, 20))
    def check(network, seed, batch):
        expect_as_here(network, batch, seed, runner)

    check()


def check_sizes(form, depthwise, kind, runner, every):
    for index, (network, seed) in enumerate(around_tiles(form, depthwise, kind)):
        if index % every == 0:
            expect_as_here(network, 2, seed, runner)


@pytest.mark.parametrize("cpu", ["max", "cortex-a53"])
def test_a_machine_offers_what_it_has_best_first(cpu, program):
    found = layouts([*AARCH64.emulator, "-cpu", cpu, program])
    assert list(found) == ["neondot", "neon", "portable"][cpu != "max" :]


@pytest.mark.parametrize("kind", STEPS, ids=lambda kind: kind.__name__)
def test_a_layer_gives_the_same_bits(kind, runner):
    check_layers(kind, runner, 5)


def test_a_network_gives_the_same_bits(runner):
    check_networks(runner, 10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("depthwise", [False, True], ids=["conv", "depthwise"])
@pytest.mark.parametrize("kind", WEIGHTS, ids=lambda kind: kind.name)
def test_a_size_gives_the_same_bits(form, depthwise, kind, runner):
    check_sizes(form, depthwise, kind, runner, every=5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", STEPS, ids=lambda kind: kind.__name__)
def test_many_layers_give_the_same_bits(kind, runner):
    check_layers(kind, runner, 100)


@pytest.mark.slow
def test_many_networks_give_the_same_bits(runner):
    check_networks(runner, 200)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("depthwise", [False, True], ids=["conv", "depthwise"])
@pytest.mark.parametrize("kind", WEIGHTS, ids=lambda kind: kind.name)
def test_any_size_gives_the_same_bits(form, depthwise, kind, runner):
    check_sizes(form, depthwise, kind, runner, every=1)


@pytest.mark.slow
def test_no_step_leaves_its_arrays(sanitized):
    for kind in STEPS:
        check_layers(kind, sanitized, 40)
    check_networks(sanitized, 100)
    for form, depthwise, kind in itertools.product(FORMS, (False, True), WEIGHTS):
        check_sizes(form, depthwise, kind, sanitized, every=2)


def test_other_biases_are_noticed(runner):
    network = convolution(np.random.default_rng(1), (16, 24, 3, 1, "shift", False))
    steps = ForeignSteps(runner)
    affine = steps.affine
    steps.affine = lambda images, finish, weight, bias, *more: affine(
        images, finish, weight, bias + 1024, *more
    )
    q = inputs_for(network, 2, 0)
    found = Plan(network, run_layer, Engine(0, steps)).run([q], threads=1)[0]
    assert (found != network.run(q, intermediates=True)[0]).any()
