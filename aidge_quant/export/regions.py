"""Memory regions that the caller names: their C types, and whether they can be used."""

import re
from collections.abc import Mapping
from typing import Any

from aidge_quant.errors import ExportError
from aidge_quant.export import ctext
from aidge_quant.memory.placement import ALIGNMENT

# What the exported header and functions call their own fields, parameters and variables.
_TAKEN = re.compile(r"(arena|net|i|(input|output)(_.*)?)$")


def check_regions(regions: Mapping[str, int]) -> None:
    """Raise unless the names of memory regions can be used and their sizes are bytes.

    Raises
    ------
    ExportError
        Naming the region.
    """
    for name, size in regions.items():
        ctext.check_name(name)
        if name != name.lower() or _TAKEN.match(name):
            raise ExportError(
                f"region {name!r}: expected a name in lower case other than 'arena', 'net', 'i' "
                "and those of inputs and outputs"
            )
        if not isinstance(size, int) or size < ALIGNMENT:
            raise ExportError(
                f"region {name}: expected a number of bytes from {ALIGNMENT}, came {size!r}"
            )


def describe_regions(name: str, regions: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the regions as the templates see them: field, type, macro of the size, bytes."""
    return [
        {
            "field": region,
            "type": f"{name}_{region}_t",
            "macro": f"{name}_{region}_size".upper(),
            "size": size,
        }
        for region, size in regions.items()
    ]
