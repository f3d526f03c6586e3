"""The benchmark on Cortex-M fails when it should: worse figures, wrong outputs."""

import importlib
import sys

import numpy as np
import pytest
from c_builds import build_named
from shared_data import CHECKOUT
from small_networks import small_network

import aidge_quant as aq

ROW = {"core": "m4", "model": "kws", "mode": "tensor", "instructions": 1000, "flash": 50, "ram": 9}
BASELINE = {
    "compiler": "12.2.1",
    "figures": {"m4/kws/tensor": {"instructions": 1000, "flash": 50, "ram": 9}},
}


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks" / "cortex_m"))
    yield importlib.import_module
    for name in ("boards", "cycles", "layers", "models", "rig", "tables"):
        sys.modules.pop(name, None)


def test_equal_and_slightly_worse_figures_pass(benchmark):
    complaints = benchmark("tables").complaints
    assert complaints([ROW], "12.2.1", BASELINE) == []
    assert complaints([ROW | {"instructions": 1020, "flash": 51}], "12.2.1", BASELINE) == []


@pytest.mark.parametrize("worse", [{"instructions": 1021}, {"flash": 52}, {"ram": 10}])
def test_a_figure_that_is_worse_by_more_than_two_percent_fails(benchmark, worse):
    (said,) = benchmark("tables").complaints([ROW | worse], "12.2.1", BASELINE)
    name, value = next(iter(worse.items()))
    assert said.startswith(f"m4/kws/tensor: {name} {value}, expected at most ")


def test_figures_that_were_never_committed_fail(benchmark):
    (said,) = benchmark("tables").complaints([ROW | {"core": "m7"}], "12.2.1", BASELINE)
    assert "m7/kws/tensor: no committed figures" in said


def test_figures_of_another_compiler_are_not_compared(benchmark):
    (said,) = benchmark("tables").complaints([ROW], "13.1.0", BASELINE)
    assert "they cannot be compared" in said


def test_every_core_and_network_has_committed_figures(benchmark):
    tables, boards, models = benchmark("tables"), benchmark("boards"), benchmark("models")
    figures = tables.json.loads(tables.BASELINE.read_text(encoding="utf-8"))["figures"]
    assert {f"{c}/{m}/tensor" for c in boards.CORES for m in models.MODELS} <= set(figures)


@pytest.mark.qemu
def test_a_wrong_output_stops_the_measurement(benchmark, tmp_path):
    build_named("qemu-cortex-m4")
    rig = benchmark("rig")
    aq.export_c(small_network("conv"), tmp_path / "conv", name="conv", input_in_arena=True)
    assert rig.measure("m4", tmp_path / "conv", "conv").instructions > 1000
    golden = tmp_path / "conv" / "test" / "conv_golden.h"
    text = golden.read_text(encoding="utf-8")
    start = text.index("{", text.index("conv_golden_output"))
    first = text[start + 1 : text.index(",", start)].strip()
    changed = str(int(first) ^ 1)
    golden.write_text(text[:start] + text[start:].replace(first, changed, 1), encoding="utf-8")
    with pytest.raises(rig.RigError, match="1 output values differ"):
        rig.measure("m4", tmp_path / "conv", "conv")


LISTING = """
00000100 <net_conv>:
     100:\tf8d1 2000 \tldr.w\tr2, [r1]
     104:\tf8d1 3000 \tldr.w\tr3, [r1, #4]
     108:\te8e0 7e02 \tldrd\tr7, lr, [r0], #8
     10c:\tfb27 4403 \tsmlad\tr4, r7, r3, r4
     110:\td1f6      \tbne.n\t100 <net_conv>
     112:\tb580      \tpush\t{r7, lr}
00000120 <rig_start>:
     120:\tfb27 4403 \tsmlad\tr4, r7, r3, r4
"""


def test_rough_cycles_follow_the_stated_rules(benchmark):
    executed = dict.fromkeys((0x100, 0x104, 0x108, 0x10C, 0x110), 10) | {0x112: 1, 0x120: 99}
    # a load 2, another right behind it 1, ldrd 3, smlad 1, a branch backwards 3; push of two 3
    assert benchmark("cycles")._sum(LISTING, executed, "net_") == 10 * (2 + 1 + 3 + 1 + 3) + 3


def test_every_kind_of_layer_of_the_table_is_built_and_runs(benchmark):
    layers = benchmark("layers")
    kinds = {}
    for title, shape in layers.SHAPES.items():
        kinds.setdefault(shape.kind, title)
    for title in kinds.values():
        network = layers.layer_network(layers.SHAPES[title])
        shape = network.tensor("y").shape
        q = network.tensor("x").from_onnx(np.ones((1, *network.tensor("x").shape), np.int8))
        assert network.run(q).shape == (1, *shape)
