"""The steps of the golden model: a list of them, run without Python in between.

Everything is checked, packed and laid out by `aidge_quant.kernels.engine`; `_kernels/host` has the
steps themselves, once for each instruction set.
"""
from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport int8_t, int32_t, uint8_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

cdef extern from "host/engine.h":
    ctypedef struct aq_finish:
        const int32_t* shift
        const int32_t* multiplier
        const int32_t* upper
        const int32_t* factor
        int32_t form, offset, lower, output_size, residual_size, wide

    ctypedef struct aq_images:
        Py_ssize_t height, width, channels, top, left, padded_height, padded_width
        int32_t size, operand_size, pad_value, copied

    ctypedef struct aq_affine:
        aq_images images
        aq_finish finish
        const void* weight
        Py_ssize_t block
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
        const int32_t* shift
        const int32_t* multiplier
        const int8_t* upper
        const int32_t* columns
        Py_ssize_t phases, pitch, source_pitch, planes, ring_rows, row_values

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

    ctypedef struct aq_barrier:
        pass

    ctypedef struct aq_workspace:
        uint8_t* arena
        uint8_t* scratch
        Py_ssize_t room, batch, worker, workers
        aq_barrier* barrier


    ctypedef void aq_run(const void* step, const aq_workspace* workspace) noexcept nogil

    ctypedef struct aq_step:
        aq_run* run
        void* step

    ctypedef struct aq_job:
        const aq_step* steps
        Py_ssize_t count
        aq_workspace workspace

    void aq_run_jobs(aq_job* jobs, Py_ssize_t count) noexcept nogil

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


cdef extern from "<stdlib.h>":
    void* aligned_alloc(size_t alignment, size_t size) noexcept nogil

#: Arrays begin at multiples of this many bytes: vectors that lie across two lines of the cache
#: take twice as long to load.
cdef enum:
    ALIGNMENT = 64


cdef class Steps:
    """Steps for one instruction set, in order. They own copies of the arrays that they read."""

    cdef const aq_isa* isa
    cdef void** arrays
    cdef Py_ssize_t array_count, array_room
    cdef aq_step* steps
    cdef Py_ssize_t count, room

    def __cinit__(self, str name, Py_ssize_t room):
        """Make room for so many steps of the instruction set called ``name``, which is there."""
        cdef Py_ssize_t i = 0
        while aq_isas[i] != NULL and aq_isas[i].name.decode() != name:
            i += 1
        self.isa = aq_isas[i]
        if self.isa == NULL:
            raise KeyError(name)
        self.room = room
        self.steps = <aq_step*>calloc(max(room, 1), sizeof(aq_step))
        if self.steps == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef Py_ssize_t i
        if self.steps != NULL:
            for i in range(self.count):
                free(self.steps[i].step)
            free(self.steps)
        for i in range(self.array_count):
            free(self.arrays[i])
        free(self.arrays)

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

    cdef void* _copy(self, const void* values, size_t size) except NULL:
        cdef void* copy
        cdef void** arrays
        if self.array_count == self.array_room:
            self.array_room = max(2 * self.array_room, 64)
            arrays = <void**>realloc(self.arrays, self.array_room * sizeof(void*))
            if arrays == NULL:
                raise MemoryError
            self.arrays = arrays
        copy = aligned_alloc(ALIGNMENT, (size // ALIGNMENT + 1) * ALIGNMENT)
        if copy == NULL:
            raise MemoryError
        self.arrays[self.array_count] = copy
        self.array_count += 1
        return memcpy(copy, values, size)

    cdef const int32_t* _numbers(self, const int32_t[::1] values) except NULL:
        return <const int32_t*>self._copy(&values[0], values.nbytes)

    cdef const void* _bytes(self, const uint8_t[::1] values) except NULL:
        return self._copy(&values[0], values.nbytes)

    cdef aq_finish _finish(self, tuple finish):
        cdef aq_finish f
        shift, multiplier, upper, factor, numbers = finish
        f.shift = self._numbers(shift)
        f.multiplier = self._numbers(multiplier)
        f.upper = self._numbers(upper)
        f.factor = self._numbers(factor)
        f.form, f.offset, f.lower, f.output_size, f.residual_size, f.wide = numbers
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
        (s.block, s.pixel_count, s.image_values, s.steps, s.groups, s.group_outputs,
         s.group_channels, s.source, s.residual, s.target) = numbers

    cdef void _depthwise(
        self, aq_depthwise* s, tuple images, tuple finish, weight, bias, tuple numbers,
    ) except *:
        s.images, s.finish = self._images(images), self._finish(finish)
        s.weight, s.bias = self._bytes(weight), self._numbers(bias)
        (s.kernel_height, s.kernel_width, s.stride_y, s.stride_x, s.dilation_y, s.dilation_x,
         s.height, s.width, s.source, s.residual, s.target) = numbers

    def depthwise(self, tuple images, tuple finish, weight, bias, tuple numbers):
        """Add a depthwise convolution of int16 operands."""
        cdef aq_depthwise* s = <aq_depthwise*>self._new(self.isa.depthwise, sizeof(aq_depthwise))
        self._depthwise(s, images, finish, weight, bias, numbers)

    def depthwise_s8(
        self, tuple images, tuple finish, weight, bias, tuple numbers, shift, multiplier, upper,
        columns, tuple ring,
    ):
        """Add a depthwise convolution of int8 operands, for a set that has one."""
        cdef aq_depthwise* s = <aq_depthwise*>self._new(
            self.isa.depthwise_s8, sizeof(aq_depthwise))
        self._depthwise(s, images, finish, weight, bias, numbers)
        s.shift, s.multiplier = self._numbers(shift), self._numbers(multiplier)
        s.columns = self._numbers(columns)
        s.upper = <const int8_t*>self._bytes(upper)
        (s.phases, s.pitch, s.source_pitch, s.planes, s.ring_rows, s.row_values) = ring

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
        self, Py_ssize_t first, Py_ssize_t stop, list workspaces, Py_ssize_t room,
        Py_ssize_t workers,
    ):
        """Run the steps [first, stop), one thread for each workspace or so many workers in one.

        Workspaces are (arena, scratch, batch), uint8 arrays and at most ``room`` images.
        """
        cdef aq_job* jobs
        cdef aq_barrier barrier
        cdef uint8_t[::1] arena, scratch
        cdef Py_ssize_t i, count = max(workers, len(workspaces))
        memset(&barrier, 0, sizeof(barrier))
        jobs = <aq_job*>calloc(count, sizeof(aq_job))
        if jobs == NULL:
            raise MemoryError
        try:
            for i in range(count):
                arena, scratch, jobs[i].workspace.batch = workspaces[i if workers == 1 else 0]
                jobs[i].steps, jobs[i].count = &self.steps[first], stop - first
                jobs[i].workspace.arena = &arena[0]
                jobs[i].workspace.scratch = &scratch[0]
                jobs[i].workspace.room = room
                jobs[i].workspace.worker = i if workers > 1 else 0
                jobs[i].workspace.workers = workers
                jobs[i].workspace.barrier = &barrier
            with nogil:
                aq_run_jobs(jobs, count)
        finally:
            free(jobs)


cdef void _copy(
    const uint8_t* x, uint8_t* y, Py_ssize_t images, Py_ssize_t rows, Py_ssize_t columns, int size,
) noexcept nogil:
    """Copy images, their two axes swapped."""
    cdef Py_ssize_t n, values = rows * columns * size
    if rows == 1 or columns == 1:
        memcpy(y, x, images * values)
    else:
        for n in range(images):
            aq_swap_axes(x + n * values, rows, columns, size, y + n * values)


def put(
    array, Py_ssize_t first, uint8_t[::1] arena, Py_ssize_t begin, Py_ssize_t images,
    Py_ssize_t rows, Py_ssize_t columns, int size,
):
    """Write images of a C-contiguous array to an arena, from byte ``begin`` on.

    Image n of the array has (rows, columns) values of ``size`` bytes, whose axes are swapped.
    """
    cdef Py_ssize_t values = rows * columns * size
    cdef Py_buffer buffer
    PyObject_GetBuffer(array, &buffer, PyBUF_SIMPLE)
    try:
        if (first + images) * values > buffer.len or begin + images * values > arena.shape[0]:
            raise IndexError
        with nogil:
            _copy(<const uint8_t*>buffer.buf + first * values, &arena[begin], images, rows,
                  columns, size)
    finally:
        PyBuffer_Release(&buffer)


def take(
    array, Py_ssize_t first, const uint8_t[::1] arena, Py_ssize_t begin, Py_ssize_t images,
    Py_ssize_t rows, Py_ssize_t columns, int size,
):
    """Write images of an arena, of (rows, columns) values, to a C-contiguous array."""
    cdef Py_ssize_t values = rows * columns * size
    cdef Py_buffer buffer
    PyObject_GetBuffer(array, &buffer, PyBUF_WRITABLE)
    try:
        if (first + images) * values > buffer.len or begin + images * values > arena.shape[0]:
            raise IndexError
        with nogil:
            _copy(&arena[begin], <uint8_t*>buffer.buf + first * values, images, rows, columns,
                  size)
    finally:
        PyBuffer_Release(&buffer)
