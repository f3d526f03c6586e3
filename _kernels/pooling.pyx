"""Layers that look at a window of one channel: average and largest value.

The images arrive padded; see `aidge_quant.kernels.pooling`.
"""
from libc.stdint cimport int8_t, int16_t, int32_t
from libc.string cimport memcpy, memset

from _kernels.requant cimport Requantizer, clip, divide_half_up, finish_row, requantizer, stored_t

cdef extern from "multiversion.h":
    ctypedef void multiversion "AQ_MULTIVERSION void"

ctypedef fused data_t:
    int8_t
    int16_t


cdef multiversion _finish(
    const int32_t* acc, Py_ssize_t count, const Requantizer* r, stored_t* y,
) noexcept nogil:
    finish_row(acc, count, r, y)


cdef multiversion _total(
    const int16_t* x, Py_ssize_t width, Py_ssize_t channels, Py_ssize_t window_height,
    Py_ssize_t window_width, int32_t* total,
) noexcept nogil:
    """Add the values of one window to the totals of the channels."""
    cdef Py_ssize_t ky, kx, c
    cdef const int16_t* source
    for ky in range(window_height):
        for kx in range(window_width):
            source = x + (ky * width + kx) * channels
            for c in range(channels):
                total[c] += source[c]


cdef multiversion _largest(
    const data_t* x, Py_ssize_t width, Py_ssize_t channels, Py_ssize_t window_height,
    Py_ssize_t window_width, Py_ssize_t dilation_y, Py_ssize_t dilation_x, data_t* y,
) noexcept nogil:
    """Write the largest value of one window for each channel."""
    cdef Py_ssize_t ky, kx, c
    cdef const data_t* source
    memcpy(y, x, channels * sizeof(data_t))
    for ky in range(window_height):
        for kx in range(window_width):
            source = x + (ky * dilation_y * width + kx * dilation_x) * channels
            for c in range(channels):
                y[c] = source[c] if source[c] > y[c] else y[c]


def avg_pool_shift(
    const int16_t[:, :, :, ::1] x,
    tuple window,
    tuple stride,
    int32_t bias,
    const int32_t[::1] constants,
    const int32_t[::1] shift,
    const int32_t[::1] multiplier,
    const int32_t[::1] upper,
    int32_t[::1] acc,
    stored_t[:, :, :, ::1] y,
):
    """Write the requantized sum of every window; acc (channels,)."""
    cdef Py_ssize_t n, oy, ox, c
    cdef Py_ssize_t window_height = window[0], window_width = window[1]
    cdef Py_ssize_t stride_y = stride[0], stride_x = stride[1]
    cdef Requantizer r = requantizer(constants, shift, multiplier, upper)
    with nogil:
        for n in range(y.shape[0]):
            for oy in range(y.shape[1]):
                for ox in range(y.shape[2]):
                    for c in range(y.shape[3]):
                        acc[c] = bias
                    _total(
                        &x[n, oy * stride_y, ox * stride_x, 0], x.shape[2], x.shape[3],
                        window_height, window_width, &acc[0])
                    _finish(&acc[0], y.shape[3], &r, &y[n, oy, ox, 0])


def avg_pool_divide(
    const int16_t[:, :, :, ::1] x,
    tuple window,
    tuple stride,
    const int32_t[:, ::1] counts,
    int32_t zero_point,
    int32_t lower,
    int32_t upper,
    int32_t[::1] acc,
    data_t[:, :, :, ::1] y,
):
    """Write the rounded average of every window.

    x has its zero point subtracted; counts (output height, output width) divides; acc
    (channels,).
    """
    cdef Py_ssize_t n, oy, ox, c
    cdef Py_ssize_t window_height = window[0], window_width = window[1]
    cdef Py_ssize_t stride_y = stride[0], stride_x = stride[1]
    cdef int32_t average
    with nogil:
        for n in range(y.shape[0]):
            for oy in range(y.shape[1]):
                for ox in range(y.shape[2]):
                    memset(&acc[0], 0, y.shape[3] * sizeof(int32_t))
                    _total(
                        &x[n, oy * stride_y, ox * stride_x, 0], x.shape[2], x.shape[3],
                        window_height, window_width, &acc[0])
                    for c in range(y.shape[3]):
                        average = divide_half_up(acc[c], counts[oy, ox]) + zero_point
                        y[n, oy, ox, c] = <data_t>clip(average, lower, upper)


def max_pool(
    const data_t[:, :, :, ::1] x,
    tuple window,
    tuple stride,
    tuple dilation,
    data_t[:, :, :, ::1] y,
):
    """Write the largest value of every window."""
    cdef Py_ssize_t n, oy, ox
    cdef Py_ssize_t window_height = window[0], window_width = window[1]
    cdef Py_ssize_t stride_y = stride[0], stride_x = stride[1]
    cdef Py_ssize_t dilation_y = dilation[0], dilation_x = dilation[1]
    with nogil:
        for n in range(y.shape[0]):
            for oy in range(y.shape[1]):
                for ox in range(y.shape[2]):
                    _largest(
                        &x[n, oy * stride_y, ox * stride_x, 0], x.shape[2], x.shape[3],
                        window_height, window_width, dilation_y, dilation_x, &y[n, oy, ox, 0])
