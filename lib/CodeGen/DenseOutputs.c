/* Outputs of rolled dense layers out of their sums. */
#include "DenseSums.h"
#include "Ops/IntClamp.h"

static const mlc_storage word64 = {.width = 8};

/* The lowest bits of x. */
static LLVMValueRef low_bits(mlc_lower *l, LLVMValueRef x, int bits) {
    return mlc_l_and(l, x, mlc_l_const(l, (int64_t)(((uint64_t)1 << bits) - 1)));
}

/* Output j of the block out of its lane, where the inputs are cut into chunks. Few registers are
 * left here, so lanes of whole bytes are read one by one. */
static LLVMValueRef extract_wide(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, int j) {
    int lane = j % d->lanes, at = lane / 2 * 2 * d->width;
    int64_t offset = mlc_dense_wide_offset(l, j / d->lanes * 2 + lane % 2);
    LLVMValueRef sums = mlc_lower_base(l, MLC_AREA_SCRATCH);
    if (2 * d->width == 32)
        return mlc_lower_load(l, sums, offset + at / 8, (mlc_storage){.width = 4});
    LLVMValueRef x = mlc_l_lshr(l, mlc_lower_load(l, sums, offset, word64), at);
    return lane + 2 < d->lanes && j + 2 < r->outputs ? low_bits(l, x, 2 * d->width) : x;
}

/* Output j of the block out of its lane of sum[]. */
static LLVMValueRef extract(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, int j,
                            const LLVMValueRef *sum) {
    int lane = j % d->lanes;
    LLVMValueRef x = mlc_l_lshr(l, sum[j / d->lanes], lane * d->width);
    return lane + 1 < d->lanes && j + 1 < r->outputs ? low_bits(l, x, d->width) : x;
}

static LLVMValueRef low(mlc_lower *l, const mlc_dense *d) {
    return d->low_column < 0 ? mlc_l_const(l, d->all_low) : mlc_pattern_column(l, d->pattern, d->low_column);
}

/* The pattern's bottom from what the lanes hold. */
static LLVMValueRef finish(mlc_lower *l, const mlc_dense *d, LLVMValueRef x) {
    x = mlc_l_add(l, x, low(l, d));
    if (!d->requantize)
        return x;
    const mlc_value *table = d->requantize->in[2];
    LLVMValueRef shift =
        d->shift_column < 0 ? mlc_l_const(l, d->shift) : mlc_pattern_column(l, d->pattern, d->shift_column);
    x = LLVMBuildLShr(l->builder, x, shift, "");
    return mlc_l_table(l, table->constant->i, mlc_shape_elements(&table->shape), x);
}

/* The same for output j, straight from its lane. */
static LLVMValueRef look_up(mlc_lower *l, const mlc_dense *d, int j, const LLVMValueRef *sum) {
    const mlc_value *table = d->requantize->in[2];
    int64_t entries = mlc_shape_elements(&table->shape), first = d->all_low >> d->shift;
    int bits = 0;
    while ((int64_t)1 << bits < entries - first && bits < d->width - d->shift)
        bits++;
    mlc_lane lane = {.word = sum[j / d->lanes], .at = j % d->lanes * d->width, .width = d->shift + bits};
    return mlc_l_table_at(l, table->constant->i, entries, first, bits, mlc_l_lane_bits(l, &lane, d->shift));
}

/* One bit of each of four lanes, and all of every other one. */
static const int64_t one_each = 0x0001000100010001, two_each = 0x0000ffff0000ffff;

static LLVMValueRef flags(mlc_lower *l, LLVMValueRef x) {
    return mlc_l_and(l, mlc_l_lshr(l, x, 15), mlc_l_const(l, one_each));
}

/* Number k of those that belong to group g. */
static LLVMValueRef limit(mlc_lower *l, int g, mlc_dense_limit k, mlc_dense_cursor *c) {
    int64_t offset = 8 * (g * MLC_DENSE_LIMITS + k);
    return mlc_lower_load(l, mlc_dense_pointer(l, &c->w), c->w.plus + offset, word64);
}

/* Lanes that are cut into chunks: the even (k 0) or odd ones of word g, of which `last` has the last chunk.
 */
static LLVMValueRef wide(mlc_lower *l, const mlc_dense *d, int g, int k, LLVMValueRef last) {
    LLVMValueRef x =
        mlc_lower_load(l, mlc_lower_base(l, MLC_AREA_SCRATCH), mlc_dense_wide_offset(l, 2 * g + k), word64);
    if (!mlc_dense_ends_by_word(d))
        return x;
    last = k ? mlc_l_lshr(l, last, 16) : last;
    return mlc_l_add(l, x, mlc_l_and(l, last, mlc_l_const(l, two_each)));
}

/* Where each of four lanes begins with two bytes: out of the words as they are. */
static LLVMValueRef shifted_whole(mlc_lower *l, const mlc_dense *d, int g, mlc_dense_cursor *c,
                                  LLVMValueRef sum) {
    LLVMValueRef shift = limit(l, g, MLC_DENSE_SHIFT, c), x[2];
    if (d->n_chunks == 1)
        return mlc_l_and(l, LLVMBuildLShr(l->builder, sum, shift, ""), limit(l, g, MLC_DENSE_MASK, c));
    for (int k = 0; k < 2; k++) {
        x[k] = LLVMBuildLShr(l->builder, wide(l, d, g, k, sum), shift, "");
        x[k] = mlc_l_and(l, x[k], mlc_l_const(l, two_each));
    }
    return mlc_l_or(l, x[0], mlc_l_shl(l, x[1], 16));
}

/* The lanes of group g, shifted. */
static LLVMValueRef shifted(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, int g,
                            mlc_dense_cursor *c, const LLVMValueRef *sum) {
    if (d->lanes == MLC_INT_CLAMPED)
        return shifted_whole(l, d, g, c, sum[g]);
    LLVMValueRef shift = limit(l, g, MLC_DENSE_SHIFT, c), t = NULL;
    for (int k = 0; k < MLC_INT_CLAMPED && g * MLC_INT_CLAMPED + k < r->outputs; k++) {
        int j = g * MLC_INT_CLAMPED + k;
        LLVMValueRef x = d->n_chunks > 1 ? extract_wide(l, d, r, j) : extract(l, d, r, j, sum);
        x = mlc_l_shl(l, LLVMBuildLShr(l->builder, x, shift, ""), k * (64 / MLC_INT_CLAMPED));
        t = t ? mlc_l_or(l, t, x) : x;
    }
    return t;
}

/* The outputs of group g, as they lie in memory (Ops/IntClamp.h). */
static LLVMValueRef limited(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, int g,
                            mlc_dense_cursor *c, const LLVMValueRef *sum) {
    LLVMValueRef t = shifted(l, d, r, g, c, sum);
    if (d->limits.any_halved)
        t = mlc_l_or(l, mlc_l_and(l, t, limit(l, g, MLC_DENSE_KEPT, c)),
                     mlc_l_and(l, mlc_l_lshr(l, t, 1), limit(l, g, MLC_DENSE_HALVED, c)));
    LLVMValueRef above = flags(l, mlc_l_add(l, t, limit(l, g, MLC_DENSE_LIMIT, c)));
    t = mlc_l_add(l, t, limit(l, g, MLC_DENSE_START, c));
    return mlc_int_clamp_limit(l, t, flags(l, t), above, d->limits.bits, d->limits.most);
}

static void emit_groups(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, mlc_dense_cursor *c,
                        LLVMValueRef *sum) {
    mlc_pattern *p = d->pattern;
    bool by_word = mlc_dense_ends_by_word(d);
    mlc_dense_cursor last = *c;
    if (by_word) {
        last.x.pointer = mlc_dense_pointer(l, &c->x); /* for all words */
        last.w.pointer = mlc_dense_pointer(l, &c->w);
        c->w.plus += 8 * (1 + d->chunk[d->n_chunks] - d->chunk[d->n_chunks - 1]) * r->sums;
    }
    for (int g = 0; g < r->groups; g++) {
        if (by_word)
            sum[g] = mlc_dense_emit_word(l, d, r->sums, g, &last);
        mlc_debug_line(l->debug, l->builder, l->scope, p->node->line);
        p->plus = g * MLC_INT_CLAMPED;
        mlc_pattern_store_word(l, p, limited(l, d, r, g, c, sum));
        mlc_debug_line(l->debug, l->builder, l->scope, d->node->line);
    }
}

void mlc_dense_emit_outputs(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, mlc_dense_cursor *c,
                            LLVMValueRef *sum) {
    mlc_pattern *p = d->pattern;
    mlc_debug_line(l->debug, l->builder, l->scope, d->node->line);
    if (r->groups) {
        emit_groups(l, d, r, c, sum);
        return;
    }
    for (int j = 0; j < r->outputs; j++) {
        p->plus = j;
        p->x = d->direct
                   ? look_up(l, d, j, sum)
                   : finish(l, d, d->n_chunks > 1 ? extract_wide(l, d, r, j) : extract(l, d, r, j, sum));
        mlc_pattern_store(l, p);
    }
}
