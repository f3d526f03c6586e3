"""What training with quantizers comes to on real data: ``python benchmarks/qat.py TASK [options]``.

Tasks, all by LSQ, first and last layers and sums with 8 bits:

- ``mnist``: a LeNet-size network, trained in float from random weights, then with quantizers; all
  60,000 images of mnist_train, tested on the 2000 of mnist_small.
- ``resnet8``: resnet8_cifar10 as it is published, trained on with quantizers on the 10,000 images
  of cifar10_train10k (moved and mirrored), tested on the 2000 of cifar10_small. It learns the
  logits that the float network has for each image, not the labels. Steps are those of the least
  error and stay so; each channel of a weight has a unit of its own.
- ``resnet8-shifts``: the same with steps that are powers of two, so that every channel ends in one
  shift.
- ``mlp``: the mlp of the reference nets, on the digits of scikit-learn that are not among its 500
  test images.

It prints correct images of the float network, of the trained one, and of the integer network that
``lsq.post_training_transform`` makes of it; how far the outputs of the two differ; seconds of an
epoch and the peak of memory. With ``--checkpoint FILE`` a training that was stopped goes on.

Figures that others published stand below the result, for networks and data of theirs: they say what
the method is worth, not how near we are to them.
"""

import argparse
import dataclasses
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import aidge_quant as aq
from aidge_quant import lsq, ops
from aidge_quant.graph import GraphView
from aidge_quant.recipes import remove_trailing_softmax
from aidge_quant.training import (
    SGD,
    Adam,
    Epoch,
    Group,
    Kind,
    Optimizer,
    checkpoint,
    fit,
    mean_squared_error,
)

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the table of networks and data is the tests' own

import networks  # noqa: E402
import shared_data  # noqa: E402

#: Source, network and data, float accuracy, and what was published for it, in %.
PUBLISHED = (
    ("LSQ, arXiv 1902.08153", "ResNet-18, ImageNet", "70.5", "W8A8 71.1, W4A4 71.1, W2A2 67.6"),
    ("SAT, arXiv 1912.10207", "MobileNetV1, ImageNet", "71.7", "8 bits 72.6, 4 bits 71.3"),
    ("SAT, arXiv 1912.10207", "MobileNetV2, ImageNet", "71.8", "8 bits 72.5, 4 bits 71.1"),
)


def loaded(name):
    """Return the arrays of a file of the shared data."""
    with np.load(shared_data.shared_path("data", f"{name}.npz")) as data:
        return {key: data[key] for key in data.files}


# -- Data: training images and labels, test images and labels


def mnist_data():
    train, test = loaded("mnist_train"), loaded("mnist_small")
    images = [
        data[key].astype(np.float32) / 255 for data, key in ((train, "x_train"), (test, "x_test"))
    ]
    return (images[0], train["y_train"].astype(np.int64)), (
        images[1],
        test["y_test"].astype(np.int64),
    )


def cifar_data():
    train, test = loaded("cifar10_train10k"), networks.NETWORKS["resnet8_cifar10"].samples()
    images = train["x_train"].astype(np.float32)
    return (images, train["y_train"].astype(np.int64)), (test.test, test.labels)


def mlp_data():
    from sklearn.datasets import load_digits

    samples, digits = networks.NETWORKS["mlp"].samples(), load_digits()
    shape = samples.test.shape[1:]
    images = (digits.images / 16).astype(np.float32).reshape(-1, *shape)
    held_back = {image.tobytes() for image in samples.test}
    free = [i for i, image in enumerate(images) if image.tobytes() not in held_back]
    return (images[free], digits.target[free].astype(np.int64)), (samples.test, samples.labels)


def moved(pixels, mirror):
    """Return an augmentation: each image moved by up to so many pixels, and perhaps mirrored."""

    def augment(rng, images):
        count, _, height, width = images.shape
        padded = np.pad(images, ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels)))
        places = rng.integers(0, 2 * pixels + 1, (count, 2))
        flips = rng.random(count) < (0.5 if mirror else 0)
        found = np.empty_like(images)
        for i, ((top, left), flip) in enumerate(zip(places, flips, strict=True)):
            image = padded[i, :, top : top + height, left : left + width]
            found[i] = image[..., ::-1] if flip else image
        return found

    return augment


# -- Float networks


def lenet(seed):
    """Return a network of the size of LeNet-5 with random weights (He et al. 2015)."""
    graph, rng = GraphView("lenet_mnist"), np.random.default_rng(seed)

    def parameters(name, *shape):
        deviation = np.sqrt(2 / np.prod(shape[1:]))
        weight = rng.normal(0, deviation, shape).astype(np.float32)
        parts = (("weight", weight), ("bias", np.zeros(shape[0], np.float32)))
        return [graph.add(ops.producer(value), (), f"{name}_{part}") for part, value in parts]

    x = graph.add_input(ops.Input((1, 1, 28, 28)), "input")
    for name, shape in (("conv1", (16, 1, 5, 5)), ("conv2", (32, 16, 5, 5))):
        conv = ops.Conv((1, 1), (1, 1), (2, 2, 2, 2))
        x = graph.add(conv, (x, *parameters(name, *shape)), name)
        x = graph.add(ops.ReLU(), (x,), f"{name}_relu")
        pool = ops.MaxPool((2, 2), (2, 2), (1, 1), (0, 0, 0, 0))
        x = graph.add(pool, (x,), f"{name}_pool")
    x = graph.add(ops.Flatten(), (x,), "flatten")
    x = graph.add(ops.FC(), (x, *parameters("fc1", 128, 32 * 49)), "fc1")
    x = graph.add(ops.ReLU(), (x,), "fc1_relu")
    x = graph.add(ops.FC(), (x, *parameters("fc2", 10, 128)), "fc2")
    graph.add_output(x, "output")
    return graph


def trained_lenet(options, train):
    graph = lenet(options.seed)
    fit(
        graph,
        train,
        epochs=options.float_epochs,
        optimizer=SGD(0.05, 1e-4),
        augment=moved(2, mirror=False),
        seed=options.seed,
        callbacks=(told,),
        checkpoint=beside(options.checkpoint, "float"),
    )
    return graph


def published(name):
    return lambda options, train: aq.load_onnx(networks.NETWORKS[name].file())


@dataclasses.dataclass(frozen=True)
class Task:
    """Data, float network, augmentation, training, and how the quantizers are set up."""

    data: Callable
    network: Callable
    augment: Callable | None
    optimizer: Optimizer  #: its rate goes down to 0
    epochs: int = 10
    setup: dict = dataclasses.field(default_factory=dict)
    taught: bool = False  #: by the float network, not by labels; steps then stay as they are


RESNET8 = Task(
    cifar_data,
    published("resnet8_cifar10"),
    moved(4, mirror=True),
    Adam(3e-4),
    16,
    {"channel_wise": True, "least_error": True},
    taught=True,
)

TASKS = {
    "mnist": Task(mnist_data, trained_lenet, moved(2, mirror=False), SGD(0.02, 1e-4)),
    "resnet8": RESNET8,
    "resnet8-shifts": dataclasses.replace(
        RESNET8,
        optimizer=Adam(5e-4),
        epochs=24,
        setup={**RESNET8.setup, "power_of_two": True},
    ),
    "mlp": Task(mlp_data, published("mlp"), None, SGD(0.01, 1e-4)),
}


def first_weights(graph, images, optimizer):
    """Return the group of the first layer: the rates that it would have if it read 0 to 1.

    Where images reach r, its weight is 1 / r of that and the gradient r times as large, which Adam
    does not see.
    """
    largest = float(np.abs(images).max())
    first = next(node for node in graph.topological() if node.type in ("Conv", "FC"))
    quantizer = first.input(1).node
    names = tuple(quantizer.input(slot).node.name for slot in (0, 1))
    return Group(names, 1 / largest ** (1 if isinstance(optimizer, Adam) else 2))


class Taught:
    """Epochs of augmented images with the logits that a float network gives them.

    Each call returns the batches of the next epoch; they depend on seed and number of it only.
    """

    def __init__(self, teacher, images, augment, seed, done, size=64):
        self.teacher, self.images, self.augment = teacher, images, augment
        self.seed, self.number, self.size = seed, done, size

    def __call__(self):
        """Return the batches of the next epoch."""
        self.number += 1
        return self

    def __len__(self):
        return -(-len(self.images) // self.size)

    def __iter__(self):
        rng = np.random.default_rng((self.seed, self.number))
        order = rng.permutation(len(self.images))
        for start in range(0, len(order), self.size):
            x = self.augment(rng, self.images[order[start : start + self.size]])
            yield x, aq.run(self.teacher, x)


def epochs_done(path):
    """Return how many epochs a checkpoint holds."""
    if path is None or not path.exists():
        return 0
    return len(checkpoint.load(path)[1]["history"])


# -- Measuring


def beside(path, part):
    """Return the path of another checkpoint beside one."""
    return None if path is None else path.with_name(f"{path.stem}_{part}{path.suffix}")


def told(_, epoch: Epoch):
    """Print an epoch."""
    print(f"{time.strftime('%H:%M:%S')} epoch {epoch.number}: loss {epoch.loss:.4f}", flush=True)


def outputs(graph, images):
    return np.concatenate([aq.run(graph, part) for part in np.split(images, 10)])


def right(logits, labels):
    return f"{int((logits.argmax(axis=1) == labels).sum())} of {len(labels)}"


class Told:
    """Prints the epochs, with their seconds, and ends the run after so many of them."""

    def __init__(self, most):
        self.most, self.seconds, self.last = most, [], time.perf_counter()

    def __call__(self, view, epoch):
        """Print an epoch; True ends the training."""
        self.seconds.append(time.perf_counter() - self.last)
        self.last = time.perf_counter()
        told(view, epoch)
        return self.most is not None and len(self.seconds) >= self.most


def train_quantized(graph, task, options, train, teacher, telling):
    """Train with quantizers; return whether it came to its end."""
    optimizer, epochs = task.optimizer, task.epochs
    if options.rate is not None:
        optimizer = dataclasses.replace(optimizer, rate=options.rate)
    if options.epochs is not None:
        epochs = options.epochs
    groups = [first_weights(graph, train[0], optimizer)]
    taught, how = train, {"augment": task.augment}
    if task.taught:
        done = epochs_done(options.checkpoint)
        taught = Taught(teacher, train[0], task.augment, options.seed, done)
        groups.append(Group((Kind.STEP,), 0.0))
        how = {"loss": mean_squared_error}
    print(f"{epochs} epochs, {optimizer}", flush=True)
    history = fit(
        graph,
        taught,
        epochs=epochs,
        optimizer=optimizer,
        groups=groups,
        seed=options.seed,
        callbacks=(telling,),
        checkpoint=options.checkpoint,
        **how,
    )
    return len(history) == epochs


def measure(options):
    task = TASKS[options.task]
    train, (images, labels) = task.data()
    graph = task.network(options, train)
    remove_trailing_softmax(graph)
    teacher = graph.clone()
    expected = outputs(graph, images)
    setting = f"W{options.weights}A{options.activations}"
    print(f"{options.task}, LSQ {setting}, seed {options.seed}")
    print(f"float     {right(expected, labels)}", flush=True)
    lsq.setup_quantizers(
        graph,
        options.weights,
        activation_bits=options.activations,
        first_bits=8,
        last_bits=8,
        calibration=train[0][:256],
        **task.setup,
    )
    telling = Told(options.stop_after)
    if not train_quantized(graph, task, options, train, teacher, telling):
        print(f"stopped after {len(telling.seconds)} epochs; --checkpoint goes on")
        return
    fake = outputs(graph, images)
    print(f"trained   {right(fake, labels)}")
    lsq.post_training_transform(graph, True)
    integers = aq.lower(graph)
    inputs = integers.quantize_input(images)
    real = integers.dequantize_output(integers.run(inputs))
    print(f"integers  {right(real, labels)}")
    print(f"same class as float {(real.argmax(1) == expected.argmax(1)).mean():.2%}", end=", ")
    print(f"as trained {(real.argmax(1) == fake.argmax(1)).mean():.2%}", end=", ")
    most, size = np.abs(real - fake).max(), np.abs(fake).max()
    print(f"largest difference from trained {most:.2g}, largest output {size:.3g}")
    if telling.seconds:
        shown = f"{min(telling.seconds):.1f} to {max(telling.seconds):.1f}"
        print(f"{len(telling.seconds)} epochs, {shown} s each", end=", ")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    print("\npublished, on other networks and data:")
    for source, where, float_, found in PUBLISHED:
        print(f"  {source}: {where}, float {float_}: {found}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("task", choices=TASKS)
    add("--weights", type=int, default=4, help="bits")
    add("--activations", type=int, default=4, help="bits")
    add("--epochs", type=int, help="with quantizers, in place of those of the task")
    add("--float-epochs", type=int, default=6, help="before, where the float network is trained")
    add("--rate", type=float, help="of the optimizer, in place of that of the task")
    add("--seed", type=int, default=0)
    add("--checkpoint", type=Path, help="written after each epoch; an earlier training goes on")
    add("--stop-after", type=int, metavar="EPOCHS", help="end this run then")
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
