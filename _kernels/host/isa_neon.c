/* aarch64 of any kind: sums of products of int16, for int8 data too.
 *
 * Products of bytes are no faster: 8 of them and their sums in pairs take two instructions, as 8
 * products of int16 and their sums do.
 */
#define AQ_ISA aq_neon
#define AQ_ISA_NAME "neon"
#define AQ_S8_DIRECT 0
#define AQ_S8_SHIFTED 0
/* 20 sums, 4 weights and the data of all rows: with one row more gcc moves sums to memory. */
#define AQ_ROWS(V) (((V) == 2) ? 5 : 8)
#define AQ_EACH_TILE(X) AQ_ROWS_8(X, 1) AQ_ROWS_4(X, 2) X(5, 2)

static int aq_isa_available(void)
{
    return 1;
}

#include "neon.h"
#include "steps.h"
