"""The table of kernels that multiply two pairs of 16 bits at once (ARMv7E-M; plain C elsewhere).

Such a kernel ends in one right shift. Layers that need more keep the portable one.
"""

from aidge_quant.export.dsp import elements, planes, windows
from aidge_quant.export.dsp.rule import Rule
from aidge_quant.integer.layers import (
    Add,
    Convolution,
    DepthwiseConvolution,
    FullyConnected,
    Layer,
    Rescale,
)

KERNELS: dict[type[Layer], Rule] = {
    Convolution: Rule(windows.convolution_fits, windows.needs, windows.add_convolution),
    DepthwiseConvolution: Rule(planes.fits, planes.needs, planes.add_depthwise),
    FullyConnected: Rule(windows.fits, windows.needs, windows.add_fully_connected),
    Add: Rule(elements.fits, elements.needs, elements.add_add),
    Rescale: Rule(elements.fits, elements.needs, elements.add_rescale),
}
