"""How a model is quantized: the options of the command line, gathered for one recipe."""

import dataclasses
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import GraphView, Metadata
from aidge_quant.ptq import Clipping, auto_assign_node_precision, quantize_network
from aidge_quant.tuning import QuantizationResult, quantize

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class TunedSettings:
    """Options of ``aidge_quant.quantize``, our own recipe."""

    effort: str = "balanced"
    weight_bits: int = 8
    activation_bits: int = 8
    per_channel: bool = True
    flash_budget: int | None = None
    ram_budget: int | None = None
    seed: int = 0

    def quantized(
        self, graph: GraphView, samples: np.ndarray, progress: Progress, verbose: bool
    ) -> tuple[GraphView, QuantizationResult | None]:
        """Return a quantized copy, and how it was found."""
        options = dataclasses.asdict(self)
        result = quantize(graph, samples, progress=progress, verbose=verbose, **options)
        return result.graph, result


@dataclass(frozen=True)
class PublishedSettings:
    """Options of ``quantize_network``, the published pipeline, in 8 bits.

    Attributes
    ----------
    clipping : str
        Name of a ``Clipping`` mode, in lower case.
    input_range : float or None
        Largest magnitude at the input; None measures it (see ``quantize_network``).
    """

    clipping: str = "max"
    equalize: bool = True
    channel_wise: bool = False
    optimize_signs: bool = False
    single_shift: bool = True
    input_range: float | None = None

    def quantized(
        self, graph: GraphView, samples: np.ndarray, progress: Progress, verbose: bool
    ) -> tuple[GraphView, QuantizationResult | None]:
        """Return a quantized copy; there is nothing to tell of its way."""
        copy = graph.clone()
        auto_assign_node_precision(copy, dtype.int8, dtype.int8, dtype.int32)
        options = dataclasses.asdict(self)
        clipping = Clipping[options.pop("clipping").upper()]
        quantize_network(copy, samples, clipping_mode=clipping, verbose=verbose, **options)
        copy.metadata |= {
            Metadata.RECIPE: PUBLISHED,
            Metadata.OPTIONS: ", ".join(f"{key}={value}" for key, value in vars(self).items()),
        }
        return copy, None


Settings = TunedSettings | PublishedSettings

TUNED, PUBLISHED = "quantize", "quantize_network"
#: The recipes, by the names of the functions that they are in Python; the default first.
RECIPES: dict[str, type[Settings]] = {TUNED: TunedSettings, PUBLISHED: PublishedSettings}


def chosen_settings(arguments: Namespace) -> Settings:
    """Return the settings of the recipe that a command names.

    Parameters
    ----------
    arguments : Namespace
        ``recipe``, and every option of every recipe: None where it was not given.

    Raises
    ------
    UnsupportedError
        If an option of another recipe was given.
    """
    for recipe, kind in RECIPES.items():
        names = [field.name for field in dataclasses.fields(kind)]
        given = {name: getattr(arguments, name) for name in names}
        given = {name: value for name, value in given.items() if value is not None}
        if recipe == arguments.recipe:
            found = kind(**given)
        elif given:
            options = ", ".join(_spelled(name, value) for name, value in given.items())
            raise UnsupportedError(
                f"{options}: expected with --recipe {recipe}, got --recipe {arguments.recipe}; "
                "name that recipe, or leave the option out"
            )
    return found


def _spelled(name: str, value: object) -> str:
    return f"--{'no-' if value is False else ''}{name.replace('_', '-')}"
