/* AVX-VNNI: the instructions of vnni256.h for machines without AVX-512. */
#include <cpuid.h>

#define AQ_ISA aq_avxvnni
#define AQ_ISA_NAME "avxvnni"

/* Read by hand: not every compiler knows the name.  "avx2" includes that the system saves the
 * registers.
 */
static int aq_isa_available(void)
{
    unsigned int a;
    unsigned int b;
    unsigned int c;
    unsigned int d;

    return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 0, &a, &b, &c, &d) && a >= 1
            && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1U << 4)) != 0;
}

/* As instructions of their own: gcc 12 copies the accumulators of the intrinsics to memory. */
#if defined(__GNUC__) && !defined(__clang__)
#define AQ_DOT4(acc, a, w) __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(a), "xm"(w))
#define AQ_DOT2(acc, a, w) __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(acc) : "x"(a), "xm"(w))
#else
#define AQ_DOT4(acc, a, w) ((acc) = _mm256_dpbusd_avx_epi32((acc), (a), (w)))
#define AQ_DOT2(acc, a, w) ((acc) = _mm256_dpwssd_avx_epi32((acc), (a), (w)))
#endif

#include "vnni256.h"
#include "steps.h"
