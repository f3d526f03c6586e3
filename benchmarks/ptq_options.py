"""Options of quantize_network, in integers: ``python benchmarks/ptq_options.py [NETWORK ...]``.

For each network of the shared folder and each set of options: the network quantized on the first
64 calibration samples, lowered, and run by the golden model on the first test samples. A cell holds
top-1 accuracy, how often the largest outputs of integer and float network agree, both in %, and the
SQNR of the outputs (before a last Softmax) in dB. ``--output docs/ptq_options.md`` replaces what
that file holds from the line ``<!-- measured -->`` on and leaves the text above it.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

import aidge_quant as aq
from aidge_quant import Clipping, dtype

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the table of networks is the tests' own

from figures import Figures, float_outputs, integer_outputs, judge  # noqa: E402
from networks import NETWORKS  # noqa: E402

CALIBRATION = 64
MARKER = "<!-- measured -->"
#: Gains and losses below this many dB are not counted.
NOTABLE = 0.1

SHIFT = {"single_shift": True}
FINE = {"channel_wise": True, "optimize_signs": True}
BIASES = {"correct_biases": True}
W8A8 = (dtype.int8, dtype.int8)

#: Sets of options that need one form of scaling, without it.
FORMS = {
    "defaults": {},
    "equalize=False": {"equalize": False},
    "channel_wise": {"channel_wise": True},
    "optimize_signs": {"optimize_signs": True},
    "both": FINE,
    "both, equalize=False": {**FINE, "equalize": False},
    "correct_biases": BIASES,
    "all three": {**FINE, **BIASES},
}

#: Types of activations and weights.
TYPES = {
    "W8A8": W8A8,
    "W4A8": (dtype.int8, dtype.int4),
    "W16A8": (dtype.int8, dtype.int16),
    "W8A16": (dtype.int16, dtype.int8),
    "W16A16": (dtype.int16, dtype.int16),
    "W4A16": (dtype.int16, dtype.int4),
}


def _forms(options):
    return {name: ({**options, **form}, W8A8) for name, form in FORMS.items()}


def _clippings(options):
    return {mode.name: ({**options, "clipping_mode": mode}, W8A8) for mode in Clipping}


def _types(options):
    return {name: (options, types) for name, types in TYPES.items()}


#: Title of each table, and of each of its columns the options and types. The first column is what
#: the others are compared with.
TABLES = {
    "Single shift": _forms(SHIFT),
    "Multiplier": _forms({}),
    "Clipping, single shift": _clippings(SHIFT),
    "Clipping, multiplier, channel_wise, optimize_signs": _clippings(FINE),
    "Types, single shift, channel_wise, optimize_signs": _types({**SHIFT, **FINE}),
    "Types, single shift, channel_wise, optimize_signs, correct_biases": _types(
        {**SHIFT, **FINE, **BIASES}
    ),
    "Types, multiplier, channel_wise, optimize_signs": _types(FINE),
}


class Subject:
    """A float network, its samples, and what it makes of them."""

    def __init__(self, name, count):
        data = NETWORKS[name].samples()
        self.file = NETWORKS[name].file()
        self.calibration, self.test = data.calibration[:CALIBRATION], data.test[:count]
        self.labels = None if data.labels is None else data.labels[:count]
        self.expected = float_outputs(name)[:count]

    def figures(self, options, types):
        """Return the figures of the integer network with these options."""
        graph = aq.load_onnx(self.file)
        aq.auto_assign_node_precision(graph, *types, dtype.int32)
        aq.quantize_network(graph, self.calibration, **options)
        outputs = integer_outputs(aq.lower(graph), self.test)
        return judge(outputs, self.expected, self.labels)

    def float_figures(self):
        """Return the figures of the float network itself."""
        return judge(self.expected, self.expected, self.labels)


def measure(names, count):
    """Return the figures by network, table and column, and those of float and samples by network.

    Every result is written to the standard error output when it is there.
    """
    results, floats = {}, {}
    for name in names:
        subject = Subject(name, count)
        floats[name] = (subject.float_figures(), len(subject.test))
        known = {}
        for title, columns in TABLES.items():
            for column, (options, types) in columns.items():
                key = repr((sorted(options.items(), key=str), types))
                if key not in known:
                    known[key] = subject.figures(options, types)
                    print(f"{name}; {title}; {column}: {known[key]}", file=sys.stderr, flush=True)
                results[name, title, column] = known[key]
    return results, floats


def cell(figures: Figures):
    """Return what a table shows of one network."""
    if figures.accuracy is None:
        return f"{figures.sqnr:.1f}"
    return f"{100 * figures.accuracy:.1f} / {100 * figures.agreement:.1f} / {figures.sqnr:.1f}"


def tables(names, results, floats):
    """Yield the lines of all tables."""
    for title, columns in TABLES.items():
        first, *others = columns
        yield from ("", f"## {title}", "")
        yield "| network | samples | float | " + " | ".join(columns) + " |"
        yield "|---|---|---|" + "---|" * len(columns)
        for name in names:
            found, count = floats[name]
            shown = "-" if found.accuracy is None else f"{100 * found.accuracy:.1f}"
            cells = " | ".join(cell(results[name, title, column]) for column in columns)
            yield f"| {name} | {count} | {shown} | {cells} |"
        yield from ("", f"SQNR against {first}, in dB:", "")
        yield "| | median gain | least | most | networks that gain | that lose |"
        yield "|---|---|---|---|---|---|"
        for column in others:
            gains = [
                results[name, title, column].sqnr - results[name, title, first].sqnr
                for name in names
            ]
            up, down = sum(g > NOTABLE for g in gains), sum(g < -NOTABLE for g in gains)
            spread = f"{statistics.median(gains):+.1f} | {min(gains):+.1f} | {max(gains):+.1f}"
            yield f"| {column} | {spread} | {up} | {down} |"


def main():
    """Measure and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", help=f"default: all of {', '.join(NETWORKS)}")
    parser.add_argument("--samples", type=int, default=500, help="test samples (default: 500)")
    parser.add_argument("--output", type=Path, help="Markdown file to complete")
    arguments = parser.parse_args()
    if "AIDGE_QUANT_SHARED" not in os.environ and not (ROOT.parent / "shared").is_dir():
        sys.exit("the trained networks are absent: AIDGE_QUANT_SHARED names their folder")
    unknown = sorted(set(arguments.networks) - set(NETWORKS))
    if unknown:
        sys.exit(f"unknown networks: {', '.join(unknown)}; expected some of {', '.join(NETWORKS)}")
    if arguments.output and MARKER not in arguments.output.read_text(encoding="utf-8"):
        sys.exit(f"{arguments.output} has no line {MARKER}, below which the tables go")
    names = arguments.networks or list(NETWORKS)
    lines = list(tables(names, *measure(names, arguments.samples)))
    if not arguments.output:
        print("\n".join(lines))
        return
    text = arguments.output.read_text(encoding="utf-8")
    kept = text[: text.index(MARKER) + len(MARKER)]
    arguments.output.write_text("\n".join([kept, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
