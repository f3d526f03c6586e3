"""The table of kernels for the vector instructions of Armv8.1-M (plain C elsewhere).

Layers that they do not compute get the kernels for pairs of 16 bits, or the portable ones.
"""

from aidge_quant.export.dsp.rule import Rule
from aidge_quant.export.mve import elements, planes, windows
from aidge_quant.export.mve.rule import affine_fits
from aidge_quant.integer.layers import (
    Add,
    AveragePool,
    Convolution,
    DepthwiseConvolution,
    FullyConnected,
    Layer,
    Rescale,
)

KERNELS: dict[type[Layer], Rule] = {
    Convolution: Rule(windows.convolution_fits, windows.needs, windows.add_convolution),
    DepthwiseConvolution: Rule(planes.fits, planes.needs, planes.add_depthwise),
    FullyConnected: Rule(affine_fits, windows.needs, windows.add_fully_connected),
    Add: Rule(elements.fits, elements.needs, elements.add_add),
    Rescale: Rule(elements.fits, elements.needs, elements.add_rescale),
    AveragePool: Rule(elements.pool_fits, elements.pool_needs, elements.add_average_pool),
}
