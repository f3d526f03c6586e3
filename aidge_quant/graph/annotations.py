"""Keys of annotations and metadata; each is owned and explained here and nowhere else."""


class Annotation:
    """Names of the annotations that passes leave on nodes."""

    #: dtype of the node's activations, or of a parameter producer.
    PRECISION = "quantization.ptq.precision"
    #: dtype of the accumulator and bias of an affine or merging node.
    ACCUMULATION_PRECISION = "quantization.ptq.accumulationprecision"
    #: True on nodes that join several activations.
    IS_MERGING = "quantization.ptq.isMerging"
    #: True on the quantizer of a parameter.
    IS_PRODUCER_QUANTIZER = "quantization.ptq.isProducerQuantizer"
    #: True on the quantizer of an activation.
    IS_ACTIVATION_QUANTIZER = "quantization.ptq.isActivationQuantizer"
    #: True on the quantizer of a residual branch that has no affine node of its own.
    IS_RESIDUAL = "quantization.ptq.isResidual"
    #: True on a multiplication by a compensation coefficient.
    IS_COMPENSATION = "quantization.ptq.isCompensation"
    #: float or float array (channels,): real value of one integer unit of the node's output.
    SCALE = "quantization.ptq.scale"
    #: True on the multiplication that turns the network's output into real values.
    IS_DEQUANTIZER = "quantization.ptq.isDequantizer"
    #: float array (channels,): what equalization divided the node's output channels by, along axis
    #: 1; real value on the original network = value * factor.
    CHANNEL_FACTORS = "quantization.ptq.channelFactors"


class Metadata:
    """Keys of ``GraphView.metadata`` that recipes leave; ``lower`` hands all of it on."""

    #: Name of the function that quantized the graph.
    RECIPE = "recipe"
    #: What decides its result, as ``name=value`` separated by commas.
    OPTIONS = "options"
