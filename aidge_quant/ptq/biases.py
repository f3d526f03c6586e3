"""Correct biases: what quantization adds to the mean of a channel is taken from its bias.

Rounded weights meet activations that are far from zero on average, behind a ReLU all of one sign,
so that most of the error of a layer is the same for every input: a bias can take it up.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from aidge_quant.executor import evaluate
from aidge_quant.graph import Annotation, GraphView, Node
from aidge_quant.ops import FC, producer
from aidge_quant.ptq.calibration import CalibrationBatches
from aidge_quant.ptq.channels import output_rows
from aidge_quant.ptq.flow import (
    activation_quantizers,
    driver,
    is_affine,
    parameter,
    parameter_quantizers,
    precision,
)

#: Batches of the calibration set that means are taken of; all of their samples are run at once.
BATCHES = 4


def add_missing_biases(network: GraphView) -> None:
    """Give, in place, every layer with weights a bias of zeros where it has none."""
    for node in network.topological():
        if is_affine(node) and not node.has_input(2):
            channels = output_rows(node, node.input(1).node.operator.value).shape[0]
            zeros = producer(np.zeros(channels, np.float32))
            name = network.unique_name(f"{node.name}_bias")
            network.set_input(node, 2, network.add(zeros, (), name))


def channel_means(network: GraphView, batches: CalibrationBatches) -> dict[Node, np.ndarray]:
    """Return the mean of every channel behind layers with weights, float64 (channels,) each.

    Parameters
    ----------
    network : GraphView
        That still computes real values.
    batches : CalibrationBatches
    """
    means: dict[Node, np.ndarray] = {}

    def observe(node: Node, outputs: tuple[np.ndarray, ...]) -> None:
        if is_affine(node):
            means[node] = _means(node, outputs[0])

    evaluate(network, _joined(batches), observe=observe)
    return means


def shift_biases(
    network: GraphView, expected: Mapping[Node, np.ndarray], batches: CalibrationBatches
) -> None:
    """Shift, in place, every bias there is so that the means of its layer are the expected ones.

    Parameters
    ----------
    network : GraphView
        Quantized, neither cast nor folded yet.
    expected : dict of Node to float64 array (channels,)
        Means of the float network (``channel_means``).
    batches : CalibrationBatches
        What they were taken of.

    Notes
    -----
    Layer after layer, each on what those before it return with their new biases: the empirical
    correction of Nagel et al. 2019 (arXiv 1906.04721), section 4.2.
    """
    quantizers = {driver(q): q for q in activation_quantizers(network) if is_affine(driver(q))}

    def observe(node: Node, outputs: tuple[np.ndarray, ...]) -> None:
        quantizer = quantizers.get(node)
        bias = None if quantizer is None else parameter_quantizers(node)[1]
        if quantizer is None or bias is None:
            return
        unit = np.asarray(quantizer.operator.scale) * quantizer.annotations[Annotation.SCALE]
        before = bias.operator.forward(parameter(bias).operator.value)
        _shift(bias, expected[node] / unit - _means(node, outputs[0]))
        change = bias.operator.forward(parameter(bias).operator.value) - before
        shape = (-1,) if isinstance(node.operator, FC) else (-1, *(1,) * (outputs[0].ndim - 2))
        outputs[0][...] += change.reshape(shape)  # the layers behind it see the new bias

    feeds = _joined(batches)
    for node in network.inputs:
        unit = node.annotations.get(Annotation.SCALE)
        if unit is not None:  # else the network takes real values
            limits = precision(node)
            integers = np.floor(feeds[node.name].astype(np.float64) / unit + 0.5)
            feeds[node.name] = np.clip(integers, limits.min, limits.max).astype(np.float32)
    evaluate(network, feeds, observe=observe)


def _shift(bias: Node, integers: np.ndarray) -> None:
    """Add integers, in place, to the real bias behind its quantizer."""
    node = parameter(bias)
    value = node.operator.value + integers / np.asarray(bias.operator.scale)
    node.operator = dataclasses.replace(node.operator, value=value.astype(np.float32))


def _means(node: Node, array: np.ndarray) -> np.ndarray:
    channel = array.ndim - 1 if isinstance(node.operator, FC) else 1
    others = tuple(axis for axis in range(array.ndim) if axis != channel)
    return array.mean(axis=others, dtype=np.float64)


def _joined(batches: CalibrationBatches) -> dict[str, np.ndarray]:
    first = batches[:BATCHES]
    return {name: np.concatenate([batch[name] for batch in first]) for name in first[0]}
