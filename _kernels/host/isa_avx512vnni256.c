/* AVX-512 VNNI on vectors of 256 bits: the instructions of vnni256.h for machines that slow down
 * with wider ones, and for tests of that header where there is no AVX-VNNI.
 */
#define AQ_ISA aq_avx512vnni256
#define AQ_ISA_NAME "avx512vnni256"

static int aq_isa_available(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("avx512f")
            && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

/* As instructions of their own: gcc 12 copies the accumulators of the intrinsics to memory. */
#if defined(__GNUC__) && !defined(__clang__)
#define AQ_DOT4(acc, a, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "vm"(w))
#define AQ_DOT2(acc, a, w) __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(a), "vm"(w))
#else
#define AQ_DOT4(acc, a, w) ((acc) = _mm256_dpbusd_epi32((acc), (a), (w)))
#define AQ_DOT2(acc, a, w) ((acc) = _mm256_dpwssd_epi32((acc), (a), (w)))
#endif

#include "vnni256.h"
#include "steps.h"
