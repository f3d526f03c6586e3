"""Command line of the package: ``aidge-quant``.

Exit status: 0 done; 1 done, and the answer is no (C differs, a node is unsupported); 2 could not be
done, with the reason on standard error.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from rich.console import Console

from aidge_quant._version import __version__
from aidge_quant.commands.analyze import analyze_command
from aidge_quant.commands.export import export_command
from aidge_quant.commands.inspect import inspect_command
from aidge_quant.commands.settings import RECIPES
from aidge_quant.errors import AidgeQuantError
from aidge_quant.export.target import GENERIC, TARGETS


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    arguments = _parser().parse_args(argv)
    if arguments.verbose:
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    try:
        status: int = arguments.command(arguments, Console())
    except AidgeQuantError as error:
        print(f"aidge-quant: {error}", file=sys.stderr)  # noqa: T201 - the face of the command
        return 2
    except BrokenPipeError:
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aidge-quant",
        description="Quantize a trained ONNX network; export it as C99 equal to its Python model.",
    )
    parser.add_argument("--version", action="version", version=f"aidge-quant {__version__}")
    commands = parser.add_subparsers(title="commands", required=True)
    _add_export(commands)
    _add_analyze(commands)
    _add_inspect(commands)
    return parser


def _add_export(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "export",
        help="write a model as a folder of C",
        description="Quantize MODEL on calibration data, write it as C, compile it and compare.",
    )
    _add_common(parser)
    _add_quantization(parser)
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to create")
    parser.add_argument("--name", required=True, help="prefix of every C identifier")
    parser.add_argument("--labels", help="name of the label array in the .npz")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    parser.add_argument(
        "--target",
        choices=TARGETS,
        default=GENERIC,
        help="what the C is fast on; it computes the same everywhere",
    )
    parser.add_argument(
        "--input-in-arena",
        action="store_true",
        help="give the input a place in the working memory, free again when it has been read",
    )
    parser.add_argument(
        "--ram",
        action="store_true",
        help="take the least working memory: --input-in-arena, and the first layers in stripes",
    )
    parser.add_argument(
        "--region",
        action="append",
        default=[],
        type=_region,
        metavar="NAME=BYTES",
        help="a faster memory that is filled first, with what is touched most often; repeatable",
    )
    parser.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compile and compare with Python",
    )
    parser.set_defaults(command=export_command)


def _add_analyze(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "analyze",
        help="show what each layer loses, and what helps",
        description="Quantize MODEL as export does, and compare every layer with the float model.",
    )
    _add_common(parser)
    _add_quantization(parser)
    parser.set_defaults(command=analyze_command)


def _add_quantization(parser: argparse.ArgumentParser) -> None:
    """Add what decides the integer network, and the samples to compare on."""
    parser.add_argument(
        "--calibration",
        required=True,
        metavar="DATA",
        help=".npz or .npy with samples as the float network is fed with them, batch first",
    )
    parser.add_argument("--key", help="name of the calibration array in the .npz")
    parser.add_argument("--samples", type=_positive, help="calibrate on the first N samples")
    parser.add_argument("--test", metavar="DATA", help="samples to compare on, with labels if any")
    parser.add_argument("--test-key", help="name of the test array in the .npz")
    tuned, published = RECIPES
    parser.add_argument(
        "--recipe",
        choices=tuple(RECIPES),
        default=tuned,
        help=f"the function of the package that quantizes (default: {tuned}, the most accurate)",
    )
    _add_tuned(parser.add_argument_group(f"options of --recipe {tuned}"))
    _add_published(parser.add_argument_group(f"options of --recipe {published}"))


def _add_tuned(group: "argparse._ArgumentGroup") -> None:
    """Add the options of our own recipe: None where one is not given, as below."""
    group.add_argument(
        "--effort",
        choices=("fast", "balanced", "high"),
        help="how much work is done (default: balanced)",
    )
    group.add_argument(
        "--weight-bits", type=int, choices=(4, 8, 16), help="size of a weight (default: 8)"
    )
    group.add_argument(
        "--activation-bits", type=int, choices=(8, 16), help="size of a value (default: 8)"
    )
    group.add_argument(
        "--per-channel",
        action=argparse.BooleanOptionalAction,
        help="a shift for every output channel (default: yes)",
    )
    group.add_argument(
        "--flash-budget",
        type=_positive,
        metavar="BYTES",
        help="narrow weights, down to 4 bits, until the parameters fit",
    )
    group.add_argument(
        "--ram-budget",
        type=_positive,
        metavar="BYTES",
        help="widen values to 16 bits as far as the arena fits; with --ram only a limit",
    )
    group.add_argument("--seed", type=_natural, help="of the choice of samples (default: 0)")


def _add_published(group: "argparse._ArgumentGroup") -> None:
    switch = argparse.BooleanOptionalAction
    group.add_argument(
        "--single-shift", action=switch, help="end every layer in one rounding shift (default: yes)"
    )
    group.add_argument("--equalize", action=switch, help="equalize weight ranges (default: yes)")
    group.add_argument(
        "--channel-wise", action=switch, help="a weight scale for every channel (default: no)"
    )
    group.add_argument(
        "--optimize-signs", action=switch, help="use 256 levels behind a ReLU (default: no)"
    )
    group.add_argument(
        "--clipping", choices=("max", "mse", "aa", "kl"), help="choice of ranges (default: max)"
    )
    group.add_argument(
        "--input-range", type=float, help="largest magnitude at the input (default: measured)"
    )


def _add_inspect(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "inspect", help="list the nodes of a model and what becomes of them"
    )
    _add_common(parser)
    parser.add_argument("--mermaid", action="store_true", help="print the graph as a flowchart")
    parser.set_defaults(command=inspect_command)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="ONNX file")
    parser.add_argument(
        "--input-dim",
        action="append",
        default=[],
        type=_input_dim,
        metavar="NAME=SIZES",
        help="sizes of an input the file leaves open, for example input=1,3,48,48",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="log the steps, and show what each brought"
    )


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _region(text: str) -> tuple[str, int]:
    """Return name and bytes of a ``--region``."""
    name, equals, size = text.partition("=")
    if not equals or not size.isdecimal():
        raise argparse.ArgumentTypeError(
            f"expected NAME=BYTES, for example dtcm=16384, got {text!r}"
        )
    return name, int(size)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def _input_dim(text: str) -> tuple[str, tuple[int, ...]]:
    name, separator, sizes = text.rpartition("=")
    try:
        if not separator or not name:
            raise ValueError(text)
        return name, tuple(int(size) for size in sizes.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=SIZES, as input=1,3,48,48"
        ) from None
