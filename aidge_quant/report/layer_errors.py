"""Per-layer error analysis of a quantized network against its float network."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from aidge_quant.errors import DataError, UnsupportedError
from aidge_quant.executor import Arrays, evaluate, graph_feeds
from aidge_quant.graph import Annotation, GraphView, Node
from aidge_quant.integer.layers import (
    Add,
    Affine,
    AveragePool,
    Layer,
    Lookup,
    Multiply,
    Rescale,
)
from aidge_quant.integer.lowering.lower import lower
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.run import run_layer, run_network
from aidge_quant.ptq.architecture import SUPPORTED, quantizability
from aidge_quant.ptq.calibration import Calibration
from aidge_quant.ptq.prepare import prepare_network
from aidge_quant.report.advice import advise, weight_spread
from aidge_quant.report.analysis import Analysis, LayerRow
from aidge_quant.report.grid import Grid, tensor_intervals
from aidge_quant.report.inputs import calibration_warnings, input_warnings
from aidge_quant.report.measure import LayerMeasure
from aidge_quant.report.outputs import OutputMeasure
from aidge_quant.report.twins import Twins

#: Layers that compute; the others move or compare stored values and lose nothing.
COMPUTING = (Affine, Add, Multiply, Rescale, AveragePool, Lookup)

NOT_EQUALIZED = (
    "an integer network says nothing about equalization: its layers are compared as if there had "
    "been none; pass the quantized graph if the network was equalized"
)


def analyze(
    graph: GraphView,
    quantized: GraphView | IntegerNetwork,
    samples: Arrays,
    *,
    calibration: Calibration | None = None,
    batch_size: int = 64,
    progress: Callable[[str, float], None] | None = None,
) -> Analysis:
    """Return what every layer of a quantized network loses, worst first, with advice and warnings.

    Parameters
    ----------
    graph : GraphView
        The float network that was quantized; it is not changed.
    quantized : GraphView or IntegerNetwork
        As ``quantize_network`` or ``quantize`` leaves the graph, lowered here; it is not changed.
        An integer network does not tell by what equalization divided its channels: it is compared
        as if there had been none, with a warning.
    samples : array (batch, *shape), or a mapping of them by input name
        As the float network is fed.
    calibration : list of Tensor or array, or one array, optional
        The calibration set, to be compared with the samples.
    batch_size : int, at least 1
        How many samples are computed at a time; it bounds the memory.
    progress : callable, optional
        Told the name of the step and the share of it that is done, 0 to 1, after every batch.

    Returns
    -------
    Analysis
        Without rows where ``quantized`` cannot be lowered: the warnings name the nodes.

    Raises
    ------
    GraphError
        If ``quantized`` does not come from ``graph``.
    OverflowProofError
        If an accumulator of the quantized graph could leave int32.
    ShapeError, DtypeError, DataError
        If samples or calibration do not fit the network.

    Notes
    -----
    SQNR = 10 log10(sum(y**2) / sum((y - e)**2)) in dB, sums over all samples and elements, in the
    units of the float network.

    Accumulated: y is the layer's output in the float network, e the dequantized output of the layer
    in the run of the integer network.

    Alone: let x be the values that the float network has at the layer's inputs, and x' these values
    rounded and clipped to the integers of the input tensors. y = f(x'), f the float nodes that the
    layer stands for; e = dequantized output of the integer layer on the integers of x'. Both see
    the same inputs, so that their rounding is left out: it counts at the layer that writes them.
    What remains is the layer's own: its weights and bias, the rounding and the clipping of its
    output.
    """
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}, expected at least 1")
    feeds = graph_feeds(graph, samples)
    count = next(iter(feeds.values())).shape[0]
    warnings = calibration_warnings(graph, feeds, calibration)
    warnings += [
        f"{row} ({row.status})" for row in quantizability(graph) if row.status != SUPPORTED
    ]
    prepared = graph.clone()
    prepare_network(prepared)
    try:
        network = quantized if isinstance(quantized, IntegerNetwork) else lower(quantized)
    except UnsupportedError as error:
        warnings.append(f"no layer was measured: {error}")
        return Analysis(quantized.name, count, (), (), tuple(warnings))
    if isinstance(quantized, IntegerNetwork):
        warnings.append(NOT_EQUALIZED)
    twins = Twins(prepared, network, _factors(quantized))
    measures, outputs = _measured(twins, feeds, count, batch_size, progress)
    rows = [_row(twins, layer, measure) for layer, measure in measures.items()]
    warnings += input_warnings(network, feeds)
    warnings += [warning for output in outputs for warning in output.warnings()]
    warnings += [
        f"{layer} gives one value for all samples, the float network does not"
        for layer, measure in measures.items()
        if measure.constant and not measure.float_constant
    ]
    ranked = sorted(rows, key=lambda row: row.alone_db)
    ends = tuple(output.row() for output in outputs)
    return Analysis(network.name, count, tuple(ranked), ends, tuple(warnings))


def _factors(quantized: GraphView | IntegerNetwork) -> dict[str, np.ndarray]:
    if isinstance(quantized, IntegerNetwork):
        return {}
    key = Annotation.CHANNEL_FACTORS
    return {n.name: n.annotations[key] for n in quantized.nodes if key in n.annotations}


def _measured(
    twins: Twins,
    feeds: Mapping[str, np.ndarray],
    count: int,
    batch_size: int,
    progress: Callable[[str, float], None] | None,
) -> tuple[dict[Layer, LayerMeasure], list[OutputMeasure]]:
    """Return what was counted at every layer that computes and at the outputs."""
    graph, network = twins.graph, twins.network
    intervals = tensor_intervals(network)
    grids = {
        tensor.name: Grid(tensor, intervals[tensor.name], twins[tensor.name].factor * tensor.scale)
        for tensor in network.tensors
    }
    measures: dict[Layer, LayerMeasure] = {
        layer: LayerMeasure(grids[layer.output])
        for layer in network.layers
        if isinstance(layer, COMPUTING)
    }
    outputs = [OutputMeasure(network, index) for index in range(len(network.outputs))]
    order, wanted = graph.topological(), twins.wanted
    for start in range(0, count, batch_size):
        batch = {name: array[start : start + batch_size] for name, array in feeds.items()}
        values: dict[Node, np.ndarray] = {}

        def keep(
            node: Node, arrays: tuple[np.ndarray, ...], kept: dict[Node, np.ndarray] = values
        ) -> None:
            if node in wanted:
                kept[node] = arrays[0]

        real = evaluate(graph, batch, observe=keep, order=order)
        result, tensors = run_network(network, network.quantize_input(batch), intermediates=True)
        results = result if isinstance(result, Mapping) else {network.output_names[0]: result}
        for output in outputs:
            output.add(results[output.name], real[output.name])
        floats = twins.stored(values)
        for layer, measure in measures.items():
            grid = grids[layer.output]
            measure.add_run(grid.tensor.from_onnx(tensors[layer.output]), floats[layer.output])
            _add_alone(twins, layer, measure, [(grids[n], floats[n]) for n in layer.inputs])
        if progress is not None:
            progress("comparing layers", min((start + batch_size) / count, 1.0))
    return measures, outputs


def _add_alone(
    twins: Twins, layer: Layer, measure: LayerMeasure, inputs: list[tuple[Grid, np.ndarray]]
) -> None:
    """Count one batch of the layer on the float network's values, rounded to its input tensors."""
    integers = [np.ascontiguousarray(grid.nearest(values)) for grid, values in inputs]
    rounded = [
        grid.real(q).astype(np.float32) for (grid, _), q in zip(inputs, integers, strict=True)
    ]
    found = run_layer(layer, integers, measure.grid.tensor)
    measure.add_alone(found, twins.compute(layer, rounded))


def _row(twins: Twins, layer: Layer, measure: LayerMeasure) -> LayerRow:
    spread = measure.spread
    row = LayerRow(
        layer.name,
        layer.kind,
        layer.source,
        measure.alone.decibels,
        measure.accumulated.decibels,
        measure.saturation,
        spread.unused,
        spread.unused_bits,
        spread.tail_bits,
        weight_spread(layer, twins[layer.output].chain),
    )
    return replace(row, advice=advise(twins.network, row, layer, measure))
