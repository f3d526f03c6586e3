/* Vector table of a Cortex-M for emulated boards; newlib's start-up code does the rest. */
#include <stdint.h>

extern uint32_t __stack;
extern void _start(void);

static void stop(void)
{
    for (;;) {
    }
}

/* The registers of floating point, which the vectors are in, are switched off at first. */
static void reset(void)
{
#if defined(__ARM_FEATURE_MVE)
    *(volatile uint32_t *)0xE000ED88u |= 0x00F00000u;
    __asm__ volatile("dsb\n"
                     "isb\n" ::: "memory");
#endif
    _start();
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
