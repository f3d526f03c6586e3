"""quantize: the whole recipe, a list of steps of which each must prove itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aidge_quant.errors import DataError
from aidge_quant.graph import GraphView
from aidge_quant.integer.lowering.lower import lower
from aidge_quant.onnx_io import load_onnx
from aidge_quant.ptq import prepare_network
from aidge_quant.ptq.architecture import require_supported
from aidge_quant.ptq.calibration import Calibration, calibration_batches, require_signal
from aidge_quant.tuning.budget import Budget
from aidge_quant.tuning.climb import Climb, Progress
from aidge_quant.tuning.effort import check_form, checked_effort
from aidge_quant.tuning.ladder import Ladder
from aidge_quant.tuning.proposal import make_proposal
from aidge_quant.tuning.realize import quantized_graph
from aidge_quant.tuning.result import QuantizationResult, note_options
from aidge_quant.tuning.scheme import Scheme

#: A quarter of the samples is held back, and at least this many are needed in all.
LEAST_SAMPLES = 8
#: Every step runs the held-back samples: time and memory grow with them.
MOST_HELD_BACK = 256


def quantize(
    network: GraphView | str | Path,
    calibration: Calibration,
    *,
    effort: str = "balanced",
    weight_bits: int = 8,
    activation_bits: int = 8,
    per_channel: bool = True,
    single_shift: bool = True,
    flash_budget: int | None = None,
    ram_budget: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    verbose: bool = False,
) -> QuantizationResult:
    """Return the most accurate integer network this recipe finds; ``network`` stays as it is.

    Parameters
    ----------
    network : GraphView or path of an ONNX file
        Float network.
    calibration : arrays or Tensors, as ``quantize_network`` takes them
        8 samples or more; about 256 are worth having. A quarter, at most 256, is held back
        to judge the steps.
    effort : {"fast", "balanced", "high"}
    weight_bits : 8, 4 or 16
    activation_bits : 8 or 16
        int16 tensors have no zero point. What functions of one value read and write stays int8,
        and with it what an Add, a product or a Concat joins it to.
    per_channel : bool
        One weight scale and shift for each output channel.
    single_shift : bool
        Every layer ends in one rounding shift. The only form so far.
    flash_budget : int, optional
        Bytes that the parameters may take, as the export counts them. Where they would take more,
        layers get narrower weights than ``weight_bits``, down to int4: those that lose least.
    ram_budget : int, optional
        Bytes that the arena may take. With room left, tensors become int16 where that lowers the
        error most; inputs and outputs of the network, which the caller holds, keep their types.
    seed : int
        Of the choice of samples; equal seeds give equal networks.
    progress : callable, optional
        Told the name of a step and the share of it that is done, 0 to 1; 0 when it begins.
    verbose : bool
        Log what each step brings, through the logger ``aidge_quant``.

    Raises
    ------
    UnsupportedError
        If the network cannot be quantized (every node with reason and remedy), or an option is
        none of the above.
    DataError, ShapeError, DtypeError
        If there are too few samples, they do not fit the network, or a budget cannot be met.

    Notes
    -----
    Activation scales are free reals; the weights take ``2**-k s_y / s_x``. Steps: bias correction,
    zero points, int32 logits, residual Adds in the accumulator, exponents and second-order rounding
    of the weights, equalization, whole and by half (through ReLU6 with a cap for every channel),
    clipping, joint search of the scales, a refit of the weights. Each is kept only if the error at
    the outputs falls on the samples that were held back. Bits under a budget are chosen last, from
    what every layer does alone to the error on the calibration samples.
    """
    options = checked_effort(effort)
    check_form(weight_bits, activation_bits, single_shift)
    budget = Budget(flash_budget, ram_budget)
    graph = load_onnx(network) if isinstance(network, str | Path) else network.clone()
    require_supported(graph)
    batches = calibration_batches(graph, calibration)
    require_signal(batches)
    prepare_network(graph)
    samples = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    count = len(next(iter(samples.values())))
    if count < LEAST_SAMPLES:
        raise DataError(
            f"calibration: expected at least {LEAST_SAMPLES} samples, a quarter of which is held "
            f"back, got {count}; give more, or use quantize_network"
        )
    order = np.random.default_rng(seed).permutation(count)
    held = min(count // 4, MOST_HELD_BACK)
    split = {name: (x[order[held:]], x[order[:held]]) for name, x in samples.items()}
    climb = Climb(split, options, budget, seed, progress or (lambda step, share: None), verbose)
    plain = Scheme({}, weight_bits=weight_bits, per_channel=per_channel)
    found, changes = climb.within_budget(climb.best(graph, plain, activation_bits))
    skeleton = found.course.skeleton
    result = quantized_graph(skeleton, found.scheme)
    result.check()
    note_options(
        result,
        f"effort={effort}, weight_bits={weight_bits}, activation_bits={activation_bits}, "
        f"per_channel={per_channel}, flash_budget={flash_budget}, ram_budget={ram_budget}, "
        f"seed={seed}",
    )
    lowered = lower(result)
    proposal = make_proposal(skeleton, lowered, changes, budget) if budget else None
    return QuantizationResult(result, lowered, Ladder(found.rungs), proposal)
