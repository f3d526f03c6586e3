"""The steps of the golden model: a list of them, run without Python in between.

Everything is checked, packed and laid out by `aidge_quant.kernels.engine`; `_kernels/host` has the
steps themselves, once for each instruction set.
"""
from libc.stdint cimport int32_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

cdef extern from "host/engine.h":
    ctypedef struct aq_finish:
        const int32_t* shift
        const int32_t* multiplier
        const int32_t* upper
        const int32_t* factor
        int32_t form, offset, lower, output_size, residual_size

    ctypedef struct aq_images:
        Py_ssize_t height, width, channels, top, left, padded_height, padded_width
        int32_t size, operand_size, pad_value, copied

    ctypedef struct aq_affine:
        aq_images images
        aq_finish finish
        const void* weight
        const int32_t* bias
        const int32_t* pixels
        const int32_t* offsets
        Py_ssize_t pixel_count, image_values, steps, groups, group_outputs, group_channels
        Py_ssize_t source, residual, target

    ctypedef struct aq_depthwise:
        aq_images images
        aq_finish finish
        const void* weight
        const int32_t* bias
        Py_ssize_t kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x
        Py_ssize_t height, width, source, residual, target

    ctypedef struct aq_elementwise:
        aq_finish finish
        Py_ssize_t count
        int32_t factors[2]
        int32_t bias, size, binary
        Py_ssize_t sources[2]
        Py_ssize_t target

    ctypedef struct aq_pool:
        aq_finish finish
        const int32_t* counts
        Py_ssize_t in_height, in_width, channels, height, width
        Py_ssize_t window_height, window_width, stride_y, stride_x, dilation_y, dilation_x
        Py_ssize_t top, left
        int32_t bias, zero_point, lower, upper, size
        Py_ssize_t source, target

    ctypedef struct aq_move:
        Py_ssize_t shape[4]
        Py_ssize_t source_steps[4]
        Py_ssize_t target_steps[4]
        Py_ssize_t source_first, target_first, source_bytes, target_bytes
        int32_t size, filled, value
        Py_ssize_t source, target

    ctypedef struct aq_workspace:
        uint8_t* arena
        uint8_t* scratch
        Py_ssize_t room, batch

    ctypedef void aq_run(const void* step, const aq_workspace* workspace) noexcept nogil

    ctypedef struct aq_isa:
        const char* name
        int (*available)() noexcept nogil
        int32_t lanes, vectors
        int32_t operand_size[2]
        int32_t shifted[2]
        aq_run* affine
        aq_run* depthwise
        aq_run* elementwise
        aq_run* average_pool
        aq_run* max_pool
        aq_run* move
        aq_run* depthwise_s8

    const aq_isa* const* aq_isas

    void aq_swap_axes(
        const void* x, Py_ssize_t rows, Py_ssize_t columns, int32_t size, void* y,
    ) noexcept nogil


def available():
    """Return the names of the instruction sets that this machine has, best first."""
    names = []
    cdef Py_ssize_t i = 0
    while aq_isas[i] != NULL:
        if aq_isas[i].available():
            names.append(aq_isas[i].name.decode())
        i += 1
    return names


cdef struct Step:
    aq_run* run
    void* step


cdef class Steps:
    """Steps for one instruction set, in order. They keep the arrays that they read."""

    cdef const aq_isa* isa
    cdef list kept
    cdef Step* steps
    cdef Py_ssize_t count, room

    def __cinit__(self, str name, Py_ssize_t room):
        """Make room for so many steps of the instruction set called ``name``, which is there."""
        cdef Py_ssize_t i = 0
        while aq_isas[i] != NULL and aq_isas[i].name.decode() != name:
            i += 1
        self.isa = aq_isas[i]
        self.kept = []
        self.room = room
        self.steps = <Step*>calloc(max(room, 1), sizeof(Step))
        if self.isa == NULL or self.steps == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef Py_ssize_t i
        if self.steps != NULL:
            for i in range(self.count):
                free(self.steps[i].step)
            free(self.steps)

    def __len__(self):
        return self.count

    @property
    def name(self):
        """The name of the instruction set."""
        return self.isa.name.decode()

    @property
    def layout(self):
        """Lanes, most vectors, for int8 and int16 operand sizes and what is added; depthwise_s8?"""
        return (
            self.isa.lanes, self.isa.vectors,
            (self.isa.operand_size[0], self.isa.operand_size[1]),
            (self.isa.shifted[0], self.isa.shifted[1]),
            self.isa.depthwise_s8 != NULL,
        )

    cdef void* _new(self, aq_run* run, size_t size) except NULL:
        cdef void* step = NULL
        if self.count < self.room:
            step = calloc(1, size)
        if step == NULL:
            raise MemoryError
        self.steps[self.count].run = run
        self.steps[self.count].step = step
        self.count += 1
        return step

    cdef const int32_t* _numbers(self, const int32_t[::1] values):
        self.kept.append(values)
        return &values[0]

    cdef const void* _bytes(self, const uint8_t[::1] values):
        self.kept.append(values)
        return &values[0]

    cdef aq_finish _finish(self, tuple finish):
        cdef aq_finish f
        shift, multiplier, upper, factor, numbers = finish
        f.shift = self._numbers(shift)
        f.multiplier = self._numbers(multiplier)
        f.upper = self._numbers(upper)
        f.factor = self._numbers(factor)
        f.form, f.offset, f.lower, f.output_size, f.residual_size = numbers
        return f

    cdef aq_images _images(self, tuple numbers):
        cdef aq_images m
        (m.height, m.width, m.channels, m.top, m.left, m.padded_height, m.padded_width, m.size,
         m.operand_size, m.pad_value, m.copied) = numbers
        return m

    def affine(self, tuple images, tuple finish, weight, bias, pixels, offsets, tuple numbers):
        """Add a convolution or fully connected layer; tuples in the order of the structures."""
        cdef aq_affine* s = <aq_affine*>self._new(self.isa.affine, sizeof(aq_affine))
        s.images, s.finish = self._images(images), self._finish(finish)
        s.weight, s.bias = self._bytes(weight), self._numbers(bias)
        s.pixels, s.offsets = self._numbers(pixels), self._numbers(offsets)
        (s.pixel_count, s.image_values, s.steps, s.groups, s.group_outputs, s.group_channels,
         s.source, s.residual, s.target) = numbers

    def depthwise(self, tuple images, tuple finish, weight, bias, tuple numbers):
        """Add a depthwise convolution; operands of one byte go to depthwise_s8."""
        cdef aq_images m = self._images(images)
        cdef aq_run* run = self.isa.depthwise_s8 if m.operand_size == 1 else self.isa.depthwise
        cdef aq_depthwise* s = <aq_depthwise*>self._new(run, sizeof(aq_depthwise))
        s.images, s.finish = self._images(images), self._finish(finish)
        s.weight, s.bias = self._bytes(weight), self._numbers(bias)
        (s.kernel_height, s.kernel_width, s.stride_y, s.stride_x, s.dilation_y, s.dilation_x,
         s.height, s.width, s.source, s.residual, s.target) = numbers

    def elementwise(self, tuple finish, tuple numbers):
        """Add a sum of multiples."""
        cdef aq_elementwise* s = <aq_elementwise*>self._new(
            self.isa.elementwise, sizeof(aq_elementwise))
        s.finish = self._finish(finish)
        (s.count, s.factors[0], s.factors[1], s.bias, s.size, s.binary, s.sources[0],
         s.sources[1], s.target) = numbers

    cdef void _pool(self, aq_pool* s, tuple numbers) except *:
        (s.in_height, s.in_width, s.channels, s.height, s.width, s.window_height, s.window_width,
         s.stride_y, s.stride_x, s.dilation_y, s.dilation_x, s.top, s.left, s.bias,
         s.zero_point, s.lower, s.upper, s.size, s.source, s.target) = numbers

    def average_pool(self, finish, counts, tuple numbers):
        """Add an average pool, with a requantization or with counts that divide; else None."""
        cdef aq_pool* s = <aq_pool*>self._new(self.isa.average_pool, sizeof(aq_pool))
        if finish is not None:
            s.finish = self._finish(finish)
        if counts is not None:
            s.counts = self._numbers(counts)
        self._pool(s, numbers)

    def max_pool(self, tuple numbers):
        """Add a max pool."""
        cdef aq_pool* s = <aq_pool*>self._new(self.isa.max_pool, sizeof(aq_pool))
        self._pool(s, numbers)

    def move(self, tuple shape, tuple source_steps, tuple target_steps, tuple numbers):
        """Add a copy of values; four axes."""
        cdef aq_move* s = <aq_move*>self._new(self.isa.move, sizeof(aq_move))
        cdef Py_ssize_t i
        for i in range(4):
            s.shape[i] = shape[i]
            s.source_steps[i], s.target_steps[i] = source_steps[i], target_steps[i]
        (s.source_first, s.target_first, s.source_bytes, s.target_bytes, s.size, s.filled,
         s.value, s.source, s.target) = numbers

    def run(
        self, Py_ssize_t first, Py_ssize_t stop, uint8_t[::1] arena, uint8_t[::1] scratch,
        Py_ssize_t room, Py_ssize_t batch,
    ):
        """Run the steps [first, stop) on a batch, at most ``room``."""
        cdef aq_workspace w
        cdef Py_ssize_t i
        w.arena, w.scratch = &arena[0], &scratch[0]
        w.room, w.batch = room, batch
        with nogil:
            for i in range(first, stop):
                self.steps[i].run(self.steps[i].step, &w)


def swap_axes(
    const uint8_t[::1] x, uint8_t[::1] y, Py_ssize_t images, Py_ssize_t rows, Py_ssize_t columns,
    int size,
):
    """Write images of (rows, columns) values of ``size`` bytes as (columns, rows)."""
    cdef Py_ssize_t n, values = rows * columns * size
    with nogil:
        if rows == 1 or columns == 1:
            memcpy(&y[0], &x[0], images * values)
        else:
            for n in range(images):
                aq_swap_axes(&x[n * values], rows, columns, size, &y[n * values])
