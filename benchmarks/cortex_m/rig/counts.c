/* A plugin of QEMU that counts how often the instruction at each address is executed, and writes
 * "address count" a line to the file that RIG_COUNTS names. It declares what it uses of QEMU's
 * plugin interface, version 1, because distributions install the emulator without the header.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id_t;

extern void qemu_plugin_register_vcpu_tb_trans_cb(
        plugin_id_t id, void (*translated)(plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_insn_exec_inline(
        struct qemu_plugin_insn *instruction, int operation, void *counter, uint64_t value);
extern void qemu_plugin_register_atexit_cb(
        plugin_id_t id, void (*ended)(plugin_id_t, void *), void *data);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(
        const struct qemu_plugin_tb *block, size_t position);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *instruction);

#define PLUGIN_API __attribute__((visibility("default")))
#define ADD_TO_COUNTER 0
#define CODE_BYTES (UINT64_C(4) << 20) /* the boards' code memory, at whatever address */

PLUGIN_API int qemu_plugin_version = 1;
PLUGIN_API int qemu_plugin_install(
        plugin_id_t id, const void *machine, int arguments, char **argument);

static uint64_t counters[CODE_BYTES / 2];

static void translated(plugin_id_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        const uint64_t at = (qemu_plugin_insn_vaddr(instruction) % CODE_BYTES) / 2;

        qemu_plugin_register_vcpu_insn_exec_inline(instruction, ADD_TO_COUNTER, &counters[at], 1);
    }
}

static void ended(plugin_id_t id, void *data)
{
    const char *path = getenv("RIG_COUNTS");
    FILE *file = (path != NULL) ? fopen(path, "w") : NULL;

    (void)id;
    (void)data;
    if (file != NULL) {
        for (size_t i = 0; i < (CODE_BYTES / 2); i++) {
            if (counters[i] != 0) {
                (void)fprintf(file, "%zx %" PRIu64 "\n", 2 * i, counters[i]);
            }
        }
        (void)fclose(file);
    }
}

PLUGIN_API int qemu_plugin_install(
        plugin_id_t id, const void *machine, int arguments, char **argument)
{
    (void)machine;
    (void)arguments;
    (void)argument;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
