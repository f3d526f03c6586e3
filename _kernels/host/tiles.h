/* Tiles of products: M output pixels times V vectors of output channels, in registers; as many of
 * them in a row as a strip has.
 *
 * Included once for int8 and once for int16 data, with
 *     AQ_NAME(x)          the names of this inclusion
 *     AQ_OPERAND          type of an activation that is multiplied
 *     AQ_VEC              vector of accumulators, AQ_LANES of them
 *     AQ_W                vector of weights: AQ_LANES times a quad
 *     AQ_LOAD_W(p)        such a vector from memory
 *     AQ_SPLAT(p)         a quad of activations, in every lane, of type AQ_SPLATTED
 *     AQ_DOT(acc, a, w)   acc[lane] += sum of a[q] * w[lane][q] over the quad
 *     AQ_LOAD(p), AQ_STORE(p, v)   accumulators
 *     AQ_EACH_TILE(X)     X(M, V) for all tiles, see tile_rows.h
 *     AQ_FINISH_SUMS(M, V, sums, sink)   where there is a way to finish sums in registers: whether
 *                         it did
 * and undefined again by whoever defined them.
 *
 * All loops but that over the steps have constant bounds: they disappear.
 */
typedef void AQ_NAME(strip_t)(const AQ_OPERAND *x, const int32_t *pixels, ptrdiff_t tiles,
        const int32_t *offsets, ptrdiff_t steps, const uint8_t *weights, const int32_t *bias,
        aq_sink sink);

static inline __attribute__((always_inline)) void AQ_NAME(strip)(const int M, const int V,
        const AQ_OPERAND *x, const int32_t *pixels, ptrdiff_t tiles, const int32_t *offsets,
        ptrdiff_t steps, const uint8_t *weights, const int32_t *bias, aq_sink sink)
{
    for (ptrdiff_t n = 0; n < tiles; n++) {
        const AQ_OPERAND *a[AQ_TILE_ROWS];
        const uint8_t *weight = weights;
        AQ_VEC sums[AQ_TILE_ROWS][AQ_TILE_VECTORS];
        AQ_W w[AQ_TILE_VECTORS];

        AQ_UNROLL for (int i = 0; i < M; i++) {
            a[i] = x + pixels[i];
            AQ_UNROLL for (int j = 0; j < V; j++) {
                sums[i][j] = AQ_LOAD(bias + (j * AQ_LANES));
            }
        }
        for (ptrdiff_t t = 0; t < steps; t++) {
            const ptrdiff_t offset = offsets[t];

            AQ_UNROLL for (int j = 0; j < V; j++) {
                w[j] = AQ_LOAD_W(weight + (j * sizeof(AQ_W)));
            }
            weight += V * sizeof(AQ_W);
            AQ_UNROLL for (int i = 0; i < M; i++) {
                const AQ_SPLATTED quad = AQ_SPLAT(a[i] + offset);
                AQ_UNROLL for (int j = 0; j < V; j++) {
                    AQ_DOT(sums[i][j], quad, w[j]);
                }
            }
        }
#if defined(AQ_FINISH_SUMS)
        if (!AQ_FINISH_SUMS(M, V, sums, &sink))
#endif
        {
            int32_t acc[AQ_TILE_SIZE] __attribute__((aligned(64)));

            AQ_UNROLL for (int i = 0; i < M; i++) {
                AQ_UNROLL for (int j = 0; j < V; j++) {
                    AQ_STORE(acc + (((i * V) + j) * AQ_LANES), sums[i][j]);
                }
            }
            AQ_FINISH_TILE(sink.finish, sink.first, M, sink.columns, V * AQ_LANES, acc,
                    sink.residual, sink.target, sink.index, sink.stride);
        }
        pixels += M;
        sink.index += M * sink.stride;
    }
}

#define AQ_ONE_STRIP(M, V) \
static void AQ_NAME(strip_##M##_##V)(const AQ_OPERAND *x, const int32_t *pixels, \
        ptrdiff_t tiles, const int32_t *offsets, ptrdiff_t steps, const uint8_t *weights, \
        const int32_t *bias, aq_sink sink) \
{ \
    AQ_NAME(strip)(M, V, x, pixels, tiles, offsets, steps, weights, bias, sink); \
}
AQ_EACH_TILE(AQ_ONE_STRIP)
#undef AQ_ONE_STRIP

#define AQ_ENTRY(M, V) [V][M] = AQ_NAME(strip_##M##_##V),
static AQ_NAME(strip_t) *const AQ_NAME(strips)[AQ_TILE_VECTORS + 1][AQ_TILE_ROWS + 1] = {
    AQ_EACH_TILE(AQ_ENTRY)
};
#undef AQ_ENTRY
