"""Biases in closed form: what a layer reads on average, and the bias that keeps its mean output."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aidge_quant.integer.layers import Affine
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.ops import ConvTranspose, Sub
from aidge_quant.tuning.numbers import Numbers
from aidge_quant.tuning.realize import float_weight, scaled_weight
from aidge_quant.tuning.scheme import Scheme
from aidge_quant.tuning.skeleton import Site, Skeleton
from aidge_quant.tuning.windows import by_group, tap_means


@dataclass(frozen=True, eq=False)
class LayerMeans:
    """Means over samples and positions of what a layer of the integer network reads, real values.

    Attributes
    ----------
    taps : float64 array (groups, taps)
    added : float64 array (out,), or 0.0
        What a residual adds, with its sign.
    """

    taps: np.ndarray
    added: np.ndarray | float


def corrected(skeleton: Skeleton) -> tuple[Site, ...]:
    """Return the sites whose biases are corrected: all but those of transposed convolutions."""
    return tuple(
        site
        for site in skeleton.affine
        if not isinstance(skeleton.graph.node(site.node).operator, ConvTranspose)
    )


def layer_of(skeleton: Skeleton, network: IntegerNetwork, site: Site) -> Affine:
    """Return the layer that stands for an affine site."""
    return next(
        layer
        for layer in network.layers
        if isinstance(layer, Affine) and layer.source[0] == site.node
    )


def layer_means(
    skeleton: Skeleton, resolved: Mapping[str, Numbers], site: Site, arrays: list[np.ndarray]
) -> LayerMeans:
    """Return the means of one layer from the integers that it reads, zero points left out.

    Parameters
    ----------
    resolved : mapping of Numbers by site
    arrays : list of integer arrays (n, *ONNX shape)
        The input, and the residual where there is one.
    """
    node = skeleton.graph.node(site.node)
    x, *others = arrays
    taps = tap_means(node, x) * resolved[site.sources[0]].scale
    if not others:
        return LayerMeans(taps, 0.0)
    sign = -1 if isinstance(skeleton.graph.node(site.sum).operator, Sub) else 1
    axes = tuple(axis for axis in range(others[0].ndim) if axis != 1)
    means = others[0].mean(axis=axes, dtype=np.float64)
    return LayerMeans(taps, sign * resolved[site.sources[1]].scale * means)


def corrected_bias(
    skeleton: Skeleton,
    scheme: Scheme,
    numbers: Numbers,
    site: Site,
    means: LayerMeans,
    wanted: np.ndarray,
) -> np.ndarray:
    """Return the real bias float64 (out,) that gives the layer's sums the wanted means.

    Notes
    -----
    ``b = E[W x] + b_float - s_w s_x E[q_w q_x]`` over samples and positions, the means of the float
    and of the integer network (Nagel et al. 2019, section 4.2); what a residual adds counts in
    both.
    """
    node, top = skeleton.graph.node(site.node), scheme.largest_weight(site.name)
    q = scheme.weights.get(site.name)
    if q is None:
        q = np.floor(scaled_weight(node, float_weight(skeleton, site), numbers) + 0.5)
    rows = by_group(node, np.clip(q, -top, top))
    sums = np.einsum("goi,gi->go", rows, means.taps).ravel()
    return wanted - sums * numbers.weight_scale - means.added
