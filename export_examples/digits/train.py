"""Train the network of this example and write ``digits.onnx`` and ``digits.npz``.

Both files are committed: run this only to make them again.  It needs the extra ``examples``
(torch on the CPU is enough, one minute)::

    python export_examples/digits/train.py [FOLDER]

The data are the 1797 handwritten digits of scikit-learn (8 x 8 pixels, 0 to 16).  500 of them
are held back and take no part in the training, nor in any choice made during it; 64 of the
others are the calibration images.  The same seed gives the same files on one machine with one
version of torch; elsewhere the last bits of the weights may differ.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 7
HELD_BACK = 500
CALIBRATION = 64
EPOCHS = 60
BATCH = 64
OPSET = 13


class DigitsNet(nn.Module):
    """Convolution, depthwise-separable block, residual block, average pool, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv2_dw = nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16, bias=False)
        self.bn2_dw = nn.BatchNorm2d(16)
        self.conv2_pw, self.bn2_pw = nn.Conv2d(16, 24, 1, bias=False), nn.BatchNorm2d(24)
        self.conv3, self.bn3 = nn.Conv2d(24, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24)
        self.conv4, self.bn4 = nn.Conv2d(24, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24)
        self.fc = nn.Linear(24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (batch, 10) of images (batch, 1, 8, 8) in [0, 1]."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2_dw(self.conv2_dw(x)))
        x = torch.relu(self.bn2_pw(self.conv2_pw(x)))
        y = torch.relu(self.bn3(self.conv3(x)))
        x = torch.relu(self.bn4(self.conv4(y)) + x)
        return self.fc(x.mean((2, 3)))


def shifted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the images, each moved by -1, 0 or 1 pixel along both axes; zeros come in."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    moves = torch.randint(0, 3, (len(images), 2), generator=generator)
    rows = [padded[i, :, v : v + 8, h : h + 8] for i, (v, h) in enumerate(moves.tolist())]
    return torch.stack(rows)


def train(images: np.ndarray, labels: np.ndarray) -> DigitsNet:
    """Return a network trained on images (n, 1, 8, 8) in [0, 1] and labels (n,)."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(SEED)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    net = DigitsNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=1e-3)
    steps = EPOCHS * math.ceil(len(x) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in torch.randperm(len(x), generator=generator).split(BATCH):
            loss = loss_of(net(shifted(x[batch], generator)), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {total / len(x):.4f}")
    return net.eval()


def to_onnx(net: DigitsNet) -> onnx.ModelProto:
    """Return the network as ONNX, batch normalizations kept, batch size open."""
    weights: list[TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, value: torch.Tensor) -> str:
        weights.append(numpy_helper.from_array(value.detach().numpy(), name))
        return name

    def node(operator: str, name: str, inputs: list[str], output: str = "", **attributes) -> str:
        output = output or f"{name}_out"
        nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def conv(x: str, name: str, norm: str) -> str:
        layer, bn = getattr(net, name), getattr(net, norm)
        (pad_h, pad_w), kernel = layer.padding, list(layer.kernel_size)
        x = node(
            "Conv",
            name,
            [x, constant(f"{name}.weight", layer.weight)],
            kernel_shape=kernel,
            strides=list(layer.stride),
            pads=[pad_h, pad_w, pad_h, pad_w],
            group=layer.groups,
        )
        parameters = [
            constant(f"{norm}.{key}", value)
            for key, value in (
                ("weight", bn.weight),
                ("bias", bn.bias),
                ("mean", bn.running_mean),
                ("var", bn.running_var),
            )
        ]
        return node("BatchNormalization", norm, [x, *parameters], epsilon=bn.eps)

    x = node("Relu", "relu1", [conv("input", "conv1", "bn1")])
    x = node("Relu", "relu2_dw", [conv(x, "conv2_dw", "bn2_dw")])
    x = node("Relu", "relu2_pw", [conv(x, "conv2_pw", "bn2_pw")])
    y = node("Relu", "relu3", [conv(x, "conv3", "bn3")])
    y = conv(y, "conv4", "bn4")
    x = node("Relu", "relu4", [node("Add", "add4", [y, x])])
    x = node("Flatten", "flatten", [node("GlobalAveragePool", "pool", [x])], axis=1)
    parameters = [constant("fc.weight", net.fc.weight), constant("fc.bias", net.fc.bias)]
    node("Gemm", "fc", [x, *parameters], output="output", transB=1)

    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 10])],
        weights,
    )
    # An old intermediate representation, so that old runtimes read the file.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Train, write the two files, and print the accuracy on the held-back images."""
    parser = argparse.ArgumentParser(description="Train the digits example.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    folder = parser.parse_args().folder

    digits = load_digits()
    pixels = digits.images[:, None].astype(np.uint8)  # (1797, 1, 8, 8), 0 to 16
    labels = digits.target.astype(np.int64)
    x_train, x_test, y_train, y_test = train_test_split(
        pixels, labels, test_size=HELD_BACK, stratify=labels, random_state=SEED
    )
    net = train(x_train.astype(np.float32) / 16, y_train)
    with torch.no_grad():
        logits = net(torch.from_numpy(x_test.astype(np.float32) / 16)).numpy()
    parameters = sum(p.numel() for p in net.parameters())
    accuracy = (logits.argmax(1) == y_test).mean()
    print(f"{parameters} parameters, {accuracy:.2%} of {HELD_BACK} held-back digits")

    onnx.save(to_onnx(net), folder / "digits.onnx")
    np.savez_compressed(
        folder / "digits.npz",
        x_calib=x_train[:CALIBRATION],
        x_test=x_test,
        y_test=y_test.astype(np.uint8),
    )


if __name__ == "__main__":
    main()
