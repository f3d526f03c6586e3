"""Layers that work element by element: add, mul, rescale, clamp, lookup.

Accumulators are made a block at a time and requantized from there, so that the rounding stays in
one place and the loops stay simple enough to become vector code.
"""
from libc.stdint cimport int8_t, int16_t, int32_t

from _kernels.requant cimport Requantizer, finish_row, requantizer, stored_t

cdef extern from "multiversion.h":
    ctypedef void multiversion "AQ_MULTIVERSION void"

cdef enum:
    BLOCK = 1024

ctypedef fused data_t:
    int8_t
    int16_t


cdef multiversion _finish(
    const int32_t* acc, Py_ssize_t count, const Requantizer* r, stored_t* y,
) noexcept nogil:
    finish_row(acc, count, r, y)


cdef multiversion _sum(
    const data_t* a, int32_t a_multiplier, const data_t* b, int32_t b_multiplier, int32_t bias,
    Py_ssize_t count, int32_t* acc,
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        acc[i] = bias + a[i] * a_multiplier + b[i] * b_multiplier


cdef multiversion _product(
    const data_t* a, int32_t a_zero, const data_t* b, int32_t b_zero, int32_t factor, int32_t bias,
    Py_ssize_t count, int32_t* acc,
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        acc[i] = bias + factor * ((a[i] - a_zero) * (b[i] - b_zero))


cdef multiversion _multiple(
    const data_t* x, int32_t multiplier, int32_t bias, Py_ssize_t count, int32_t* acc,
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        acc[i] = bias + x[i] * multiplier


cdef multiversion _clamp(
    const data_t* x, int32_t lower, int32_t upper, Py_ssize_t count, data_t* y,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef int32_t value
    for i in range(count):
        value = lower if x[i] < lower else x[i]
        y[i] = <data_t>(upper if value > upper else value)


def add(
    const data_t[::1] a,
    const data_t[::1] b,
    int32_t a_multiplier,
    int32_t b_multiplier,
    int32_t bias,
    const int32_t[::1] constants,
    const int32_t[::1] shift,
    const int32_t[::1] multiplier,
    const int32_t[::1] upper,
    stored_t[::1] y,
):
    """Write the requantized ``a * a_multiplier + b * b_multiplier + bias``."""
    cdef int32_t acc[BLOCK]
    cdef Py_ssize_t index, first, count, size = y.shape[0]
    cdef Requantizer r = requantizer(constants, shift, multiplier, upper)
    with nogil:
        for index in range((size + BLOCK - 1) // BLOCK):
            first = index * BLOCK
            count = min(<Py_ssize_t>BLOCK, size - first)
            _sum(&a[first], a_multiplier, &b[first], b_multiplier, bias, count, acc)
            _finish(acc, count, &r, &y[first])


def mul(
    const data_t[:, ::1] a,
    const data_t[:, ::1] b,
    Py_ssize_t repeat,
    int32_t a_zero,
    int32_t b_zero,
    int32_t factor,
    int32_t bias,
    const int32_t[::1] constants,
    const int32_t[::1] shift,
    const int32_t[::1] multiplier,
    const int32_t[::1] upper,
    stored_t[:, ::1] y,
):
    """Write the requantized ``factor * (a - a_zero) * (b - b_zero) + bias``.

    a (rows, columns); b (rows / repeat, columns), each row used ``repeat`` times.
    """
    cdef int32_t acc[BLOCK]
    cdef Py_ssize_t row, index, first, count, columns = a.shape[1]
    cdef Requantizer r = requantizer(constants, shift, multiplier, upper)
    with nogil:
        for row in range(a.shape[0]):
            for index in range((columns + BLOCK - 1) // BLOCK):
                first = index * BLOCK
                count = min(<Py_ssize_t>BLOCK, columns - first)
                _product(
                    &a[row, first], a_zero, &b[row // repeat, first], b_zero, factor, bias,
                    count, acc)
                _finish(acc, count, &r, &y[row, first])


def rescale(
    const data_t[::1] x,
    int32_t factor,
    int32_t bias,
    const int32_t[::1] constants,
    const int32_t[::1] shift,
    const int32_t[::1] multiplier,
    const int32_t[::1] upper,
    stored_t[::1] y,
):
    """Write the requantized ``x * factor + bias``."""
    cdef int32_t acc[BLOCK]
    cdef Py_ssize_t index, first, count, size = y.shape[0]
    cdef Requantizer r = requantizer(constants, shift, multiplier, upper)
    with nogil:
        for index in range((size + BLOCK - 1) // BLOCK):
            first = index * BLOCK
            count = min(<Py_ssize_t>BLOCK, size - first)
            _multiple(&x[first], factor, bias, count, acc)
            _finish(acc, count, &r, &y[first])


def clamp(const data_t[::1] x, int32_t lower, int32_t upper, data_t[::1] y):
    """Write ``x`` held within [lower, upper]."""
    with nogil:
        _clamp(&x[0], lower, upper, x.shape[0], &y[0])


def lookup(const int8_t[:, ::1] x, const int8_t[:, ::1] table, int8_t[:, ::1] y):
    """Write ``table[c, x + 128]``; x (rows, channels), table (1 or channels, 256)."""
    cdef Py_ssize_t i, c
    cdef Py_ssize_t stride = 256 if table.shape[0] > 1 else 0
    cdef const int8_t* entries = &table[0, 0]
    with nogil:
        for i in range(x.shape[0]):
            for c in range(x.shape[1]):
                y[i, c] = entries[c * stride + x[i, c] + 128]
