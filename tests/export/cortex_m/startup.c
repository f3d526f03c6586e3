/* Vector table and start of a Cortex-M for emulated boards. QEMU puts code and data in place when it
 * loads the file, so that only the rest has to be cleared; newlib's own start-up code would put stack
 * and heap where semihosting says, which is not memory of the program on every board.
 */
#include <stdint.h>
#include <stdlib.h>

extern uint32_t __stack;
extern uint32_t __bss_start__[];
extern uint32_t __bss_end__[];

extern int main(void);
extern void initialise_monitor_handles(void);
extern void reset(void);
extern void _init(void);
extern void _fini(void);

/* What newlib calls before and after main. */
void _init(void)
{
}

void _fini(void)
{
}

static void stop(void)
{
    for (;;) {
    }
}

void reset(void)
{
#if defined(__ARM_FEATURE_MVE)
    /* The registers of floating point, which the vectors are in, are switched off at first. */
    *(volatile uint32_t *)0xE000ED88u |= 0x00F00000u;
    __asm__ volatile("dsb\n"
                     "isb\n" ::: "memory");
#endif
    for (uint32_t *to = __bss_start__; to < __bss_end__; to++) {
        *to = 0;
    }
    initialise_monitor_handles();
    exit(main());
}

typedef union {
    uint32_t *stack;
    void (*handler)(void);
} vector_t;

__attribute__((section(".vectors"), used))
static const vector_t vectors[16] = {
    { .stack = &__stack },
    { .handler = reset },
    { .handler = stop }, /* NMI */
    { .handler = stop }, /* hard fault */
    { .handler = stop }, /* memory management */
    { .handler = stop }, /* bus fault */
    { .handler = stop }, /* usage fault */
};
