"""Checked door to the engine: layers become steps, packed for the instruction set of this machine.

`aidge_quant.integer.plan` says where the tensors lie and which layers become steps.
"""

from typing import Any

import numpy as np

from aidge_quant._kernels import engine as compiled
from aidge_quant.kernels import packing
from aidge_quant.kernels.geometry import Part, Window
from aidge_quant.kernels.instruction_sets import chosen_isa
from aidge_quant.kernels.pooling import inside_counts
from aidge_quant.kernels.requantization import Requantizes, packed

#: Bytes that steps may read behind the last value of a tensor.
SLACK = 256

#: Entries of layers without channels of their own, AQ_BLOCK of _kernels/host/engine.h.
_ONE_CHANNEL = np.zeros(256, np.intp)

#: Sizes of an image, (height, width, channels) or (rows, in), and int8 or int16.
Data = tuple[tuple[int, ...], np.dtype]
#: Where the tensors of a layer lie: its inputs, then its output.
Places = tuple[int, ...]

#: Tensors, scratch space and images of a batch.
Workspace = tuple[np.ndarray, np.ndarray, int]

#: Most axes of what ``Engine.move`` copies.
MOVED_AXES = 4

put, take = compiled.put, compiled.take


class Engine:
    """Steps that run one after the other on tensors of one arena.

    Places of tensors are bytes from the start of an arena that holds one image; one for a batch of
    up to ``room`` images has every place, and every size, times ``room``.

    Parameters
    ----------
    room : int
        Most steps.
    steps : object with the methods of ``aidge_quant._kernels.engine.Steps``, optional
        Takes the steps and runs them, instead of one for the chosen instruction set.
    """

    def __init__(self, room: int, steps: Any = None) -> None:
        self._steps = compiled.Steps(chosen_isa(), room) if steps is None else steps
        self.isa: str = self._steps.name
        self._lanes, self._vectors, self._operands, self._shifted, self._depthwise_s8 = (
            self._steps.layout
        )
        #: Bytes of scratch space that the steps need for one image.
        self.scratch = 0

    def __len__(self) -> int:
        return len(self._steps)

    def run(self, steps: range, workspaces: list[Workspace], room: int, workers: int = 1) -> None:
        """Run some of the steps.

        Parameters
        ----------
        workspaces : list of (arena, scratch, batch)
            uint8 arrays for ``room`` images, and SLACK more, and how many images there are. Each
            has a thread.
        workers : int
            Above 1 so many threads share every step of the only workspace; scratch is for as many
            images at least.
        """
        self._steps.run(steps.start, steps.stop, workspaces, room, workers)

    # -- what several kinds of steps share ------------------------------------------------------

    def _finish(
        self,
        kernel: str,
        requantization: Requantizes,
        dtype: np.dtype,
        entries: np.ndarray,
        factor: np.ndarray | None,
        size: int,
    ) -> tuple:
        """Return a requantization as the steps take it.

        Parameters
        ----------
        entries : int array, channels
        factor : int32 array (1,) or (all channels,), or None
            Of the residual.
        size : int
            Bytes of a value of the residual.
        """
        numbers, *arrays = packed(kernel, requantization, int(entries.max()) + 1, dtype)
        factors = np.zeros(1, np.int32) if factor is None else factor
        spread = [packing.spread(array, entries) for array in (*arrays, factors)]
        residual_size = 0 if factor is None else size
        wide = int(spread[0].min() >= 31)
        return (*spread, (*(int(n) for n in numbers), dtype.itemsize, residual_size, wide))

    def _copied(self, images: tuple) -> None:
        """Keep scratch space for the copy of images, if there is one."""
        *_, channels, _, _, height, width, _, operand_size, _, copied = images
        if copied:
            self.scratch = max(self.scratch, height * width * channels * operand_size)

    @staticmethod
    def _images(
        kernel: str, x: Data, window: Window, pad_value: int, operand_size: int
    ) -> tuple[tuple, tuple[int, int], tuple[int, int]]:
        """Return what the images are, the size of the output, and that of the padded input."""
        (height, width, channels), dtype = x
        full = window.padded(height, width)
        copied = any(window.padding) or operand_size != dtype.itemsize
        numbers = (dtype.itemsize, operand_size, pad_value, int(copied))
        images = (height, width, channels, *window.padding[:2], *full, *numbers)
        return images, window.outputs(kernel, height, width), full

    # -- layers ---------------------------------------------------------------------------------

    def conv(
        self,
        x: Data,
        weight: np.ndarray,
        bias: np.ndarray,
        requantization: Requantizes,
        places: Places,
        *,
        window: Window,
        groups: int,
        pad_value: int,
        dtype: np.dtype,
        residual: np.ndarray | None,
    ) -> None:
        """Add a convolution; arguments as those of ``kernels.conv``.

        Parameters
        ----------
        x : shape (height, width, channels) and int8 or int16 type of the input
        places : (int, int, int)
            Of input, residual and output.
        residual : int32 array (1,) or (out,), or None
            Factors.
        """
        out, kernel_height, kernel_width, _ = weight.shape
        channels, size = x[0][2], x[1].itemsize
        # int16 of any kind is multiplied as int16.
        widest = max(size, weight.itemsize)
        operand = self._operands[widest - 1]
        images, (height, width), full = self._images("conv", x, window, pad_value, operand)
        stride, dilation = window.stride, window.dilation
        self._copied(images)
        # Taps that lie side by side are one run of values.
        joined = dilation[1] == 1 and groups == 1
        quad = 4 // operand
        taps = packing.taps_of_runs(weight, groups, joined, quad)
        rows = np.arange(kernel_height)[:, None] * dilation[0] * full[1]
        columns = np.arange(1 if joined else kernel_width) * dilation[1]
        starts = (rows + columns).reshape(-1, 1) * channels
        offsets = (starts + np.arange(0, taps.shape[3], quad)).reshape(-1)
        pixels = np.arange(height)[:, None] * stride[0] * full[1] + np.arange(width) * stride[1]
        entries = packing.entries_of(groups, out // groups, packing.up(out // groups, self._lanes))
        lift = self._shifted[widest - 1] * weight.reshape(out, -1).sum(axis=1, dtype=np.int64)
        # What is taken away here comes back in the sums, modulo 2**32.
        biases = (bias - lift).astype(np.int32)
        weights, block = packing.pack_tiles(taps, quad, self._lanes, self._vectors)
        self._steps.affine(
            images,
            self._finish("conv", requantization, dtype, entries, residual, size),
            weights,
            packing.spread(biases, entries),
            (pixels.reshape(-1) * channels).astype(np.int32),
            offsets.astype(np.int32),
            (
                block,
                height * width,
                full[0] * full[1] * channels,
                len(offsets),
                groups,
                out // groups,
                channels // groups,
                *places,
            ),
        )

    def fc(
        self,
        x: Data,
        weight: np.ndarray,
        bias: np.ndarray,
        requantization: Requantizes,
        places: Places,
        *,
        dtype: np.dtype,
        residual: np.ndarray | None,
    ) -> None:
        """Add a fully connected layer: a convolution of as many pixels as there are rows.

        Parameters
        ----------
        x : shape (rows, in) and int8 or int16 type of the input
        """
        (rows, depth), kind = x
        self.conv(
            ((1, rows, depth), kind),
            weight.reshape(len(weight), 1, 1, depth),
            bias,
            requantization,
            places,
            window=Window((1, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
            groups=1,
            pad_value=0,
            dtype=dtype,
            residual=residual,
        )

    def depthwise_conv(
        self,
        x: Data,
        weight: np.ndarray,
        bias: np.ndarray,
        requantization: Requantizes,
        places: Places,
        *,
        window: Window,
        pad_value: int,
        dtype: np.dtype,
        residual: np.ndarray | None,
    ) -> None:
        """Add a depthwise convolution; arguments as those of ``conv``."""
        kernel_height, kernel_width, channels = weight.shape
        size, stride, dilation = x[1].itemsize, window.stride, window.dilation
        narrow = self._depthwise_s8 and size == weight.itemsize == 1
        images, outputs, full = self._images(
            "depthwise_conv", x, window, pad_value, 1 if narrow else 2
        )
        numbers = (*window.size, *stride, *dilation, *outputs, *places)
        if not narrow:
            self._copied(images)
            entries = packing.entries_of(1, channels, packing.up(channels, packing.CHUNK))
            finish = self._finish("depthwise_conv", requantization, dtype, entries, residual, size)
            weights = packing.pack_channels(weight, entries)
            self._steps.depthwise(images, finish, weights, packing.spread(bias, entries), numbers)
            return
        chunks = packing.Chunks.of(channels, stride[1])
        entries, row = chunks.entries, chunks.row_values(channels, full[1])
        # The rows of a window, and those that the next one adds.
        ring_rows = (kernel_height - 1) * dilation[0] + 1 + stride[0]
        self.scratch = max(self.scratch, ring_rows * row)
        lift = self._shifted[0] * weight.sum(axis=(0, 1), dtype=np.int64)
        biases = (bias - lift).astype(np.int32)  # comes back in the sums, modulo 2**32
        finish = self._finish("depthwise_conv", requantization, dtype, entries, residual, size)
        shift, multiplier, upper, *_ = finish
        self._steps.depthwise_s8(
            images,
            finish,
            chunks.pack(weight),
            packing.by_quarters(packing.spread(biases, entries)),
            numbers,
            packing.by_quarters(shift),
            packing.by_quarters(multiplier),
            np.clip(upper, -128, 127).astype(np.int8).view(np.uint8),
            chunks.columns(kernel_width, dilation[1], channels, full[1]),
            (chunks.phases, chunks.pitch, chunks.source_pitch, chunks.planes, ring_rows, row),
        )

    def add(
        self,
        count: int,
        kind: np.dtype,
        requantization: Requantizes,
        places: Places,
        *,
        multipliers: tuple[int, ...],
        bias: int,
        dtype: np.dtype,
    ) -> None:
        """Add a sum of multiples of one or two inputs of ``count`` values an image.

        Parameters
        ----------
        kind : int8 or int16, of the inputs
        places : of the inputs and of the output
        """
        *sources, target = places
        both = [*multipliers, 0][:2], [*sources, 0][:2]
        finish = self._finish("add", requantization, dtype, _ONE_CHANNEL, None, 0)
        binary = int(len(sources) == 2)
        numbers = (count, *both[0], bias, kind.itemsize, binary, *both[1], target)
        self._steps.elementwise(finish, numbers)

    def average_pool(
        self,
        x: Data,
        requantization: Requantizes | None,
        places: Places,
        *,
        window: Window,
        count_include_pad: bool,
        zero_point: int,
        bias: int,
        lower: int,
        upper: int,
        dtype: np.dtype,
    ) -> None:
        """Add an average pool; arguments as those of ``kernels.avg_pool``."""
        numbers = self._pool("avg_pool", x, window)
        finish = counts = None
        if requantization is None:
            axes = zip(
                x[0][:2],
                numbers[3:5],
                window.size,
                window.stride,
                window.dilation,
                window.padding[:2],
                strict=True,
            )
            inside = np.outer(*(inside_counts(*axis) for axis in axes)).reshape(-1)
            whole = window.size[0] * window.size[1]
            counts = np.full_like(inside, whole) if count_include_pad else inside
        else:
            finish = self._finish("avg_pool", requantization, dtype, _ONE_CHANNEL, None, 0)
        last = (bias, zero_point, lower, upper, x[1].itemsize)
        self._steps.average_pool(finish, counts, (*numbers, *last, *places))

    def max_pool(self, x: Data, places: Places, window: Window) -> None:
        """Add a max pool."""
        numbers = self._pool("max_pool", x, window)
        self._steps.max_pool((*numbers, 0, 0, 0, 0, x[1].itemsize, *places))

    @staticmethod
    def _pool(kernel: str, x: Data, window: Window) -> tuple[int, ...]:
        (height, width, channels), _ = x
        outputs, (top, left, _, _) = window.outputs(kernel, height, width), window.padding
        sizes = (*window.size, *window.stride, *window.dilation)
        return (height, width, channels, *outputs, *sizes, top, left)

    def move(
        self,
        shape: tuple[int, ...],
        source: Part,
        target: Part,
        kind: np.dtype,
        places: Places,
        fill: int | None = None,
    ) -> None:
        """Add a copy of values from one tensor to another, at most ``MOVED_AXES`` axes.

        Parameters
        ----------
        shape : tuple of int
            How many values are copied along each axis.
        source, target : Part
            Where they are, and where they go.
        kind : int8, int16 or int32
        fill : int, optional
            What is written to all of the target before.
        """
        size = kind.itemsize
        front = MOVED_AXES - len(shape)
        steps, firsts, totals = [], [], []
        for part in (source, target):
            along, first, total = part.in_memory()
            steps.append((*[0] * front, *(v * size for v in along)))
            firsts.append(first * size)
            totals.append(total * size)
        numbers = (*firsts, *totals, size, int(fill is not None), fill or 0, *places)
        self._steps.move((*[1] * front, *shape), *steps, numbers)
