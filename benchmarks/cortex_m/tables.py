"""Print the benchmark's figures beside the peers', and compare them with committed ones."""

import json
from pathlib import Path

from boards import CORES
from models import MODELS, MODES

HERE = Path(__file__).resolve().parent
BASELINE = HERE / "baseline.json"
#: A figure may be worse by this factor before the check fails.
TOLERANCE = 1.02
COMPARED = ("instructions", "flash", "ram")


def peers():
    """Return the peers' figures: a list of rows, and where they come from."""
    data = json.loads((HERE / "peers.json").read_text(encoding="utf-8"))
    return data["figures"], data["source"]


def key_of(row):
    """Return what tells one row of figures from another: ``m4/resnet8/tensor``."""
    return f"{row['core']}/{row['model']}/{row['mode']}"


def print_table(rows, with_peers=True):
    """Print our rows, core by core and model by model, each group followed by its peers."""
    others, source = peers()
    sizes = f"{'flash':>9} {'RAM':>8} {'stack':>6}"
    print(f"{'':30} {'instructions':>13} {'per MAC':>8} {sizes} {'of peer':>8}")
    for core in CORES:
        for model in MODELS:
            ours = [r for r in rows if (r["core"], r["model"]) == (core, model)]
            if not ours:
                continue
            print(f"{CORES[core].title}, {MODELS[model].title}")
            for row in ours:
                print(_line(f"  ours, {MODES[row['mode']].title}", row, row["macs"]))
            for peer in others if with_peers else ():
                if (peer["core"], peer["model"]) == (core, model):
                    share = ours[0]["instructions"] / peer["instructions"]
                    print(_line(f"  {peer['peer']}", peer, ours[0]["macs"], share))
    if with_peers:
        print(f"\nPeers: {source}")


def _line(title, row, macs, share=None):
    def cell(value, width):
        return f"{'-' if value is None else value:>{width}}"

    per_mac = f"{row['instructions'] / macs:8.3f}"
    last = "" if share is None else f" {share:8.2f}"
    sizes = f"{cell(row['flash'], 9)} {cell(row['ram'], 8)} {cell(row.get('stack'), 6)}"
    return f"{title:30} {row['instructions']:13} {per_mac} {sizes}{last}".rstrip()


def write_baseline(rows, compiler):
    """Make these figures the committed ones."""
    figures = {key_of(row): {name: row[name] for name in COMPARED} for row in rows}
    data = {"compiler": compiler, "figures": dict(sorted(figures.items()))}
    BASELINE.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def complaints(rows, compiler, baseline):
    """Return what is worse than in ``baseline`` by more than the tolerance, or cannot be compared.

    Parameters
    ----------
    rows : list of dict
    compiler : str
        Version of the cross compiler that made them.
    baseline : dict
        As `write_baseline` stores it.
    """
    if compiler != baseline["compiler"]:
        return [
            f"the figures were committed with arm-none-eabi-gcc {baseline['compiler']}, this is "
            f"{compiler}: they cannot be compared; commit new ones with --update"
        ]
    found = []
    for row in rows:
        committed = baseline["figures"].get(key_of(row))
        if committed is None:
            found.append(f"{key_of(row)}: no committed figures; commit them with --update")
            continue
        for name in COMPARED:
            limit = TOLERANCE * committed[name]
            if row[name] > limit:
                found.append(
                    f"{key_of(row)}: {name} {row[name]}, expected at most {limit:.0f} "
                    f"(committed {committed[name]})"
                )
    return found
