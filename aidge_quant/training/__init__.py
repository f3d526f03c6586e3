"""Training on the graph, for networks of microcontroller size: gradients, optimizers, ``fit``."""

from aidge_quant.training.fitting import fit
from aidge_quant.training.gradients import initialize, loss_and_gradients
from aidge_quant.training.losses import cross_entropy, mean_squared_error
from aidge_quant.training.optimizers import SGD, Adam, Optimizer
from aidge_quant.training.parameters import Group, Kind, Parameter, parameters
from aidge_quant.training.schedules import constant, cosine, steps
from aidge_quant.training.state import Epoch

__all__ = [
    "Adam",
    "Epoch",
    "Group",
    "Kind",
    "Optimizer",
    "Parameter",
    "SGD",
    "constant",
    "cosine",
    "cross_entropy",
    "fit",
    "initialize",
    "loss_and_gradients",
    "mean_squared_error",
    "parameters",
    "steps",
]
