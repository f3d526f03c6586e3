/* The steps of the golden model, and the instruction sets that they are compiled for.
 *
 * A network becomes a list of steps once (`aidge_quant.kernels.engine`): weights packed, offsets
 * made, requantizations spread to one entry a channel.  Running a step reads and writes tensors of
 * one workspace and allocates nothing.
 *
 * Every instruction set has a file of its own, isa_NAME.c, compiled with its own options.  It
 * defines vectors and one product, and includes the same tiles and steps as all others, whose
 * functions are static: no two sets share code, and all give the same bits.  Sums are exact in
 * int32: the overflow proof bounds them; what a set adds in between and takes away again wraps.
 */
#ifndef AQ_ENGINE_H
#define AQ_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Most output pixels, and most vectors of output channels, of one tile. */
#define AQ_TILE_ROWS 12
#define AQ_TILE_VECTORS 4
/* Accumulators of one tile, at most. */
#define AQ_TILE_SIZE 384
/* Most tiles of a strip: its values stay in the first cache for all output channels. */
#define AQ_STRIP 8
/* Values that a step without weights finishes at a time; the arrays of its requantization have as
 * many equal entries.
 */
#define AQ_BLOCK 256
/* Channels that a depthwise step takes at a time. */
#define AQ_DEPTHWISE 64

/* The forms of _kernels/requant.pxd. */
enum {
    AQ_RIGHT_SHIFTS,
    AQ_SHIFT_HALF_UP,
    AQ_SHIFT_HALF_EVEN,
    AQ_MULTIPLIER_HALF_UP,
    AQ_MULTIPLIER_HALF_EVEN
};

/* From accumulators to stored outputs.  One entry a channel, and as many more as fill a tile. */
typedef struct aq_finish {
    const int32_t *shift;
    const int32_t *multiplier;
    const int32_t *upper;
    const int32_t *factor; /* of the residual */
    int32_t form;
    int32_t offset;
    int32_t lower;
    int32_t output_size;   /* bytes: 1, 2 or 4 */
    int32_t residual_size; /* bytes: 1 or 2; 0 without a residual */
    int32_t wide;          /* whether every shift is 31 or more */
} aq_finish;

/* Images (height, width, channels) that a step reads, and how they are copied before: with a border
 * of pad_value, and as int16 where values of that type are multiplied.
 */
typedef struct aq_images {
    ptrdiff_t height, width, channels;
    ptrdiff_t top, left, padded_height, padded_width;
    int32_t size;         /* bytes of a stored value: 1 or 2 */
    int32_t operand_size; /* bytes of a value that is multiplied: 1 or 2 */
    int32_t pad_value;
    int32_t copied;       /* whether a copy is needed at all */
} aq_images;

/* Convolution and fully connected layer: rows of values times columns of weights. */
typedef struct aq_affine {
    aq_images images;
    aq_finish finish;
    const void *weight;     /* [group][block of vectors][step][vector][lane][quad] */
    ptrdiff_t block;        /* vectors of a block; the last one may have less */
    const int32_t *bias;    /* [group][channels, and more up to whole vectors] */
    const int32_t *pixels;  /* where the window of each output pixel begins, in values */
    const int32_t *offsets; /* where each step of a window lies from there, in values */
    ptrdiff_t pixel_count, image_values, steps, groups, group_outputs, group_channels;
    ptrdiff_t source, residual, target; /* where the tensors lie for a room of 1, in bytes */
} aq_affine;

/* Depthwise convolution.  depthwise_s8 has weights, biases and requantizations for chunks of
 * AQ_DEPTHWISE values of an output row, as many as there are phases; the other one for channels.
 */
typedef struct aq_depthwise {
    aq_images images;
    aq_finish finish;
    const void *weight; /* int16 [block of AQ_DEPTHWISE channels][tap][channel], or int8
                         * [phase][4 rows][column][quarter][lane][row] for depthwise_s8 */
    const int32_t *bias;
    ptrdiff_t kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x;
    ptrdiff_t height, width; /* of the output */
    ptrdiff_t source, residual, target;
    /* Of depthwise_s8; its bias has the order of the quarters, too. */
    const int32_t *shift;   /* those of finish in the order of the quarters */
    const int32_t *multiplier;
    const int8_t *upper;    /* those of finish as bytes */
    const int32_t *columns; /* where the columns of the window lie in a row, in values */
    ptrdiff_t phases;
    ptrdiff_t pitch, source_pitch; /* values between chunks of a phase: outputs, and in the copy */
    ptrdiff_t planes, ring_rows, row_values; /* of the copy */
} aq_depthwise;

/* acc = bias + factors[0] * a, and + factors[1] * b where there are two. */
typedef struct aq_elementwise {
    aq_finish finish;
    ptrdiff_t count; /* values of an image */
    int32_t factors[2];
    int32_t bias;
    int32_t size;    /* bytes of a stored input */
    int32_t binary;
    ptrdiff_t sources[2], target;
} aq_elementwise;

typedef struct aq_pool {
    aq_finish finish; /* of an average */
    const int32_t *counts; /* (height, width) by which an average divides, or NULL: finish */
    ptrdiff_t in_height, in_width, channels, height, width;
    ptrdiff_t window_height, window_width, stride_y, stride_x, dilation_y, dilation_x, top, left;
    int32_t bias, zero_point, lower, upper;
    int32_t size;
    ptrdiff_t source, target;
} aq_pool;

/* Values of a tensor copied to values of another, both at equal distances along four axes; before,
 * the other one may be filled.  Reshape, Slice, Pad and each part of Concat.
 */
typedef struct aq_move {
    ptrdiff_t shape[4];
    ptrdiff_t source_steps[4], target_steps[4]; /* bytes from one value to the next */
    ptrdiff_t source_first, target_first;       /* bytes to the first value of an image */
    ptrdiff_t source_bytes, target_bytes;       /* of an image */
    int32_t size;                               /* bytes of a value: 1, 2 or 4 */
    int32_t filled, value;
    ptrdiff_t source, target;
} aq_move;

/* Where the workers of one run wait for each other. */
typedef struct aq_barrier {
    atomic_int waiting, round, left;
} aq_barrier;

/* The tensors of a batch.  The values of all its images follow each other, from the place of the
 * tensor for one image times the room: the most images of a batch.
 *
 * Several workers, each with a workspace that says the same of all else, may share every step.
 */
typedef struct aq_workspace {
    uint8_t *arena;
    uint8_t *scratch; /* for room images, or as many workers if there are more */
    ptrdiff_t room;
    ptrdiff_t batch;
    ptrdiff_t worker, workers;
    aq_barrier *barrier;
} aq_workspace;

/* Wait until all workers are here.  Return whether they are: not where one could not begin. */
int aq_meet(const aq_workspace *workspace);

/* Return where the share of a worker in `total` begins, that of the next one where it ends. */
static inline ptrdiff_t aq_share(ptrdiff_t total, ptrdiff_t worker, ptrdiff_t workers)
{
    return total * worker / workers;
}

typedef void aq_run(const void *step, const aq_workspace *workspace);

typedef struct aq_step {
    aq_run *run;
    void *step;
} aq_step;

/* Steps to run one after the other in one workspace. */
typedef struct aq_job {
    const aq_step *steps;
    ptrdiff_t count;
    aq_workspace workspace;
    pthread_t thread;
} aq_job;

/* Run jobs, a thread each: batches of their own, or workers that share one. */
void aq_run_jobs(aq_job *jobs, ptrdiff_t count);

/* An instruction set: how its weights are packed, and the steps compiled for it. */
typedef struct aq_isa {
    const char *name;
    int (*available)(void);
    int32_t lanes;           /* accumulators of a vector; a step multiplies 4 bytes for each */
    int32_t vectors;         /* most vectors of a tile */
    int32_t operand_size[2]; /* bytes of a value that is multiplied, for int8 and int16 data */
    int32_t shifted[2];      /* added to each value before it is multiplied, for the same */
    aq_run *affine, *depthwise, *elementwise, *average_pool, *max_pool, *move;
    aq_run *depthwise_s8; /* int8 data and weights, not widened; NULL without */
} aq_isa;

/* All that this machine might have, best first, then NULL. */
extern const aq_isa *const aq_isas[];

/* Swap the two axes of (rows, columns) values of 1, 2 or 4 bytes. */
void aq_swap_axes(const void *x, ptrdiff_t rows, ptrdiff_t columns, int32_t size, void *y);

#endif /* AQ_ENGINE_H */
