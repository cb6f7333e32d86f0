/*
 * Dense layers as loops. Outputs come in blocks of up to four accumulators of
 * several lanes each (Ops/IntLower.h); a block is a loop over the inputs, and the
 * layer a loop over blocks:
 *
 *   for each block:
 *       sum[0..3] = packed biases
 *       for each input, four at a time:
 *           sum[a] += x * packed weights                 1 load, then 3 instructions for 3 or 4 products
 *       take the outputs out of their lanes; apply what follows; store
 *
 * This is a global function, which the kernel verifies once, walking through every
 * round of its loops; where these are many, it computes one block a call:
 *
 *   int mlc_roll_N(u32 row, u32 block)
 */
#include "Aside.h"
#include "Dense.h"
#include "Loop.h"

#include <string.h>

/* Rounds that the verifier walks through in one model, in instructions. */
enum { WALK_BUDGET = 50000 };

/* Without CAP_PERFMON each round has a barrier (mlc_loop_fence), which should be rare; where size counts,
 * or loops are wanted, rounds are short. */
enum { ROUND = 32, SHORT_ROUND = 4 };

/* The inputs of one round. */
static int64_t round_of(const mlc_lower *l) {
    const mlc_options *options = l->cg->options;
    return options->opt_level == 's' || options->unroll == MLC_UNROLL_NONE ? SHORT_ROUND : ROUND;
}

/* So few inputs need no loop. */
static bool is_straight(const mlc_lower *l, int64_t n) {
    int64_t round = round_of(l);
    return n < 2 * round || n <= 3 * SHORT_ROUND;
}

static LLVMValueRef advance(mlc_lower *l, LLVMValueRef pointer, LLVMValueRef bytes) {
    return LLVMBuildGEP2(l->builder, l->i8, pointer, &bytes, 1, "");
}

static LLVMValueRef word(mlc_lower *l, LLVMValueRef pointer, int64_t i) {
    return mlc_lower_load(l, pointer, 8 * i, (mlc_storage){.width = 8});
}

/* Where a block reads: the next input and the next word. */
typedef struct cursor {
    LLVMValueRef x, w;
} cursor;

static void move(mlc_lower *l, const mlc_dense *d, int sums, int64_t inputs, cursor *c) {
    c->x = mlc_loop_move(l, c->x, inputs * d->x.storage.width);
    c->w = mlc_loop_move(l, c->w, 8 * inputs * sums);
}

/* sum[] += the next `n` inputs times their words. */
static void add_inputs(mlc_lower *l, const mlc_dense *d, int sums, int64_t n, cursor *c, LLVMValueRef *sum) {
    for (int64_t k = 0; k < n; k++) {
        LLVMValueRef x = mlc_lower_load(l, c->x, k * d->x.storage.width, d->x.storage);
        for (int a = 0; a < sums; a++)
            sum[a] = mlc_l_add(l, sum[a], mlc_l_mul(l, word(l, c->w, k * sums + a), x));
    }
    move(l, d, sums, n, c);
}

/* The same, in a loop. */
static void add_chunk(mlc_lower *l, const mlc_dense *d, int sums, int64_t n, cursor *c, LLVMValueRef *sum) {
    if (!is_straight(l, n)) {
        int64_t round = round_of(l);
        mlc_loop loop = {.count = n / round};
        for (int a = 0; a < sums; a++)
            mlc_loop_carry(&loop, sum[a]);
        int x = mlc_loop_carry(&loop, c->x), w = mlc_loop_carry(&loop, c->w);
        mlc_loop_begin(l, &loop);
        memcpy(loop.next, loop.carried, sizeof loop.next);
        cursor inner = {loop.carried[x], loop.carried[w]};
        add_inputs(l, d, sums, round, &inner, loop.next);
        loop.next[x] = inner.x;
        loop.next[w] = inner.w;
        mlc_loop_end(l, &loop);
        memcpy(sum, loop.carried, (size_t)sums * sizeof *sum);
        *c = (cursor){loop.carried[x], loop.carried[w]};
        n %= round;
    }
    add_inputs(l, d, sums, n, c, sum);
}

/* Output j of the block out of its lane: of sum[], or where the inputs are cut into chunks, of
 * wide[], words of every other lane. */
static LLVMValueRef extract(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, int j,
                            const LLVMValueRef *sum, const LLVMValueRef *wide) {
    int a = j / d->lanes, lane = j % d->lanes, step = d->n_chunks > 1 ? 2 : 1, at = lane / step * step;
    LLVMValueRef x = mlc_l_lshr(l, step > 1 ? wide[2 * a + lane % 2] : sum[a], at * d->width);
    if (d->lanes > 1 && lane + step < d->lanes && j + step < r->outputs)
        x = mlc_l_and(l, x, mlc_l_const(l, (int64_t)(((uint64_t)1 << step * d->width) - 1)));
    return x;
}

/* wide[] = the even and the odd lanes of each sum, added to those of the chunks before, which
 * wait in memory. */
static void flush(mlc_lower *l, const mlc_dense *d, int n_sums, int64_t chunk, const LLVMValueRef *sum,
                  LLVMValueRef *wide) {
    static const mlc_storage sum64 = {.width = 8};
    LLVMValueRef sums = mlc_lower_base(l, MLC_AREA_SCRATCH);
    uint64_t bits = 0;
    for (int at = 0; at < 64; at += 2 * d->width)
        bits |= (((uint64_t)1 << d->width) - 1) << at;
    for (int k = 0; k < 2 * n_sums; k++) {
        int64_t at = l->cg->layout.sums_offset + 8 * k;
        LLVMValueRef x = k % 2 ? mlc_l_lshr(l, sum[k / 2], d->width) : sum[k / 2];
        x = mlc_l_and(l, x, mlc_l_const(l, (int64_t)bits));
        wide[k] = chunk > 0 ? mlc_l_add(l, x, mlc_lower_load(l, sums, at, sum64)) : x;
        if (chunk < d->n_chunks - 1)
            mlc_lower_store(l, sums, at, sum64, wide[k]);
    }
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

static void emit_block(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, cursor c) {
    mlc_pattern *p = d->pattern;
    LLVMValueRef sum[MLC_INT_WORDS], wide[2 * MLC_INT_WORDS];
    for (int64_t chunk = 0; chunk < d->n_chunks; chunk++) {
        for (int a = 0; a < r->sums; a++)
            sum[a] = word(l, c.w, a);
        c.w = advance(l, c.w, mlc_l_const(l, 8 * r->sums));
        add_chunk(l, d, r->sums, d->chunk[chunk + 1] - d->chunk[chunk], &c, sum);
        if (d->n_chunks > 1)
            flush(l, d, r->sums, chunk, sum, wide);
    }
    for (int j = 0; j < r->outputs; j++) {
        p->plus = j;
        p->x = d->direct ? look_up(l, d, j, sum) : finish(l, d, extract(l, d, r, j, sum, wide));
        mlc_pattern_store(l, p);
    }
}

/* So many rows and blocks of each, in loops. */
static void emit_blocks(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, cursor c, int64_t n_rows,
                        int64_t n_blocks) {
    mlc_pattern *p = d->pattern;
    mlc_loop rows = {.count = n_rows}, blocks = {.count = n_blocks};
    int x = mlc_loop_carry(&rows, c.x), row = mlc_pattern_carry(p, &rows);
    mlc_loop_begin(l, &rows);
    mlc_pattern_enter(p, &rows, row);
    int w = mlc_loop_carry(&blocks, c.w), block = mlc_pattern_carry(p, &blocks);
    mlc_loop_begin(l, &blocks);
    mlc_pattern_enter(p, &blocks, block);
    emit_block(l, d, r, (cursor){rows.carried[x], blocks.carried[w]});
    blocks.next[w] = mlc_loop_move(l, blocks.carried[w], 8 * r->stride);
    mlc_pattern_advance(l, p, &blocks, block, r->outputs);
    mlc_loop_end(l, &blocks);
    rows.next[x] = mlc_loop_move(l, rows.carried[x], d->inputs * d->x.storage.width);
    mlc_pattern_advance(l, p, &rows, row, d->outputs);
    mlc_loop_end(l, &rows);
}

/* Bounds that are a single number would let the verifier compute, of constants at known
 * addresses, what differs from round to round. */
static int64_t unknown(int64_t most) {
    return most > 0 ? most : 1;
}

/* Blocks from the one whose row and number are at[]. */
static void emit_from(mlc_lower *l, const mlc_dense *d, mlc_dense_run *r, const LLVMValueRef at[2],
                      const int64_t count[2]) {
    int64_t row_bytes = d->inputs * d->x.storage.width;
    mlc_dense_emit_words(l, d, r, 2);
    cursor c = {mlc_lower_base(l, d->x.area), advance(l, r->words, mlc_l_mul_const(l, at[1], 8 * r->stride))};
    c.x = advance(l, c.x, mlc_l_mul_const(l, at[0], row_bytes));
    c.x = advance(l, c.x, mlc_l_const(l, d->x.offset));
    mlc_lower_reach(l, d->x.area, d->x.offset + (d->rows + 2) * row_bytes);
    LLVMValueRef element =
        mlc_l_add(l, mlc_l_mul_const(l, at[0], d->outputs), mlc_l_mul_const(l, at[1], r->outputs));
    element = mlc_l_add(l, element, mlc_l_const(l, r->first));
    mlc_pattern_begin(l, d->pattern, element, 2 * d->outputs);
    emit_blocks(l, d, r, c, count[0], count[1]);
}

/* As few calls as the verifier has patience for: each costs some 8 ns. */
static void emit_run(mlc_lower *l, const mlc_dense *d, mlc_dense_run *r) {
    static const char *const names[2] = {"row", "block"};
    int64_t blocks = d->rows * r->count, walk = blocks * d->inputs * (2 + 3 * r->sums);
    bool each = blocks > 1 && l->walked + walk > WALK_BUDGET;
    l->walked += each ? walk / blocks : walk;
    const int64_t inner[2] = {each ? 1 : d->rows, each ? 1 : r->count},
                  most[2] = {unknown(d->rows / inner[0] - 1), unknown(r->count / inner[1] - 1)};
    LLVMValueRef at[2] = {mlc_l_const(l, 0), mlc_l_const(l, 0)};
    mlc_debug_line(l->debug, l->builder, l->scope, d->node->line);
    if (blocks == 1) {
        emit_from(l, d, r, at, inner);
        return;
    }
    mlc_aside aside = mlc_aside_begin(l, d->node->line, names, most, at);
    emit_from(l, d, r, at, inner);
    mlc_aside_end(l, &aside);

    mlc_loop rows = {.count = d->rows / inner[0]}, columns = {.count = r->count / inner[1]};
    mlc_loop_begin(l, &rows);
    mlc_loop_begin(l, &columns);
    mlc_aside_call(l, &aside, (LLVMValueRef[2]){rows.at, columns.at});
    mlc_loop_end(l, &columns);
    mlc_loop_end(l, &rows);
}

void mlc_lower_rolled_linear(mlc_lower *l, mlc_pattern *p, const mlc_node *linear) {
    mlc_dense d = mlc_dense_plan(l, p, linear);
    int most = MLC_INT_WORDS * d.lanes;
    int64_t whole = d.outputs / most;
    int rest = (int)(d.outputs % most);
    if (whole) {
        mlc_dense_run r = mlc_dense_run_of(&d, 0, whole, most);
        emit_run(l, &d, &r);
    }
    if (rest) {
        mlc_dense_run r = mlc_dense_run_of(&d, whole * most, 1, rest);
        emit_run(l, &d, &r);
    }
}
