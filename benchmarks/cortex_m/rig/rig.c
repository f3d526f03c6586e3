/* Start-up code, instruction counter, stack depth and output of a bare Cortex-M under QEMU.
 *
 * With `-icount shift=6` every instruction takes 64 ns of the board's time, and RIG_COUNTER, a
 * register of the board, counts one tick every RIG_TICK_NS of it: more than one tick an
 * instruction, so that the difference of two readings gives the number of instructions to within
 * a few. A loop of a known length is counted first, as a proof on every start.
 */
#include "rig.h"

#if !defined(RIG_COUNTER) || !defined(RIG_PRESCALE) || !defined(RIG_TICK_NS)
#error "the build gives RIG_COUNTER and RIG_PRESCALE, two addresses, and RIG_TICK_NS"
#endif

#define NS_PER_INSTRUCTION 64u
#define PAINT 0xC5C5C5C5u
#define LOOP_TURNS 1000000u

#define SEMIHOSTING_WRITE 0x04u
#define SEMIHOSTING_EXIT 0x20u
#define SEMIHOSTING_EXIT_REASON 0x20026u

/* Places that the linker script names. */
extern uint32_t rig_data_load[];
extern uint32_t rig_data_start[];
extern uint32_t rig_data_end[];
extern uint32_t rig_bss_start[];
extern uint32_t rig_bss_end[];
extern uint32_t rig_stack_limit[];
extern uint32_t rig_stack_top[];

void rig_start(void);

static uint32_t overhead; /* ticks between two readings, one right after the other */

static uint32_t call_host(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;

    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void print(const char *text)
{
    (void)call_host(SEMIHOSTING_WRITE, text);
}

static void print_value(const char *name, uint32_t value)
{
    char digits[11];
    uint32_t rest = value;
    int32_t at = 10;

    digits[at] = '\0';
    do {
        at--;
        digits[at] = (char)('0' + (char)(rest % 10u));
        rest /= 10u;
    } while (rest != 0u);
    print(name);
    print("=");
    print(&digits[at]);
    print("\n");
}

static void stop(uint32_t code)
{
    const uint32_t block[2] = { SEMIHOSTING_EXIT_REASON, code };

    (void)call_host(SEMIHOSTING_EXIT, block);
    for (;;) {
    }
}

static uint32_t ticks(void)
{
    return *(volatile uint32_t *)RIG_COUNTER;
}

static uint32_t instructions(uint32_t counted)
{
    const uint64_t ns = (uint64_t)(counted - overhead) * RIG_TICK_NS;

    return (uint32_t)((ns + (NS_PER_INSTRUCTION / 2u)) / NS_PER_INSTRUCTION);
}

/* Fill the stack below the caller, so that what is used of it can be seen. */
static __attribute__((noinline)) void paint(void)
{
    uint32_t *const end = __builtin_frame_address(0);

    /* Volatile: the compiler would call memset, whose frame is in the way. */
    for (volatile uint32_t *p = rig_stack_limit; p < end; p++) {
        *p = PAINT;
    }
}

/* Bytes between the deepest word that was written and the top of the stack. */
static uint32_t depth(void)
{
    const uint32_t *p = rig_stack_limit;

    while ((p < rig_stack_top) && (*p == PAINT)) {
        p++;
    }
    return (uint32_t)((const char *)rig_stack_top - (const char *)p);
}

/* Two instructions a turn, and the return. */
static __attribute__((naked, noinline)) void known_loop(__attribute__((unused)) uint32_t turns)
{
    __asm__ volatile(
            ".syntax unified\n"
            "1: subs r0, r0, #1\n"
            "bne 1b\n"
            "bx lr\n" ::: "r0", "cc");
}

static void measure(void)
{
    uint32_t wrong = 0;
    uint32_t start;

    *(volatile uint32_t *)RIG_PRESCALE = 0;
    (void)ticks();
    start = ticks();
    overhead = ticks() - start;
    start = ticks();
    known_loop(LOOP_TURNS);
    print_value("loop", instructions(ticks() - start));
    for (int32_t i = 0; i < bench_cases(); i++) {
        uint32_t counted;

        bench_prepare(i);
        paint();
        start = ticks();
        bench_infer();
        counted = ticks() - start;
        print_value("stack", depth());
        print_value("instructions", instructions(counted));
        wrong += (uint32_t)bench_wrong(i);
    }
    print_value("wrong", wrong);
    stop(0);
}

void rig_start(void)
{
    const uint32_t *from = rig_data_load;

#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    /* The coprocessor access register: floating point and vectors on. */
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
    __asm__ volatile("dsb\n isb");
#endif
#if defined(__ARM_FEATURE_MVE)
    /* The configuration register: low-overhead loops on. */
    *(volatile uint32_t *)0xE000ED14u |= 1u << 19;
    __asm__ volatile("dsb\n isb");
#endif
    for (uint32_t *to = rig_data_start; to < rig_data_end; to++) {
        *to = *from;
        from++;
    }
    for (uint32_t *to = rig_bss_start; to < rig_bss_end; to++) {
        *to = 0;
    }
    measure();
}

static void fault(void)
{
    print("fault\n");
    print_value("cfsr", *(volatile uint32_t *)0xE000ED28u);
    print_value("hfsr", *(volatile uint32_t *)0xE000ED2Cu);
    stop(1);
}

typedef union {
    uint32_t *stack;
    void (*handler)(void);
} vector_t;

__attribute__((section(".vectors"), used))
static const vector_t vectors[16] = {
    { .stack = rig_stack_top },
    { .handler = rig_start },
    { .handler = fault }, /* NMI */
    { .handler = fault }, /* hard fault */
    { .handler = fault }, /* memory management */
    { .handler = fault }, /* bus fault */
    { .handler = fault }, /* usage fault */
};
