"""The ImageNet example scores each form a folder has, and says what it cannot use."""

import itertools
import runpy

import numpy as np
import onnx
import pytest
import shared_data
from networks import NETWORKS
from onnx import TensorProto, helper, numpy_helper

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

SCRIPT = shared_data.CHECKOUT / "export_examples" / "ptq_imagenet.py"
SIDE, CLASSES = 16, 3
IDS = ("n01440764", "n01443537", "n01484850")


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture
def model(tmp_path):
    """Write a network that says which colour an image has: the largest channel mean."""
    return write_model(tmp_path / "colours.onnx", ("batch", 3, SIDE, SIDE))


def write_model(path, shape):
    weight = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    ends = [("x", shape), ("y", ("batch", CLASSES))]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in ends]
    constants = [numpy_helper.from_array(weight, "w")]
    graph = helper.make_graph(nodes, "colours", infos[:1], infos[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), path)
    return path


def colour(label, seed):
    """Return a noisy image, wider than high, whose strongest channel is the label."""
    pixels = np.random.default_rng(seed).integers(0, 90, (24, 30, 3)).astype(np.uint8)
    pixels[..., label] += 120
    return Image.fromarray(pixels)


def write_images(folder, names, each=5):
    """Write the images of each class into its folder, alternating JPEG and PNG."""
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            ending = "png" if i % 2 else "JPEG"
            colour(label, 10 * label + i).save(folder / name / f"{label}_{i}.{ending}")
    return folder


def rows(example, capsys, folder, model, *words):
    """Run the example; return the cells of each row."""
    fixed = ("--images", folder, "--model", f"colours={model}", "--calibration-count", 4)
    example["main"]([str(word) for word in (*fixed, "--batch", 4, *words)])
    lines = capsys.readouterr().out.splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def refusal(example, folder, model, *words):
    """Return what the example says when it gives up."""
    fixed = ("--images", folder, "--model", f"colours={model}", "--calibration-count", 4)
    with pytest.raises(SystemExit) as refused:
        example["main"]([str(word) for word in (*fixed, *words)])
    return str(refused.value)


@pytest.mark.parametrize("names", [IDS, ("0", "1", "2")], ids=["wnid", "index"])
def test_class_folders_are_scored(example, capsys, tmp_path, model, names):
    cells = rows(example, capsys, write_images(tmp_path / "val", names), model)
    assert [row[3] for row in cells] == ["100.000"] * (1 + len(example["ROWS"]))
    assert [row[1:3] for row in cells[1:]] == [list(row[:2]) for row in example["ROWS"]]


@pytest.mark.parametrize("names", [IDS, ("0", "1", "2")], ids=["wnid", "index"])
def test_a_flat_folder_is_scored_by_its_list(example, capsys, tmp_path, model, names):
    folder, lines = tmp_path / "val", []
    folder.mkdir()
    for i in range(9):
        colour(i % 3, i).save(folder / f"val_{i}.JPEG")
        lines.append(f"val_{i}.JPEG {names[i % 3]}")
    (tmp_path / "val.txt").write_text("\n".join(lines) + "\n")
    cells = rows(example, capsys, folder, model, "--labels", tmp_path / "val.txt")
    assert [row[3] for row in cells] == ["100.000"] * (1 + len(example["ROWS"]))


def test_wrong_labels_are_wrong(example, capsys, tmp_path, model):
    """The score can fall: the classes named in reverse leave only the middle one right."""
    folder = write_images(tmp_path / "val", IDS)
    (tmp_path / "order.txt").write_text("\n".join(f"{name} a fish" for name in IDS[::-1]))
    others = write_images(tmp_path / "others", IDS)
    words = ("--classes", tmp_path / "order.txt", "--calibration", others)
    cells = rows(example, capsys, folder, model, *words)
    assert [row[3] for row in cells] == ["33.333"] * (1 + len(example["ROWS"]))


def test_calibration_images_are_not_scored(example):
    chosen, scored = example["draw"](20, 6, 3)
    assert sorted([*chosen, *scored]) == list(range(20))
    again, _ = example["draw"](20, 6, 3)
    other, _ = example["draw"](20, 6, 4)
    assert list(chosen) == list(again)
    assert list(chosen) != list(other)


def test_the_table_is_written_to_the_file(example, capsys, tmp_path, model):
    folder = write_images(tmp_path / "val", IDS)
    words = ["--images", folder, "--model", f"resnet18={model}", "--calibration-count", 4]
    words += ["--samples", 3, "--preprocess", "tf", "--output", tmp_path / "table.md"]
    example["main"]([str(word) for word in words])
    text = (tmp_path / "table.md").read_text()
    assert text == capsys.readouterr().out
    assert "Aidge API page: 67.406 (69.748)" in text


@pytest.mark.parametrize("kind", ["torchvision", "tf"])
def test_preprocessing_follows_its_formula(example, tmp_path, kind):
    path = tmp_path / "image.png"
    colour(1, 7).resize((20, 16)).save(path)
    pixels = np.asarray(Image.open(path), np.float64)[2:14, 4:16]
    if kind == "tf":
        expected = pixels / 127.5 - 1
    else:
        expected = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    got = example["Preprocessing"](kind, 16, 12)(path)
    # float32: a few units in the last place of values below 3
    np.testing.assert_allclose(got, expected.transpose(2, 0, 1), rtol=0, atol=1e-6)


def test_an_open_input_takes_the_size_of_the_option(example, capsys, tmp_path):
    model = write_model(tmp_path / "open.onnx", ("batch", "channels", "height", "width"))
    folder = write_images(tmp_path / "val", IDS)
    assert "--size gives it" in refusal(example, folder, model)
    assert rows(example, capsys, folder, model, "--size", 8)[0][3] == "100.000"


def test_absent_and_empty_folders_are_named(example, tmp_path, model):
    assert "nowhere: expected a folder" in refusal(example, tmp_path / "nowhere", model)
    (tmp_path / "empty").mkdir()
    assert "empty: expected images" in refusal(example, tmp_path / "empty", model)


def test_an_unknown_class_is_named(example, tmp_path, model):
    folder = write_images(tmp_path / "val", ("0", "1", "3"))
    assert "unknown class '3'" in refusal(example, folder, model)
    folder = write_images(tmp_path / "two", IDS[:2])
    assert "2 class names, expected 3" in refusal(example, folder, model)


def test_an_image_without_a_class_is_named(example, tmp_path, model):
    folder = write_images(tmp_path / "val", IDS)
    (tmp_path / "val.txt").write_text("0_0.JPEG 0\n")
    assert "0_1.png: the class is unknown" in refusal(
        example, folder, model, "--labels", tmp_path / "val.txt"
    )


def test_an_unreadable_image_is_named(example, tmp_path, model):
    folder = write_images(tmp_path / "val", IDS)
    whole = (folder / IDS[1] / "1_2.JPEG").read_bytes()
    (folder / IDS[1] / "1_2.JPEG").write_bytes(whole[: len(whole) // 2])
    assert "1_2.JPEG: expected a JPEG or PNG image" in refusal(example, folder, model)


def test_a_wrong_input_size_is_named(example, tmp_path, model):
    folder = write_images(tmp_path / "val", IDS)
    assert "input of 16 x 16 pixels, expected 8 x 8" in refusal(example, folder, model, "--size", 8)
    assert "--resize 8: expected 16 or more" in refusal(example, folder, model, "--resize", 8)


def test_too_few_images_are_refused(example, tmp_path, model):
    folder = write_images(tmp_path / "val", IDS, each=1)
    assert "3 images, expected at least 4" in refusal(example, folder, model)


@pytest.mark.slow
def test_mobilenet_scores_as_in_the_shared_data(example, capsys, tmp_path):
    network = NETWORKS["mobilenetv1_025"].file()
    with np.load(shared_data.shared_path("data", "imagenet128_jpeg.npz")) as loaded:
        data = {name: loaded[name] for name in loaded.files}
    for kind in ("calib", "test"):
        (tmp_path / kind).mkdir()
        stream, offsets = data[f"jpeg_{kind}"], data[f"offsets_{kind}"]
        for i, (start, end) in enumerate(itertools.pairwise(offsets)):
            (tmp_path / kind / f"{i:03}.JPEG").write_bytes(stream[start:end].tobytes())
    labels = [f"{i:03}.JPEG {label}" for i, label in enumerate(data["y_test"])]
    (tmp_path / "labels.txt").write_text("\n".join(labels))
    words = ["--images", tmp_path / "test", "--labels", tmp_path / "labels.txt"]
    words += ["--calibration", tmp_path / "calib", "--calibration-count", 125]
    words += ["--preprocess", "tf", "--model", f"mobilenetv1_025={network}"]
    example["main"]([str(word) for word in words])
    lines = capsys.readouterr().out.splitlines()[2:]
    top1 = {tuple(c.strip() for c in r.split("|")[2:4]): float(r.split("|")[4]) for r in lines}
    assert top1["float", "-"] == 51.6
    # One weight scale for a layer loses this network, one for each channel does not.
    assert top1["W8A8 TW", "single shift"] < 5 < 40 < top1["W8A8 CW u8", "single shift"]
