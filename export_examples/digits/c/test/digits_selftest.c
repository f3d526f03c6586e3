/* Self-test of digits: every golden output must come out bit for bit.
 *
 * Written by aidge_quant 0.1.0 from the network "digits"; edit the model, not this file.
 */
/* Define DIGITS_SELFTEST_NO_MAIN to call digits_selftest() from your own program; it then
 * needs no standard library.
 */
#include "digits.h"
#include "digits_golden.h"

int digits_selftest(void);

/* Return the number of wrong output values over all cases. */
int digits_selftest(void)
{
    static digits_t net;
    static int32_t output[DIGITS_OUTPUT_SIZE];
    int wrong = 0;

    digits_init(&net);
    for (int32_t c = 0; c < DIGITS_GOLDEN_CASES; c++) {
        digits_run(&net,
                &digits_golden_input[c * DIGITS_INPUT_SIZE],
                output);
        for (int32_t i = 0; i < DIGITS_OUTPUT_SIZE; i++) {
            if (output[i] != digits_golden_output[(c * DIGITS_OUTPUT_SIZE) + i]) {
                wrong++;
            }
        }
    }
    return wrong;
}

#ifndef DIGITS_SELFTEST_NO_MAIN
#include <stdio.h>

int main(void)
{
    const int wrong = digits_selftest();

    (void)printf("digits: %d cases, %d wrong values\n", DIGITS_GOLDEN_CASES, wrong);
    return (wrong == 0) ? 0 : 1;
}
#endif
