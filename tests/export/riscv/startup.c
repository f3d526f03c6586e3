/* Start of an RV32 program in QEMU's user mode, which sets the stack; semihosting stops it. */
#include <stdlib.h>

int main(void);
void start(void);

char riscv_heap[1 << 22];
/* Variables of the only thread: picolibc has errno there. */
char riscv_thread[256] __attribute__((aligned(64)));

__asm__(".globl __heap_start\n"
        ".set __heap_start, riscv_heap\n"
        ".globl __heap_end\n"
        ".set __heap_end, riscv_heap + (1 << 22)\n"
        ".section .text.start\n"
        ".globl _start\n"
        "_start:\n"
        "la tp, riscv_thread\n"
        "andi sp, sp, -16\n"
        "j start\n"
        ".text\n");

void start(void)
{
    exit(main());
}
