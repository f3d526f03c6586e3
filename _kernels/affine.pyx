"""Layers with weights: convolution, depthwise convolution, fully connected.

Data and weights arrive as int16, whatever their stored type: one loop then serves all types, and
the product of two int16 is what the vector instructions of the host multiply best. The doors
widen, pad and allocate; see `aidge_quant.kernels.affine`.
"""
from libc.stdint cimport int8_t, int16_t, int32_t
from libc.string cimport memcpy

from _kernels.requant cimport Requantizer, finish_row, requantizer, stored_t

cdef extern from "matmul.h":
    void aq_matmul(
        const int16_t* rows, Py_ssize_t row_count, const int16_t* weight,
        Py_ssize_t output_count, Py_ssize_t depth, const int32_t* bias, int32_t* acc,
        Py_ssize_t stride,
    ) noexcept nogil

cdef extern from "multiversion.h":
    ctypedef void multiversion "AQ_MULTIVERSION void"


cdef multiversion _add_residual(
    int32_t* acc, Py_ssize_t rows, Py_ssize_t channels, const int32_t* factors, Py_ssize_t stride,
    const int16_t* residual,
) noexcept nogil:
    """Add factor * residual; the overflow proof bounds the sum and every product."""
    cdef Py_ssize_t i, c
    for i in range(rows):
        for c in range(channels):
            acc[i * channels + c] += factors[c * stride] * residual[i * channels + c]


cdef multiversion _finish(
    const int32_t* acc, Py_ssize_t rows, Py_ssize_t channels, const Requantizer* r, stored_t* y,
) noexcept nogil:
    cdef Py_ssize_t i
    if r.stride == 0 and r.upper_stride == 0:
        finish_row(acc, rows * channels, r, y)
        return
    for i in range(rows):
        finish_row(acc + i * channels, channels, r, y + i * channels)


cdef void _gather(
    const int16_t* x, Py_ssize_t width, Py_ssize_t channels, Py_ssize_t group_channels,
    Py_ssize_t kernel_height, Py_ssize_t kernel_width, Py_ssize_t stride_x,
    Py_ssize_t dilation_y, Py_ssize_t dilation_x, Py_ssize_t count, Py_ssize_t depth,
    int16_t* rows,
) noexcept nogil:
    """Write the windows of ``count`` neighbouring outputs, one a row of ``depth`` values."""
    cdef Py_ssize_t i, ky, kx, run, runs
    cdef const int16_t* source
    cdef int16_t* target
    # Taps that lie side by side in memory are copied at once.
    if dilation_x == 1 and group_channels == channels:
        run, runs = kernel_width * channels, 1
    else:
        run, runs = group_channels, kernel_width
    for i in range(count):
        target = rows + i * depth
        for ky in range(kernel_height):
            source = x + (ky * dilation_y * width + i * stride_x) * channels
            for kx in range(runs):
                memcpy(target, source + kx * dilation_x * channels, run * sizeof(int16_t))
                target += run


def conv(
    const int16_t[:, :, :, ::1] x,
    const int16_t[:, :, ::1] weight,
    const int32_t[::1] bias,
    tuple window,
    tuple stride,
    tuple dilation,
    const int32_t[::1] constants,
    const int32_t[::1] shift,
    const int32_t[::1] multiplier,
    const int32_t[::1] upper,
    const int32_t[::1] factors,
    const int16_t[:, :, :, ::1] residual,
    int16_t[:, ::1] rows,
    int32_t[:, ::1] acc,
    stored_t[:, :, :, ::1] y,
):
    """Write the convolution of padded images.

    x (batch, height, width, in); weight (groups, out / groups, depth), its taps in the order
    (ky, kx, i) and then zeros up to depth; factors (0,), or (1,) or (out,) and a residual of the
    shape of y; rows (output width, depth), zeros; acc (output width, out).
    """
    cdef Py_ssize_t n, oy, g
    cdef Py_ssize_t groups = weight.shape[0], outputs = weight.shape[1], depth = weight.shape[2]
    cdef Py_ssize_t width = x.shape[2], channels = x.shape[3], group_channels = channels // groups
    cdef Py_ssize_t kernel_height = window[0], kernel_width = window[1]
    cdef Py_ssize_t stride_y = stride[0], stride_x = stride[1]
    cdef Py_ssize_t dilation_y = dilation[0], dilation_x = dilation[1]
    cdef Requantizer r = requantizer(constants, shift, multiplier, upper)
    with nogil:
        for n in range(y.shape[0]):
            for oy in range(y.shape[1]):
                for g in range(groups):
                    _gather(
                        &x[n, oy * stride_y, 0, g * group_channels], width, channels,
                        group_channels, kernel_height, kernel_width, stride_x, dilation_y,
                        dilation_x, y.shape[2], depth, &rows[0, 0])
                    aq_matmul(
                        &rows[0, 0], y.shape[2], &weight[g, 0, 0], outputs, depth,
                        &bias[g * outputs], &acc[0, g * outputs], groups * outputs)
                if factors.shape[0] > 0:
                    _add_residual(
                        &acc[0, 0], y.shape[2], y.shape[3], &factors[0],
                        1 if factors.shape[0] > 1 else 0, &residual[n, oy, 0, 0])
                _finish(&acc[0, 0], y.shape[2], y.shape[3], &r, &y[n, oy, 0, 0])


cdef multiversion _depthwise_row(
    const int16_t* x, Py_ssize_t width, Py_ssize_t channels, const int16_t* weight,
    const int32_t* bias, Py_ssize_t kernel_height, Py_ssize_t kernel_width, Py_ssize_t stride_x,
    Py_ssize_t dilation_y, Py_ssize_t dilation_x, Py_ssize_t count, int32_t* acc,
) noexcept nogil:
    cdef Py_ssize_t i, ky, kx, c
    cdef const int16_t* source
    cdef const int16_t* taps
    cdef int32_t* total
    for i in range(count):
        total = acc + i * channels
        memcpy(total, bias, channels * sizeof(int32_t))
        for ky in range(kernel_height):
            for kx in range(kernel_width):
                source = x + (ky * dilation_y * width + i * stride_x + kx * dilation_x) * channels
                taps = weight + (ky * kernel_width + kx) * channels
                for c in range(channels):
                    total[c] += <int32_t>source[c] * taps[c]


def depthwise_conv(
    const int16_t[:, :, :, ::1] x,
    const int16_t[:, :, ::1] weight,
    const int32_t[::1] bias,
    tuple stride,
    tuple dilation,
    const int32_t[::1] constants,
    const int32_t[::1] shift,
    const int32_t[::1] multiplier,
    const int32_t[::1] upper,
    const int32_t[::1] factors,
    const int16_t[:, :, :, ::1] residual,
    int32_t[:, ::1] acc,
    stored_t[:, :, :, ::1] y,
):
    """Write the depthwise convolution of padded images.

    x (batch, height, width, channels); weight (kernel height, kernel width, channels); factors and
    residual as those of ``conv``; acc (output width, channels).
    """
    cdef Py_ssize_t n, oy
    cdef Py_ssize_t stride_y = stride[0], stride_x = stride[1]
    cdef Py_ssize_t dilation_y = dilation[0], dilation_x = dilation[1]
    cdef Requantizer r = requantizer(constants, shift, multiplier, upper)
    with nogil:
        for n in range(y.shape[0]):
            for oy in range(y.shape[1]):
                _depthwise_row(
                    &x[n, oy * stride_y, 0, 0], x.shape[2], x.shape[3], &weight[0, 0, 0],
                    &bias[0], weight.shape[0], weight.shape[1], stride_x, dilation_y, dilation_x,
                    y.shape[2], &acc[0, 0])
                if factors.shape[0] > 0:
                    _add_residual(
                        &acc[0, 0], y.shape[2], y.shape[3], &factors[0],
                        1 if factors.shape[0] > 1 else 0, &residual[n, oy, 0, 0])
                _finish(&acc[0, 0], y.shape[2], y.shape[3], &r, &y[n, oy, 0, 0])


def fc(
    const int16_t[:, ::1] x,
    const int16_t[:, ::1] weight,
    const int32_t[::1] bias,
    const int32_t[::1] constants,
    const int32_t[::1] shift,
    const int32_t[::1] multiplier,
    const int32_t[::1] upper,
    const int32_t[::1] factors,
    const int16_t[:, ::1] residual,
    int32_t[:, ::1] acc,
    stored_t[:, ::1] y,
):
    """Write the fully connected layer of rows.

    x (rows, depth) and weight (out, depth), both with zeros up to depth; factors and residual as
    those of ``conv``; acc (rows of a block, out).
    """
    cdef Py_ssize_t index, first, count, block = acc.shape[0], rows = x.shape[0]
    cdef Requantizer r = requantizer(constants, shift, multiplier, upper)
    with nogil:
        for index in range((rows + block - 1) // block):
            first = index * block
            count = min(block, rows - first)
            aq_matmul(
                &x[first, 0], count, &weight[0, 0], weight.shape[0], x.shape[1], &bias[0],
                &acc[0, 0], weight.shape[0])
            if factors.shape[0] > 0:
                _add_residual(
                    &acc[0, 0], count, weight.shape[0], &factors[0],
                    1 if factors.shape[0] > 1 else 0, &residual[first, 0])
            _finish(&acc[0, 0], count, weight.shape[0], &r, &y[first, 0])
