/* Vector table of a Cortex-M for emulated boards; newlib's start-up code does the rest. */
#include <stdint.h>

extern uint32_t __stack;
extern void _start(void);

static void stop(void)
{
    for (;;) {
    }
}

typedef union {
    uint32_t *stack;
    void (*handler)(void);
} vector_t;

__attribute__((section(".vectors"), used))
static const vector_t vectors[16] = {
    { .stack = &__stack },
    { .handler = _start },
    { .handler = stop }, /* NMI */
    { .handler = stop }, /* hard fault */
    { .handler = stop }, /* memory management */
    { .handler = stop }, /* bus fault */
    { .handler = stop }, /* usage fault */
};
