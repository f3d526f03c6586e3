"""Measure the exported C on emulated Cortex-M: ``make bench-cortex-m``, or this file by itself.

Each network of `models.py` is quantized with single shifts, exported, compiled at -O2 for each
core, run under QEMU, compared bit for bit with the golden model, and counted.  ``--check`` fails
if a figure is worse than that in baseline.json by more than 2 %; ``--update`` writes that file.
Needs gcc-arm-none-eabi, libnewlib-arm-none-eabi, qemu-system-arm and the shared data.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from boards import CORES
from layers import print_layers
from models import MODELS, MODES, quantized
from rig import RigError, compiler_version, measure
from tables import BASELINE, complaints, print_table, write_baseline

import aidge_quant as aq
from aidge_quant.integer.counts import layer_macs


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--cores", nargs="+", choices=CORES, default=list(CORES))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument(
        "--layers", action="store_true", help="single layers on the M4 instead, with rough cycles"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the exports there")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--check", action="store_true", help="compare with baseline.json")
    group.add_argument(
        "--update", action="store_true", help="write them, of a whole run, to the file"
    )
    return parser.parse_args()


def jobs(options):
    """Return the exports to make, each with the cores that it is measured on.

    Returns
    -------
    dict of (model, mode, target) to list of core names
    """
    found = {}
    for model in options.models:
        for mode in options.modes:
            for core in options.cores:
                if MODES[mode].cores is None or core in MODES[mode].cores:
                    found.setdefault((model, mode, CORES[core].target), []).append(core)
    return found


def measured(options, folder):
    """Return one row of figures for every network, mode and core."""
    rows = []
    networks = {}
    for (model, mode, target), cores in jobs(options).items():
        if (model, mode) not in networks:
            networks[model, mode] = quantized(model, mode)
        network, inputs = networks[model, mode]
        export = folder / f"{model}-{mode}-{target}"
        choices = {"target": target, "input_in_arena": True} | MODES[mode].export
        aq.export_c(network, export, name=model, test_inputs=inputs, overwrite=True, **choices)
        macs = sum(layer_macs(network, layer) for layer in network.layers)
        for core in cores:
            figures = measure(core, export, model)
            names = {"core": core, "model": model, "mode": mode, "target": target}
            rows.append(names | {"macs": macs} | figures.as_json())
    return rows


def main():
    options = arguments()
    whole = (options.models, options.cores, options.modes) == (
        list(MODELS),
        list(CORES),
        list(MODES),
    )
    if options.update and not whole:
        print("--update wants all models, cores and modes", file=sys.stderr)
        return 2
    try:
        compiler = compiler_version()
        if options.layers:
            print_layers()
            return 0
        with tempfile.TemporaryDirectory() as scratch:
            rows = measured(options, options.keep or Path(scratch))
    except RigError as error:
        print(error, file=sys.stderr)
        return 1
    print_table(rows)
    if options.json:
        text = json.dumps({"compiler": compiler, "figures": rows}, indent=2) + "\n"
        options.json.write_text(text, encoding="utf-8")
    if options.update:
        write_baseline(rows, compiler)
    if options.check:
        found = complaints(rows, compiler, json.loads(BASELINE.read_text(encoding="utf-8")))
        print("\n" + "\n".join(found or ["no figure is worse than the committed one"]))
        return 1 if found else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
