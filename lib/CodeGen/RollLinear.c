/*
 * Dense layers as loops. Outputs come in blocks of up to four accumulators of
 * several lanes each (Ops/IntLower.h); a block is a loop over the inputs, and the
 * layer a loop over blocks:
 *
 *   for each block:
 *       for each chunk of inputs:
 *           sum[0..3] = packed biases
 *           for each input, some in a round:
 *               sum[a] += x * packed weights             1 load, then 3 instructions for 3 or 4 products
 *           add what is in the lanes to sums in the frame, where there are several chunks
 *       take the outputs out of their lanes; apply what follows; store
 *
 * This is a global function, which the kernel verifies once:
 *
 *   int mlc_roll_N(u32 row, u32 block)
 *
 * Through counted loops it walks round by round; where these are many, the function computes one
 * block a call.
 */
#include "Aside.h"
#include "DenseSums.h"

/* Rounds that the verifier walks through in one model, in instructions. */
enum { WALK_BUDGET = 50000 };

/* So many rows and blocks of each, in loops. */
static void emit_blocks(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, mlc_dense_cursor c,
                        int64_t n_rows, int64_t n_blocks) {
    mlc_pattern *p = d->pattern;
    mlc_loop rows = mlc_dense_loop(d, n_rows), blocks = mlc_dense_loop(d, n_blocks);
    mlc_dense_carry(&rows, &c, d->row * d->x.storage.width, 0);
    int row = mlc_pattern_carry(l, p, &rows, d->outputs);
    mlc_loop_begin(l, &rows);
    mlc_pattern_enter(p, &rows, row);
    c = mlc_dense_carried(&rows, &c);
    mlc_dense_carry(&blocks, &c, 0, 8 * r->stride);
    int block = mlc_pattern_carry(l, p, &blocks, r->outputs);
    mlc_loop_begin(l, &blocks);
    mlc_dense_cursor at = mlc_dense_carried(&blocks, &c);
    LLVMValueRef sum[MLC_INT_WORDS];
    mlc_dense_emit_sums(l, d, r->sums, &at, sum);
    mlc_pattern_enter(p, &blocks, block); /* only now: few registers are free before */
    mlc_dense_emit_outputs(l, d, r, &at, sum);
    mlc_loop_end(l, &blocks);
    mlc_loop_end(l, &rows);
}

/* Bounds that are a single number would let the verifier compute, of constants at known
 * addresses, what differs from round to round. */
static int64_t unknown(int64_t most) {
    return most > 0 ? most : 1;
}

/* Rounds that loops of so many reach besides. */
static int64_t behind(const mlc_lower *l, const mlc_dense *d, int64_t count) {
    mlc_loop loop = mlc_dense_loop(d, count);
    return mlc_loop_reach(l, &loop) - count;
}

/* Blocks from the one whose row and number are at[]. */
static void emit_from(mlc_lower *l, const mlc_dense *d, mlc_dense_run *r, const LLVMValueRef at[2],
                      const int64_t count[2]) {
    int64_t row_bytes = d->row * d->x.storage.width, first = LLVMIsConstant(at[0]) ? 0 : 1,
            rows = d->rows + first + behind(l, d, count[0]), blocks = first + behind(l, d, count[1]);
    mlc_dense_emit_words(l, d, r, blocks);
    mlc_cursor x = {.base = mlc_lower_base(l, d->x.area), .offset = mlc_l_mul_const(l, at[0], row_bytes)},
               w = {.base = r->words, .offset = mlc_l_mul_const(l, at[1], 8 * r->stride)};
    mlc_dense_cursor c = {{x, NULL, d->x.offset}, {w, NULL, 0}};
    mlc_lower_reach(l, d->x.area, d->x.offset + rows * row_bytes + (d->inputs - d->row) * d->x.storage.width);
    LLVMValueRef element =
        mlc_l_add(l, mlc_l_mul_const(l, at[0], d->outputs), mlc_l_mul_const(l, at[1], r->outputs));
    element = mlc_l_add(l, element, mlc_l_const(l, r->first));
    mlc_pattern_begin(l, d->pattern, element, (rows - d->rows) * d->outputs + blocks * r->outputs);
    emit_blocks(l, d, r, c, count[0], count[1]);
}

/* As few calls as the verifier has patience for: each costs some 8 ns. */
static void emit_run(mlc_lower *l, const mlc_dense *d, mlc_dense_run *r) {
    static const char *const names[2] = {"row", "block"};
    int64_t blocks = d->rows * r->count, walk = blocks * d->inputs * (2 + 3 * r->sums);
    bool each = blocks > 1 && d->counted && l->walked + walk > WALK_BUDGET;
    l->walked += each ? walk / blocks : walk;
    const int64_t inner[2] = {each ? 1 : d->rows, each ? 1 : r->count},
                  most[2] = {unknown(d->rows / inner[0] - 1), unknown(r->count / inner[1] - 1)};
    LLVMValueRef at[2] = {mlc_l_const(l, 0), mlc_l_const(l, 0)};
    mlc_debug_line(l->debug, l->builder, l->scope, d->node->line);
    if (blocks == 1) {
        emit_from(l, d, r, at, inner);
        return;
    }
    LLVMValueRef from[2];
    mlc_aside aside = mlc_aside_begin(l, d->node->line, names, most, from);
    emit_from(l, d, r, d->counted ? from : at, inner);
    mlc_aside_end(l, &aside);

    mlc_loop rows = {.count = d->rows / inner[0], .counted = true},
             columns = {.count = r->count / inner[1], .counted = true};
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
