"""Windows of float images as columns of a matrix, and back; see `aidge_quant.kernels.unfolding`."""
from libc.string cimport memcpy

ctypedef fused real_t:
    float
    double


cdef inline void _add(const real_t* x, Py_ssize_t count, real_t* y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        y[i] += x[i]


def unfold(
    const real_t[:, :, :, ::1] x,
    tuple window,
    tuple stride,
    tuple dilation,
    tuple outputs,
    real_t[:, :, ::1] y,
):
    """y[n, (c, ky, kx), (oy, ox)] = x[n, c, oy sy + ky dy, ox sx + kx dx]."""
    cdef Py_ssize_t wy = window[0], wx = window[1], sy = stride[0], sx = stride[1]
    cdef Py_ssize_t dy = dilation[0], dx = dilation[1], height = outputs[0], width = outputs[1]
    cdef Py_ssize_t n, c, ky, kx, oy, ox, row
    cdef const real_t* source
    cdef real_t* target
    with nogil:
        for n in range(x.shape[0]):
            row = 0
            for c in range(x.shape[1]):
                for ky in range(wy):
                    for kx in range(wx):
                        target = &y[n, row, 0]
                        row += 1
                        for oy in range(height):
                            source = &x[n, c, oy * sy + ky * dy, kx * dx]
                            if sx == 1:
                                memcpy(target, source, width * sizeof(real_t))
                            else:
                                for ox in range(width):
                                    target[ox] = source[ox * sx]
                            target += width


def fold(
    const real_t[:, :, ::1] x,
    tuple window,
    tuple stride,
    tuple dilation,
    tuple outputs,
    real_t[:, :, :, ::1] y,
):
    """Add x[n, (c, ky, kx), (oy, ox)] to y[n, c, oy sy + ky dy, ox sx + kx dx]."""
    cdef Py_ssize_t wy = window[0], wx = window[1], sy = stride[0], sx = stride[1]
    cdef Py_ssize_t dy = dilation[0], dx = dilation[1], height = outputs[0], width = outputs[1]
    cdef Py_ssize_t n, c, ky, kx, oy, ox, row
    cdef const real_t* source
    cdef real_t* target
    with nogil:
        for n in range(y.shape[0]):
            row = 0
            for c in range(y.shape[1]):
                for ky in range(wy):
                    for kx in range(wx):
                        source = &x[n, row, 0]
                        row += 1
                        for oy in range(height):
                            target = &y[n, c, oy * sy + ky * dy, kx * dx]
                            if sx == 1:
                                _add(source, width, target)
                            else:
                                for ox in range(width):
                                    target[ox * sx] += source[ox]
                            source += width
