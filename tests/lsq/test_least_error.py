"""Steps that round weights and calibration with the least error."""

import numpy as np
import pytest
import trained_networks as nets

from aidge_quant import lsq
from aidge_quant.errors import DataError
from aidge_quant.ops import LSQ
from aidge_quant.ops.learned_quantization import initial_step
from aidge_quant.training.gradients import calibration_feeds, forward

X, _ = nets.samples(120)


def quantizers(graph):
    """Yield each LSQ, what it reads, and its step."""
    _, values, _ = forward(graph, calibration_feeds(graph, X), train=False, first=False)
    for node in graph.topological():
        if isinstance(node.operator, LSQ):
            port = node.input(0)
            yield node, values[port.node][port.index], node.input(1).node.operator.value


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_steps_of_the_least_error_are_no_worse_than_those_around(bits, shift):
    graph = nets.chain()
    lsq.setup_quantizers(graph, bits, power_of_two=shift, least_error=True, calibration=X)
    seen = set()
    for node, x, step in quantizers(graph):
        source = node.input(1).node
        if source in seen:
            continue
        seen.add(source)

        def error(value, node=node, x=x):
            y = node.operator.forward(x, np.array([value], np.float32))
            return float(np.square(y - x, dtype=np.float64).sum())

        chosen, published = float(step[0]), initial_step(x, node.operator.range[1])
        assert error(chosen) <= error(published) * (1 + 1e-6)
        for factor in (0.5, 2) if shift else (2**-0.125, 2**0.125):
            if 1 / 16 < chosen * factor / published < 4:
                assert error(chosen) <= error(chosen * factor) * (1 + 1e-6), node.name
        assert not shift or np.log2(chosen).is_integer()
    assert len(seen) > 4


def test_steps_of_the_least_error_need_calibration():
    with pytest.raises(DataError, match="least_error needs calibration"):
        lsq.setup_quantizers(nets.chain(), 4, least_error=True)
