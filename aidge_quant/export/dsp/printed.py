"""What the templates of convolutions print besides the variants: inner products, copies by type."""

from typing import Any


def dots(variants: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the inner products that the variants of the convolution call, for the template."""
    found: dict[str, dict[str, Any]] = {}
    for columns, flag in ((4, "four"), (1, "one")):
        for v in variants:
            function = v[f"dot{columns}"]
            if v[flag] and function not in found:
                found[function] = {
                    "function": function,
                    "columns": columns,
                    "form": v["form"],
                    "ending": function.removeprefix(f"dot{columns}").upper(),
                    "x": v["x"],
                    "bits": 16 if v["half"] else 8,
                }
    return list(found.values())


def kinds(variants: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the types that are read, and what is done with values of each, for the template."""
    found = []
    for type_, ending in (("int8_t", ""), ("int16_t", "16")):
        those = [v for v in variants if v["half"] == ending]
        found.append(
            {
                "type": type_,
                "bits": 16 if ending else 8,
                "ending": ending,
                "four": any(v["four"] for v in those),
                "windows": any(v["windows"] for v in those),
                "cut_fours": any(v["windows"] and v["four"] for v in those),
                "copies": any(
                    v["windows"] or (v["plain"] and v["four"] and v["one"]) for v in those
                ),
            }
        )
    return found
