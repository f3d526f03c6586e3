"""The rounding of the integer contract (version 1), for every kernel.

Round half up: ``floor(acc / 2**shift + 1/2)``.  The C templates print the same arithmetic.
"""
from libc.stdint cimport int32_t, int64_t


cdef inline int64_t round_shift(int32_t acc, int shift) noexcept nogil:
    """Return ``acc * 2**-shift``, rounded half up; shift -31 to 31.

    Fits in 64 bits: 2**31 * 2**31 to the left, 2**31 + 2**30 to the right.
    """
    if shift > 0:
        return (<int64_t>acc + (<int64_t>1 << (shift - 1))) >> shift
    # A product: shifting a negative number to the left is undefined in C.
    return <int64_t>acc * (<int64_t>1 << -shift)
