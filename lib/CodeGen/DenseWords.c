/* Packed words of rolled dense layers. */
#include "Dense.h"
#include "Ops/IntClamp.h"

/* Input k of the outputs in accumulator `sum`, each shifted to its lane; k -1: what `chunk` starts from. */
static int64_t pack(const mlc_dense *d, const mlc_dense_run *r, int64_t block, int64_t chunk, int64_t k,
                    int sum) {
    uint64_t packed = 0;
    for (int lane = 0; lane < d->lanes && sum * d->lanes + lane < r->outputs; lane++) {
        int64_t n = r->first + block * r->outputs + sum * d->lanes + lane;
        uint64_t c = k >= 0 ? (uint64_t)d->w[n * d->inputs + k]
                            : (chunk ? 0 : (uint64_t)d->bias[n]) - (uint64_t)d->low[chunk * d->outputs + n];
        packed += c << (lane * d->width);
    }
    return (int64_t)packed;
}

/* Of the group whose first output is n. */
static void put_limits(const mlc_dense *d, int64_t n, int64_t *words) {
    const int pitch = 64 / MLC_INT_CLAMPED;
    int shift = d->limits.shift[n];
    uint64_t mask = 0, kept = 0, halved = 0, start = 0, limit = 0,
             left = shift < pitch ? ((uint64_t)1 << (pitch - shift)) - 1 : 0;
    for (int k = 0; k < MLC_INT_CLAMPED; k++) {
        bool missing = n + k >= d->outputs;
        int64_t zero = missing ? 0 : d->limits.zero[n + k];
        uint64_t inside = ((uint64_t)1 << (pitch - 1)) - (uint64_t)zero;
        mask |= left << k * pitch;
        if (missing || !d->limits.halved[n + k])
            kept |= (((uint64_t)1 << pitch) - 1) << k * pitch;
        else
            halved |= (((uint64_t)1 << (pitch - 1)) - 1) << k * pitch;
        start += inside << k * pitch;
        limit += (inside - (uint64_t)d->limits.most - 1) << k * pitch;
    }
    words[MLC_DENSE_SHIFT] = shift;
    words[MLC_DENSE_MASK] = (int64_t)mask;
    words[MLC_DENSE_KEPT] = (int64_t)kept;
    words[MLC_DENSE_HALVED] = (int64_t)halved;
    words[MLC_DENSE_START] = (int64_t)start;
    words[MLC_DENSE_LIMIT] = (int64_t)limit;
}

mlc_dense_run mlc_dense_run_of(const mlc_dense *d, int64_t first, int64_t count, int outputs) {
    mlc_dense_run r = {.first = first, .count = count, .outputs = outputs};
    r.sums = (outputs + d->lanes - 1) / d->lanes;
    r.groups = d->limits.most ? (outputs + MLC_INT_CLAMPED - 1) / MLC_INT_CLAMPED : 0;
    r.stride = (d->n_chunks + d->inputs) * r.sums + r.groups * MLC_DENSE_LIMITS;
    return r;
}

void mlc_dense_emit_words(mlc_lower *l, const mlc_dense *d, mlc_dense_run *r, int64_t behind) {
    int64_t *words = MLC_NEW_ARRAY(l->arena, r->count * r->stride, int64_t), at = 0;
    for (int64_t block = 0; block < r->count; block++) {
        for (int64_t c = 0; c < d->n_chunks; c++) {
            for (int sum = 0; sum < r->sums; sum++)
                words[at++] = pack(d, r, block, c, -1, sum);
            for (int64_t k = d->chunk[c]; k < d->chunk[c + 1]; k++)
                for (int sum = 0; sum < r->sums; sum++)
                    words[at++] = pack(d, r, block, c, k, sum);
        }
        for (int g = 0; g < r->groups; g++, at += MLC_DENSE_LIMITS)
            put_limits(d, r->first + block * r->outputs + g * MLC_INT_CLAMPED, words + at);
    }
    r->words = mlc_lower_words(l, words, at, behind * r->stride);
}
