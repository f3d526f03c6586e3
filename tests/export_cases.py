"""Exports of many networks at once, so that one compilation serves all of them."""

from pathlib import Path
from typing import Any

from c_builds import Build
from hypothesis import HealthCheck, Phase, given, settings
from random_networks import inputs_for, integer_networks

from aidge_quant.export import export_c
from aidge_quant.export.run import run_many
from aidge_quant.export.verify import compare
from aidge_quant.integer.network import Arrays, IntegerNetwork

Job = tuple[Path, IntegerNetwork, Arrays]


def random_networks(count: int, max_layers: int = 6) -> list[IntegerNetwork]:
    """Return networks that hypothesis draws, the same at every call."""
    found: list[IntegerNetwork] = []

    @settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(integer_networks(max_layers=max_layers))
    def collect(network: IntegerNetwork) -> None:
        found.append(network)

    collect()
    return found


def export_all(
    folder: Path, networks: dict[str, IntegerNetwork], batch: int = 3, **options: Any
) -> list[Job]:
    """Export every network under its name and return it with inputs for it.

    ``options`` are those of ``export_c``.
    """
    jobs = []
    for name, network in networks.items():
        q = inputs_for(network, batch)
        export_c(network, folder / name, name=name, test_inputs=q, **options)
        jobs.append((folder / name, network, q))
    return jobs


def differing(jobs: list[Job], build: Build) -> dict[str, str]:
    """Compile all exports into one program; return what differs from the golden model."""
    wrong = {}
    outputs = run_many(jobs, **build.options)
    for (path, network, q), got in zip(jobs, outputs, strict=True):
        check = compare(network, network.run(q), got)
        if not check:
            wrong[path.name] = f"{check.first_mismatch}; {[str(x) for x in network.layers]}"
    return wrong
