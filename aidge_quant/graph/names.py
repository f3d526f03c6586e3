"""Names that are still free."""

from collections.abc import Container


def free_name(base: str, taken: Container[str]) -> str:
    """Return ``base``, or ``base_1``, ``base_2``... whichever is free first.

    Parameters
    ----------
    base : str
    taken : container of str
        The names in use; the caller adds the new one.
    """
    name, count = base, 0
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    return name
