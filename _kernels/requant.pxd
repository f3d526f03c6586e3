"""The rounding of the integer contract (version 1), for every kernel.

The C templates print the same arithmetic. In the single-shift, half-up form the rounding constant
is part of the accumulator, so that a shift is all that is left to do.

Shifting a negative number to the right is arithmetic on every compiler that Python supports; to
the left it is undefined in C, so a left shift is a product.
"""
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t

# One value for each way from the accumulator to t; aidge_quant.kernels.requantization agrees.
cdef enum Form:
    RIGHT_SHIFTS = 0  # single shift, half up, no shift negative
    SHIFT_HALF_UP = 1
    SHIFT_HALF_EVEN = 2
    MULTIPLIER_HALF_UP = 3
    MULTIPLIER_HALF_EVEN = 4

# The stored types of outputs.
ctypedef fused stored_t:
    int8_t
    int16_t
    int32_t


cdef struct Requantizer:
    const int32_t* shift  # one a channel, or one for all
    const int32_t* multiplier
    const int32_t* upper
    # From a channel's entry to the next: 1, or 0 with one for all.
    Py_ssize_t stride
    Py_ssize_t upper_stride
    int form
    int32_t offset
    int32_t lower


cdef inline Requantizer requantizer(
    const int32_t[::1] constants, const int32_t[::1] shift, const int32_t[::1] multiplier,
    const int32_t[::1] upper,
) noexcept:
    """Return what ``kernels.requantization.packed`` packed, as the loops read it."""
    cdef Requantizer r
    r.form = constants[0]
    r.offset = constants[1]
    r.lower = constants[2]
    r.shift = &shift[0]
    r.multiplier = &multiplier[0]
    r.upper = &upper[0]
    r.stride = 1 if shift.shape[0] > 1 else 0
    r.upper_stride = 1 if upper.shape[0] > 1 else 0
    return r


cdef inline int64_t half_up(int64_t value, int shift) noexcept nogil:
    """Return floor(value / 2**shift + 1/2); |value| < 2**62, shift 1 to 62."""
    return (value + (<int64_t>1 << (shift - 1))) >> shift


cdef inline int64_t half_even(int64_t value, int shift) noexcept nogil:
    """Return value / 2**shift, ties to the even neighbour; |value| < 2**62, shift 1 to 62."""
    # One less than half, and one more where the floor is odd: a tie moves up to the even only.
    return (value + (<int64_t>1 << (shift - 1)) - 1 + ((value >> shift) & 1)) >> shift


cdef inline int64_t floor_shift(int64_t value, int shift) noexcept nogil:
    """Return floor(value * 2**-shift); |value| < 2**31, shift -30 to 30."""
    if shift >= 0:
        return value >> shift
    return value * (<int64_t>1 << -shift)


cdef inline int32_t divide_half_up(int32_t total, int32_t count) noexcept nogil:
    """Return floor(total / count + 1/2); |2 * total| + count < 2**31, count > 0."""
    cdef int32_t numerator = 2 * total + count
    cdef int32_t denominator = 2 * count
    cdef int32_t quotient = numerator / denominator  # towards 0
    return quotient - (1 if numerator < quotient * denominator else 0)


cdef inline int32_t clip(int64_t value, int32_t lower, int32_t upper) noexcept nogil:
    """Return the nearest number in [lower, upper]."""
    if value < lower:
        return lower
    if value > upper:
        return upper
    return <int32_t>value


cdef inline int64_t scaled(int32_t acc, int shift, int32_t multiplier, int form) noexcept nogil:
    """Return t of the contract, for any form."""
    if form == MULTIPLIER_HALF_UP:
        return half_up(<int64_t>acc * multiplier, shift)
    if form == MULTIPLIER_HALF_EVEN:
        return half_even(<int64_t>acc * multiplier, shift)
    if form == SHIFT_HALF_EVEN and shift > 0:
        return half_even(acc, shift)
    return floor_shift(acc, shift)


cdef inline void finish_row(
    const int32_t* acc, Py_ssize_t channels, const Requantizer* r, stored_t* y,
) noexcept nogil:
    """Write clip(t + offset) of the accumulators of all channels at one position.

    With one shift and one upper bound for all, any run of accumulators is a row.
    """
    cdef Py_ssize_t c
    cdef int32_t t, shift = r.shift[0], offset = r.offset, lower = r.lower, upper = r.upper[0]
    cdef int64_t wide
    cdef const int32_t* shifts = r.shift
    if r.form != RIGHT_SHIFTS or r.upper_stride:
        for c in range(channels):
            wide = scaled(acc[c], shifts[c * r.stride], r.multiplier[c * r.stride], r.form)
            y[c] = <stored_t>clip(wide + offset, lower, r.upper[c * r.upper_stride])
    elif r.stride == 0:
        for c in range(channels):
            t = (acc[c] >> shift) + offset  # fits: part of the overflow proof
            t = lower if t < lower else t
            y[c] = <stored_t>(upper if t > upper else t)
    else:
        for c in range(channels):
            t = (acc[c] >> shifts[c]) + offset
            t = lower if t < lower else t
            y[c] = <stored_t>(upper if t > upper else t)
