/* What the measuring rig needs of the program that it measures, and what it offers it.
 *
 * The rig is for emulated boards only: it talks to the host by semihosting and counts instructions
 * with a timer of the board, see rig.c.
 */
#ifndef RIG_H
#define RIG_H

#include <stdint.h>

/* Number of runs to measure; at least 1. */
int32_t bench_cases(void);

/* Before a run, not counted: bring the input. */
void bench_prepare(int32_t position);

/* The measured region. */
void bench_infer(void);

/* After a run, not counted: return how many values of the output are wrong. */
int32_t bench_wrong(int32_t position);

#endif /* RIG_H */
