"""Window geometry of one or two spatial axes as the two-axis form that layers have."""


def pair(values: tuple[int, ...]) -> tuple[int, int]:
    """Return (height, width); a signal has height 1, and 1 is also its stride and dilation."""
    return (1, values[0]) if len(values) == 1 else (values[0], values[1])


def sides(padding: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return (top, left, bottom, right) from ONNX's begins and ends."""
    if len(padding) == 2:
        return (0, padding[0], 0, padding[1])
    return (padding[0], padding[1], padding[2], padding[3])
