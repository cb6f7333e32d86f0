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
 * The verifier walks through every round of a loop. Where these are many, a block
 * becomes a global function of its own, which is walked through once:
 *
 *   int mlc_roll_N(struct *in, struct *out, struct *scratch, u32 row, u32 block)
 */
#include "Aside.h"
#include "Dense.h"
#include "Loop.h"

#include <string.h>

enum {
    UNROLL = 4,          /* inputs of one round */
    STRAIGHT = 12,       /* so few inputs need no loop */
    WALK_BUDGET = 50000, /* rounds that the verifier walks through in one model, in instructions */
};

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
    c->x = advance(l, c->x, mlc_l_const(l, inputs * d->x.storage.width));
    c->w = advance(l, c->w, mlc_l_const(l, 8 * inputs * sums));
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
    if (n > STRAIGHT) {
        mlc_loop loop = {.count = n / UNROLL};
        for (int a = 0; a < sums; a++)
            mlc_loop_carry(&loop, sum[a]);
        int x = mlc_loop_carry(&loop, c->x), w = mlc_loop_carry(&loop, c->w);
        mlc_loop_begin(l, &loop);
        memcpy(loop.next, loop.carried, sizeof loop.next);
        cursor inner = {loop.carried[x], loop.carried[w]};
        add_inputs(l, d, sums, UNROLL, &inner, loop.next);
        loop.next[x] = inner.x;
        loop.next[w] = inner.w;
        mlc_loop_end(l, &loop);
        memcpy(sum, loop.carried, (size_t)sums * sizeof *sum);
        *c = (cursor){loop.carried[x], loop.carried[w]};
        n %= UNROLL;
    }
    add_inputs(l, d, sums, n, c, sum);
}

/* Output j of the block out of its lane. */
static LLVMValueRef extract(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, int j,
                            const LLVMValueRef *sum) {
    int lane = j % d->lanes;
    LLVMValueRef x = mlc_l_lshr(l, sum[j / d->lanes], lane * d->width);
    if (d->lanes > 1 && lane < d->lanes - 1 && j < r->outputs - 1)
        x = mlc_l_and(l, x, mlc_l_const(l, (int64_t)(((uint64_t)1 << d->width) - 1)));
    return x;
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

/* One block. Between chunks the outputs wait in memory, in 64 bits each. */
static void emit_block(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, LLVMValueRef row,
                       LLVMValueRef block) {
    static const mlc_storage sum64 = {.width = 8};
    mlc_pattern *p = d->pattern;
    LLVMValueRef sum[MLC_INT_WORDS], sums = l->base[MLC_AREA_SCRATCH];
    int64_t at = l->cg->layout.sums_offset;
    cursor c = {mlc_lower_base(l, d->x.area), advance(l, r->words, mlc_l_mul_const(l, block, 8 * r->stride))};
    c.x = advance(l, c.x, mlc_l_mul_const(l, row, d->inputs * d->x.storage.width));
    c.x = advance(l, c.x, mlc_l_const(l, d->x.offset));
    LLVMValueRef rows = mlc_l_mul_const(l, row, d->outputs), blocks = mlc_l_mul_const(l, block, r->outputs);
    p->element = mlc_l_add(l, rows, blocks);
    for (int64_t chunk = 0; chunk < d->n_chunks; chunk++) {
        for (int a = 0; a < r->sums; a++)
            sum[a] = word(l, c.w, a);
        c.w = advance(l, c.w, mlc_l_const(l, 8 * r->sums));
        add_chunk(l, d, r->sums, d->chunk[chunk + 1] - d->chunk[chunk], &c, sum);
        for (int j = 0; j < r->outputs; j++) {
            p->plus = r->first + j;
            if (d->direct) {
                p->x = look_up(l, d, j, sum);
                mlc_pattern_store(l, p);
                continue;
            }
            LLVMValueRef x = extract(l, d, r, j, sum);
            if (chunk > 0)
                x = mlc_l_add(l, x, mlc_lower_load(l, sums, at + 8 * j, sum64));
            if (chunk < d->n_chunks - 1) {
                mlc_lower_store(l, sums, at + 8 * j, sum64, x);
                continue;
            }
            p->x = finish(l, d, x);
            mlc_pattern_store(l, p);
        }
    }
}

/* --- blocks as functions --- */

enum { AREAS = 3, ROW = AREAS, BLOCK, PARAMS };

static LLVMTypeRef block_type(mlc_lower *l) {
    LLVMTypeRef params[PARAMS] = {l->ptr, l->ptr, l->ptr, l->i32, l->i32};
    return LLVMFunctionType(l->i32, params, PARAMS, false);
}

/* The areas, in the order of the parameters; an empty one is not read, and scratch stands in for it. */
static void areas(const mlc_lower *l, mlc_area *area, int64_t *size) {
    for (int k = 0; k < AREAS; k++) {
        area[k] = (mlc_area)(MLC_AREA_IN + k);
        if (mlc_area_size(&l->cg->layout, area[k]) == 0)
            area[k] = MLC_AREA_SCRATCH;
        size[k] = mlc_area_size(&l->cg->layout, area[k]);
    }
}

/* The function checks what the kernel cannot know when it verifies it by itself. */
static LLVMValueRef block_function(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r) {
    mlc_area area[AREAS];
    int64_t size[AREAS];
    areas(l, area, size);
    LLVMValueRef fn = mlc_aside_function(l, block_type(l));
    mlc_aside aside =
        mlc_aside_begin(l, fn, mlc_debug_block(l->debug, fn, size, d->node->line), d->node->line);
    for (unsigned k = 0; k < AREAS; k++) {
        l->base[area[k]] = LLVMGetParam(fn, k);
        mlc_aside_require(l, LLVMBuildIsNotNull(l->builder, LLVMGetParam(fn, k), ""));
    }
    const int64_t count[] = {d->rows, r->count};
    LLVMValueRef at[2];
    for (unsigned k = 0; k < 2; k++) {
        at[k] = LLVMBuildZExt(l->builder, LLVMGetParam(fn, ROW + k), l->i64, "");
        mlc_aside_require(l, LLVMBuildICmp(l->builder, LLVMIntULT, at[k], mlc_l_const(l, count[k]), ""));
    }
    emit_block(l, d, r, at[0], at[1]);
    mlc_aside_end(l, &aside);
    return fn;
}

static void call_block(mlc_lower *l, LLVMValueRef fn, LLVMValueRef row, LLVMValueRef block) {
    mlc_area area[AREAS];
    int64_t size[AREAS];
    LLVMValueRef args[PARAMS];
    areas(l, area, size);
    for (int k = 0; k < AREAS; k++)
        args[k] = l->base[area[k]];
    args[ROW] = LLVMBuildTrunc(l->builder, row, l->i32, "");
    args[BLOCK] = LLVMBuildTrunc(l->builder, block, l->i32, "");
    LLVMBuildCall2(l->builder, block_type(l), fn, args, PARAMS, "");
}

static void emit_run(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r) {
    int64_t blocks = d->rows * r->count, walk = blocks * d->inputs * (2 + 3 * r->sums);
    LLVMValueRef fn = NULL;
    if (blocks > 1 && l->walked + walk > WALK_BUDGET) {
        walk /= blocks;
        fn = block_function(l, d, r);
    }
    l->walked += walk;
    mlc_loop rows = {.count = d->rows}, columns = {.count = r->count};
    mlc_loop_begin(l, &rows);
    mlc_loop_begin(l, &columns);
    if (fn)
        call_block(l, fn, rows.at, columns.at);
    else
        emit_block(l, d, r, rows.at, columns.at);
    mlc_loop_end(l, &columns);
    mlc_loop_end(l, &rows);
}

void mlc_lower_rolled_linear(mlc_lower *l, mlc_pattern *p, const mlc_node *linear) {
    mlc_dense d = mlc_dense_plan(l, p, linear);
    int most = MLC_INT_WORDS * d.lanes;
    int64_t whole = d.outputs / most;
    int rest = (int)(d.outputs % most);
    if (whole) {
        mlc_dense_run r = mlc_dense_pack(l, &d, 0, whole, most);
        emit_run(l, &d, &r);
    }
    if (rest) {
        mlc_dense_run r = mlc_dense_pack(l, &d, whole * most, 1, rest);
        emit_run(l, &d, &r);
    }
}
