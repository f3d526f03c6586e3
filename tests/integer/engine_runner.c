/* Runs steps of the engine that come as bytes: for instruction sets of other machines.
 *
 * Without an argument it prints one line for each instruction set that there is: name, lanes,
 * vectors, two operand sizes, two values that are added, and whether it has depthwise_s8.  With the
 * name of one it answers messages from stdin until their end: steps, room, batch, bytes of scratch
 * and an arena; the answer is the arena after the steps.  Numbers have 64 bits, an array is its
 * bytes behind their number; all in the order of bytes of this machine.  tests/engine_runner.py
 * writes them in the order in which they are read here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#define MOST_ARRAYS 4096

enum {
    AFFINE,
    DEPTHWISE,
    ELEMENTWISE,
    AVERAGE_POOL,
    MAX_POOL,
    MOVE,
    DEPTHWISE_S8
};

typedef union any_step {
    aq_affine affine;
    aq_depthwise depthwise;
    aq_elementwise elementwise;
    aq_pool pool;
    aq_move move;
} any_step;

static void *kept[MOST_ARRAYS]; /* arrays of the message that is read */
static size_t kept_count;

static void fail(const char *reason)
{
    fprintf(stderr, "engine_runner: %s\n", reason);
    exit(1);
}

static void read_bytes(void *bytes, size_t count)
{
    if (fread(bytes, 1, count, stdin) != count) {
        fail("a message ends too early");
    }
}

static int64_t number(void)
{
    int64_t value;

    read_bytes(&value, sizeof value);
    return value;
}

static int32_t narrow(void)
{
    return (int32_t)number();
}

static void *room_for(size_t bytes)
{
    void *array = NULL;

    /* No more than asked for: sanitizers then see what is read behind it. */
    if (kept_count == MOST_ARRAYS || posix_memalign(&array, 64, bytes) != 0) {
        fail("no memory for an array");
    }
    kept[kept_count] = array;
    kept_count += 1;
    return array;
}

static const void *array(void)
{
    const size_t bytes = (size_t)number();
    void *values = room_for(bytes);

    read_bytes(values, bytes);
    return values;
}

static aq_finish finish(void)
{
    aq_finish f;

    f.shift = array();
    f.multiplier = array();
    f.upper = array();
    f.factor = array();
    f.form = narrow();
    f.offset = narrow();
    f.lower = narrow();
    f.output_size = narrow();
    f.residual_size = narrow();
    f.wide = narrow();
    return f;
}

static aq_images images(void)
{
    aq_images m;

    m.height = number();
    m.width = number();
    m.channels = number();
    m.top = number();
    m.left = number();
    m.padded_height = number();
    m.padded_width = number();
    m.size = narrow();
    m.operand_size = narrow();
    m.pad_value = narrow();
    m.copied = narrow();
    return m;
}

static void read_affine(aq_affine *s)
{
    s->images = images();
    s->finish = finish();
    s->weight = array();
    s->bias = array();
    s->pixels = array();
    s->offsets = array();
    s->block = number();
    s->pixel_count = number();
    s->image_values = number();
    s->steps = number();
    s->groups = number();
    s->group_outputs = number();
    s->group_channels = number();
    s->source = number();
    s->residual = number();
    s->target = number();
}

static void read_depthwise(aq_depthwise *s)
{
    s->images = images();
    s->finish = finish();
    s->weight = array();
    s->bias = array();
    s->kernel_height = number();
    s->kernel_width = number();
    s->stride_y = number();
    s->stride_x = number();
    s->dilation_y = number();
    s->dilation_x = number();
    s->height = number();
    s->width = number();
    s->source = number();
    s->residual = number();
    s->target = number();
}

static void read_depthwise_s8(aq_depthwise *s)
{
    read_depthwise(s);
    s->shift = array();
    s->multiplier = array();
    s->upper = array();
    s->columns = array();
    s->phases = number();
    s->pitch = number();
    s->source_pitch = number();
    s->planes = number();
    s->ring_rows = number();
    s->row_values = number();
}

static void read_elementwise(aq_elementwise *s)
{
    s->finish = finish();
    s->count = number();
    s->factors[0] = narrow();
    s->factors[1] = narrow();
    s->bias = narrow();
    s->size = narrow();
    s->binary = narrow();
    s->sources[0] = number();
    s->sources[1] = number();
    s->target = number();
}

static void read_pool(aq_pool *s)
{
    s->in_height = number();
    s->in_width = number();
    s->channels = number();
    s->height = number();
    s->width = number();
    s->window_height = number();
    s->window_width = number();
    s->stride_y = number();
    s->stride_x = number();
    s->dilation_y = number();
    s->dilation_x = number();
    s->top = number();
    s->left = number();
    s->bias = narrow();
    s->zero_point = narrow();
    s->lower = narrow();
    s->upper = narrow();
    s->size = narrow();
    s->source = number();
    s->target = number();
}

static void read_average_pool(aq_pool *s)
{
    if (number() != 0) {
        s->finish = finish();
    }
    if (number() != 0) {
        s->counts = array();
    }
    read_pool(s);
}

static void read_axes(ptrdiff_t axes[4])
{
    for (int i = 0; i < 4; i++) {
        axes[i] = number();
    }
}

static void read_move(aq_move *s)
{
    read_axes(s->shape);
    read_axes(s->source_steps);
    read_axes(s->target_steps);
    s->source_first = number();
    s->target_first = number();
    s->source_bytes = number();
    s->target_bytes = number();
    s->size = narrow();
    s->filled = narrow();
    s->value = narrow();
    s->source = number();
    s->target = number();
}

/* Read one step and return what runs it. */
static aq_run *read_step(const aq_isa *isa, any_step *step)
{
    aq_run *run = NULL;

    memset(step, 0, sizeof *step);
    switch (number()) {
    case AFFINE:
        read_affine(&step->affine);
        run = isa->affine;
        break;
    case DEPTHWISE:
        read_depthwise(&step->depthwise);
        run = isa->depthwise;
        break;
    case DEPTHWISE_S8:
        read_depthwise_s8(&step->depthwise);
        run = isa->depthwise_s8;
        break;
    case ELEMENTWISE:
        read_elementwise(&step->elementwise);
        run = isa->elementwise;
        break;
    case AVERAGE_POOL:
        read_average_pool(&step->pool);
        run = isa->average_pool;
        break;
    case MAX_POOL:
        read_pool(&step->pool);
        run = isa->max_pool;
        break;
    case MOVE:
        read_move(&step->move);
        run = isa->move;
        break;
    default:
        break;
    }
    if (run == NULL) {
        fail("a step of no known kind");
    }
    return run;
}

/* Answer one message that has so many steps. */
static void answer(const aq_isa *isa, int64_t count)
{
    any_step *steps = room_for((size_t)count * sizeof *steps);
    aq_run **runs = room_for((size_t)count * sizeof *runs);
    aq_workspace w;
    size_t bytes;

    for (int64_t i = 0; i < count; i++) {
        runs[i] = read_step(isa, &steps[i]);
    }
    memset(&w, 0, sizeof w);
    w.workers = 1;
    w.room = number();
    w.batch = number();
    w.scratch = room_for((size_t)number());
    bytes = (size_t)number();
    w.arena = room_for(bytes);
    read_bytes(w.arena, bytes);
    for (int64_t i = 0; i < count; i++) {
        runs[i](&steps[i], &w);
    }
    if (fwrite(w.arena, 1, bytes, stdout) != bytes || fflush(stdout) != 0) {
        fail("the answer cannot be written");
    }
    while (kept_count > 0) {
        kept_count -= 1;
        free(kept[kept_count]);
    }
}

static void print_all(void)
{
    for (const aq_isa *const *isa = aq_isas; *isa != NULL; isa++) {
        if ((*isa)->available()) {
            printf("%s %d %d %d %d %d %d %d\n", (*isa)->name, (int)(*isa)->lanes,
                    (int)(*isa)->vectors, (int)(*isa)->operand_size[0],
                    (int)(*isa)->operand_size[1], (int)(*isa)->shifted[0],
                    (int)(*isa)->shifted[1], (*isa)->depthwise_s8 != NULL);
        }
    }
}

int main(int argc, char **argv)
{
    const aq_isa *const *isa = aq_isas;
    int64_t count;

    if (argc < 2) {
        print_all();
        return 0;
    }
    while (*isa != NULL && strcmp((*isa)->name, argv[1]) != 0) {
        isa++;
    }
    if (*isa == NULL || !(*isa)->available()) {
        fail("this instruction set is not there");
    }
    while (fread(&count, sizeof count, 1, stdin) == 1) {
        answer(*isa, count);
    }
    return 0;
}
