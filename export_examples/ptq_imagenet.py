r"""Post-training quantization on ImageNet: the published performance table, with your images.

::

    python export_examples/ptq_imagenet.py --images ILSVRC2012_val --labels val.txt \
        --model resnet18=resnet18.onnx --model mobilenet_v2=mobilenet_v2.onnx --output table.md

Each network is quantized with every option of the table and run on integers by the golden model.
The table has top-1 accuracy, what it lost against float, how often both say the same class, and
the figures others published for the networks of these names, with their float accuracy.

The images are class folders (``n01440764/...`` or ``0/...``), or one flat folder with
``--labels``: lines of file name and class.  A class is its index at the network's output, or a
WordNet id; ids count in sorted order, as torchvision does, or in the order of ``--classes``.

The published page names neither its calibration images nor their number.  Here they are drawn
with ``--seed`` and never scored, unless ``--calibration FOLDER`` holds others.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from rich.console import Console
from rich.progress import track

import aidge_quant as aq

ENDINGS = (".jpeg", ".jpg", ".png")
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
EFFORTS = ("fast", "balanced", "high")

#: Weights (TW one scale a layer, CW one a channel), requantization as the page writes it, options
#: of `quantize_network`.  "none" keeps a multiplier for each output, "single shift" has only one
#: rounding shift; "u8" stores the outputs of ReLU without a sign.
ROWS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("W8A8 TW", "none", {}),
    ("W8A8 TW", "single shift", {"single_shift": True}),
    ("W8A8 TW u8", "single shift", {"single_shift": True, "optimize_signs": True}),
    ("W8A8 CW", "none", {"channel_wise": True}),
    ("W8A8 CW", "single shift", {"single_shift": True, "channel_wise": True}),
    (
        "W8A8 CW u8",
        "single shift",
        {"single_shift": True, "channel_wise": True, "optimize_signs": True},
    ),
)

PAGE = "Aidge API page"
BREVITAS = "Brevitas RESULTS_TORCHVISION_BEST_CONFIGS.csv"
N2D2 = "N2D2 docs/quant/post.rst"
#: Published top-1: (network, weights, requantization) -> (source, float %, quantized %).
PUBLISHED = {
    ("resnet18", "TW", "none"): (
        (PAGE, 69.748, 69.162),
        (f"{N2D2}, fixed point", 69.83, 68.78),
        (f"{BREVITAS}, float scales", 69.758, 69.686),
    ),
    ("resnet18", "TW", "single shift"): (
        (PAGE, 69.748, 67.406),
        (f"{BREVITAS}, power-of-two scales", 69.758, 69.614),
    ),
    ("resnet18", "CW", "none"): ((f"{BREVITAS}, float scales", 69.758, 69.698),),
    ("resnet18", "CW", "single shift"): (
        (f"{BREVITAS}, power-of-two scales, asymmetric", 69.758, 69.728),
    ),
    ("mobilenet_v2", "TW", "none"): (
        (PAGE, 70.832, 64.692),
        (f"{N2D2}, fixed point", 70.95, 66.70),
        (f"{BREVITAS}, float scales", 71.898, 71.500),
    ),
    ("mobilenet_v2", "TW", "single shift"): ((f"{BREVITAS}, power-of-two scales", 71.898, 71.330),),
    ("mobilenet_v2", "CW", "none"): ((f"{BREVITAS}, float scales", 71.898, 71.536),),
    ("mobilenet_v2", "CW", "single shift"): (
        (f"{BREVITAS}, power-of-two scales, asymmetric", 71.898, 71.462),
    ),
}


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input.

    Attributes
    ----------
    kind : str
        ``torchvision``: (x / 255 - mean) / deviation; ``tf``: x / 127.5 - 1.
    resize : int, pixels
        Length of the shorter side before the central crop.
    size : int, pixels
        Side of the crop: the network's input.
    """

    kind: str
    resize: int
    size: int

    def __call__(self, path: Path) -> np.ndarray:
        """Return the image as float32 (3, size, size)."""
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(path) as opened:
                image = opened.convert("RGB")
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise aq.FileError(f"{path}: expected a JPEG or PNG image, got {error}") from error
        shorter = min(image.size)
        if shorter != self.resize:
            sides = [max(1, int(self.resize * side / shorter)) for side in image.size]
            image = image.resize((sides[0], sides[1]), Image.Resampling.BILINEAR)
        left, top = (round((side - self.size) / 2) for side in image.size)
        image = image.crop((left, top, left + self.size, top + self.size))
        pixels = np.asarray(image, np.float32)
        if self.kind == "tf":
            scaled = pixels / np.float32(127.5) - 1
        else:
            scaled = (pixels / 255 - MEAN) / DEVIATION
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def find_images(folder: Path) -> list[Path]:
    """Return the images in a folder and below it, sorted by path."""
    if not folder.is_dir():
        raise aq.FileError(f"{folder}: expected a folder of images, there is none")
    paths = [p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file()]
    if not paths:
        raise aq.FileError(f"{folder}: expected images ({', '.join(ENDINGS)}), it has none")
    return sorted(paths)


def class_names(folder: Path, listing: Path | None, flat: Mapping[str, str]) -> list[str]:
    """Return the WordNet ids in the order of the network's outputs; empty if none is used."""
    if listing is not None:
        lines = read_lines(listing)
        return [line.split()[0] for line in lines]
    used = flat.values() if flat else (p.name for p in folder.iterdir() if p.is_dir())
    return sorted({name for name in used if not name.isdecimal()})


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not blank."""
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise aq.FileError(f"{path}: expected a text file, got {error}") from error


def read_labels(path: Path) -> dict[str, str]:
    """Return class by file name from lines such as ``ILSVRC2012_val_00000001.JPEG 65``."""
    labels = {}
    for number, line in enumerate(read_lines(path), 1):
        words = line.split()
        if len(words) != 2:
            raise aq.DataError(f"{path}, line {number}: expected 'file class', got {line!r}")
        labels[words[0]] = words[1]
    return labels


def label_images(
    paths: list[Path], folder: Path, labels: Path | None, listing: Path | None, classes: int
) -> np.ndarray:
    """Return the class of each image, int64 (n,), 0 to classes - 1."""
    flat = read_labels(labels) if labels is not None else {}
    names = class_names(folder, listing, flat)
    if names and len(names) != classes:
        raise aq.DataError(
            f"{listing or labels or folder}: {len(names)} class names, expected {classes}, one for "
            "each output of the network; --classes names a file with all of them in order"
        )
    index = {name: i for i, name in enumerate(names)}
    result = []
    for path in paths:
        relative = path.relative_to(folder)
        if flat:
            name = flat.get(path.name)
        else:
            name = relative.parts[0] if len(relative.parts) > 1 else None
        if name is None:
            where = f"a line in {labels}" if flat else "a class folder around it, or --labels"
            raise aq.DataError(f"{path}: the class is unknown, expected {where}")
        label = int(name) if name.isdecimal() else index.get(name, -1)
        if not 0 <= label < classes:
            raise aq.DataError(
                f"{path}: unknown class {name!r}, expected an index below {classes} or a WordNet id"
            )
        result.append(label)
    return np.array(result, np.int64)


def input_shape(path: Path, size: int | None) -> tuple[str, tuple[int, ...]]:
    """Return name and shape (1, 3, size, size) of a model's input; ``size`` fills open sides."""
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf and onnx raise types of their own
        raise aq.FileError(f"{path}: expected an ONNX model, got {error}") from error
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [info for info in model.graph.input if info.name not in constants]
    if len(inputs) != 1:
        raise aq.UnsupportedError(f"{path}: {len(inputs)} inputs, expected one, the image")
    sides = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]
    if len(sides) != 4 or sides[1] not in (0, 3):
        raise aq.ShapeError(f"{path}: input {sides}, expected (batch, 3, side, side)")
    height, width = (side or size or 0 for side in sides[2:])
    if height == 0 or width == 0:
        raise aq.ShapeError(f"{path}: the model leaves its input size open; --size gives it")
    if height != width or (size is not None and size != height):
        wanted = f"{size} x {size}" if size is not None else "a square"
        raise aq.ShapeError(f"{path}: input of {height} x {width} pixels, expected {wanted}")
    return inputs[0].name, (1, 3, height, width)


def batches(
    paths: list[Path], prepare: Preprocessing, count: int, title: str
) -> Iterator[np.ndarray]:
    """Yield float32 (up to count, 3, size, size), decoded when asked for; shows progress."""
    starts = range(0, len(paths), count)
    for start in track(starts, title, console=Console(stderr=True)):
        yield np.stack([prepare(path) for path in paths[start : start + count]])


def quantized(
    path: Path, shapes: dict[str, tuple[int, ...]], calibration: np.ndarray, recipe: list[str]
) -> Iterator[tuple[str, str, aq.IntegerNetwork]]:
    """Yield scheme, requantization and integer network of each row."""
    for scheme, requantization, options in ROWS:
        print(f"quantizing: {scheme}, {requantization}", file=sys.stderr)
        graph = aq.load_onnx(path, input_shapes=shapes)
        aq.auto_assign_node_precision(graph, aq.dtype.int8, aq.dtype.int8, aq.dtype.int32)
        aq.quantize_network(graph, calibration, **options)
        yield scheme, requantization, aq.lower(graph)
    for effort in recipe:
        for per_channel in (False, True):
            scheme = f"W8A8 {'CW' if per_channel else 'TW'} recipe {effort}"
            print(f"quantizing: {scheme}", file=sys.stderr)
            graph = aq.load_onnx(path, input_shapes=shapes)
            result = aq.quantize(  # type: ignore[attr-defined]
                graph, calibration, effort=effort, per_channel=per_channel, single_shift=True
            )
            yield scheme, "single shift", result.network


def draw(count: int, wanted: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``wanted`` indices below ``count`` drawn at random, and the others in random order."""
    order = np.random.default_rng(seed).permutation(count)
    if wanted > count:
        raise aq.DataError(f"{count} images, expected at least {wanted} to calibrate with")
    return np.sort(order[:wanted]), order[wanted:]


def table_of(name: str, path: Path, options: argparse.Namespace) -> list[str]:
    """Return the Markdown rows of one network."""
    source, shape = input_shape(path, options.size)
    shapes, size = {source: shape}, shape[-1]
    usual = round(size * 256 / 224) if options.preprocess == "torchvision" else size
    prepare = Preprocessing(options.preprocess, options.resize or usual, size)
    if prepare.resize < size:
        raise aq.ShapeError(f"--resize {prepare.resize}: expected {size} or more, {name}'s input")
    graph = aq.load_onnx(path, input_shapes=shapes)
    probe = aq.run(graph, np.zeros(shape, np.float32))
    if not isinstance(probe, np.ndarray):
        raise aq.UnsupportedError(f"{path}: several outputs, expected one, the classes")
    classes = probe.size

    paths = find_images(options.images)
    labels = label_images(paths, options.images, options.labels, options.classes, classes)
    if options.calibration is None:
        chosen, scored = draw(len(paths), options.calibration_count, options.seed)
        calibration_paths = [paths[i] for i in chosen]
    else:
        others = find_images(options.calibration)
        chosen, _ = draw(len(others), options.calibration_count, options.seed)
        calibration_paths = [others[i] for i in chosen]
        _, scored = draw(len(paths), 0, options.seed)
    scored = np.sort(scored[: options.samples])
    if not len(scored):
        raise aq.DataError(f"{options.images}: all images calibrate, expected some to score")
    paths, labels = [paths[i] for i in scored], labels[scored]
    print(f"{name}: {len(calibration_paths)} calibrate, {len(paths)} scored", file=sys.stderr)

    decoded = list(batches(calibration_paths, prepare, options.batch, f"{name}: calibration"))
    calibration = np.concatenate(decoded)
    networks = list(quantized(path, shapes, calibration, options.efforts))
    right = np.zeros(1 + len(networks), np.int64)
    same = np.zeros(len(networks), np.int64)
    start = 0
    for images in batches(paths, prepare, options.batch, f"{name}: scoring"):
        expected = labels[start : start + len(images)]
        start += len(images)
        top = np.asarray(aq.run(graph, images)).reshape(len(images), -1).argmax(axis=1)
        right[0] += (top == expected).sum()
        for i, (_, _, network) in enumerate(networks):
            integers = network.run(network.quantize_input(images))
            real = np.asarray(network.dequantize_output(integers)).reshape(len(images), -1)
            right[i + 1] += (real.argmax(axis=1) == expected).sum()
            same[i] += (real.argmax(axis=1) == top).sum()
    top1 = 100 * right / len(paths)
    lines = [f"| {name} | float | - | {top1[0]:.3f} | - | - | - |"]
    for i, (scheme, requantization, _) in enumerate(networks):
        key = (re.sub(r"\W.*", "", name).lower(), scheme.split()[1], requantization)
        published = "; ".join(f"{a}: {q:.3f} ({f:.3f})" for a, f, q in PUBLISHED.get(key, ()))
        lines.append(
            f"| {name} | {scheme} | {requantization} | {top1[i + 1]:.3f} | "
            f"{top1[i + 1] - top1[0]:+.3f} | {100 * same[i] / len(paths):.2f} | "
            f"{published or '-'} |"
        )
    return lines


def named_model(text: str) -> tuple[str, Path]:
    """Return name and path of ``name=path.onnx``."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text!r}: expected name=path.onnx")
    return name, Path(path)


def positive(text: str) -> int:
    """Return a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number above 0")
    return int(text)


def arguments(words: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--images", type=Path, required=True, help="ImageNet's validation images")
    add("--labels", type=Path, help="flat folder: text file, lines of file name and class")
    add("--classes", type=Path, help="text file, WordNet ids in the order of the outputs")
    add("--model", type=named_model, action="append", required=True, help="name=path.onnx")
    add("--calibration", type=Path, help="folder of other images to calibrate with")
    add("--calibration-count", type=positive, default=256)
    add("--samples", type=positive, help="how many images to score, all by default")
    add("--preprocess", choices=("torchvision", "tf"), default="torchvision")
    add("--resize", type=positive, help="shorter side before the crop; 256 for a crop of 224")
    add("--size", type=positive, help="side of the input where the model leaves it open")
    add("--batch", type=positive, default=32, help="images in memory at a time")
    add("--seed", type=int, default=0, help="chooses the images")
    add("--recipe", dest="efforts", nargs="+", choices=EFFORTS, default=[], metavar="EFFORT")
    add("--output", type=Path, help="Markdown file, also printed")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Print the table, and write it where --output says."""
    options = arguments(words)
    try:
        import PIL  # noqa: F401
    except ImportError:
        sys.exit("Pillow is not installed, and the images are read with it: pip install pillow")
    if options.efforts and not hasattr(aq, "quantize"):
        sys.exit("--recipe: this version of aidge_quant has no quantize(); leave the option out")
    lines = [
        "| Model | Scheme | Requant. | Top-1 % | Drop | Same class as float % | "
        "Published top-1 % (their float) |",
        "|---|---|---|---|---|---|---|",
    ]
    try:
        for name, path in options.model:
            lines += table_of(name, path, options)
    except aq.AidgeQuantError as error:
        sys.exit(f"error: {error}")
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if options.output is not None:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
