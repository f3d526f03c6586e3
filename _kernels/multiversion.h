/* AQ_MULTIVERSION: one function, compiled once per x86 instruction set, chosen when loaded.
 *
 * For hot loops on integers only: their result does not depend on the clone that runs.  A
 * compiler, machine or C library that cannot choose at load time compiles the function once.
 * In a .pyx file:
 *
 *     cdef extern from "multiversion.h":
 *         ctypedef void multiversion "AQ_MULTIVERSION void"
 *
 *     cdef multiversion _hot_loop(const int8_t* x, ...) noexcept nogil:
 *
 * The sanitizers run before the loader's choice can be made: define AQ_NO_MULTIVERSION.
 */
#ifndef AQ_MULTIVERSION_H
#define AQ_MULTIVERSION_H

#if !defined(AQ_NO_MULTIVERSION) && defined(__has_attribute)
#  if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__)
#    if __has_attribute(target_clones)
#      define AQ_MULTIVERSION \
          __attribute__((target_clones("default", "avx2", "arch=skylake-avx512")))
#    endif
#  endif
#endif

#ifndef AQ_MULTIVERSION
#  define AQ_MULTIVERSION
#endif

#endif /* AQ_MULTIVERSION_H */
