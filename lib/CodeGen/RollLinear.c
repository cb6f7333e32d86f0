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
#include "Dense.h"
#include "Loop.h"
#include "Ops/IntClamp.h"

#include <string.h>

/* Rounds that the verifier walks through in one model, in instructions. */
enum { WALK_BUDGET = 50000 };

/* Words of one round. Without CAP_PERFMON each round of a counted loop has a barrier, which should be rare;
 * where size counts, or loops are wanted, rounds are short. Others cost some 9 multiplications: they are a
 * quarter of a block, of whose code caches then hold little else, and large ones cost less. */
enum { ROUND = 128, LARGE_ROUND = 512, SHORT_ROUND = 16 };

/* The inputs of one round. */
static int64_t round_of(const mlc_lower *l, const mlc_dense *d, int sums) {
    const mlc_options *options = l->cg->options;
    if (options->opt_level == 's' || options->unroll == MLC_UNROLL_NONE)
        return SHORT_ROUND / sums;
    int64_t words = d->inputs * sums / 4;
    return (d->counted || words < ROUND ? ROUND : words < LARGE_ROUND ? words : LARGE_ROUND) / sums;
}

/* So few inputs need no loop. */
static bool is_straight(const mlc_lower *l, const mlc_dense *d, int64_t n, int sums) {
    return n < 2 * round_of(l, d, sums) || n <= 3 * SHORT_ROUND / MLC_INT_WORDS;
}

static mlc_loop loop_of(const mlc_dense *d, int64_t count) {
    return (mlc_loop){.count = count, .counted = d->counted};
}

/* Where a block reads: the next input of a chunk and the next word. */
typedef struct place {
    mlc_cursor at;
    LLVMValueRef pointer; /* to `at`; NULL: not yet computed */
    int64_t plus;         /* bytes behind that */
} place;

typedef struct cursor {
    place x, w;
} cursor;

static LLVMValueRef pointer(mlc_lower *l, place *p) {
    if (!p->pointer)
        p->pointer = mlc_cursor_at(l, &p->at);
    return p->pointer;
}

static LLVMValueRef load(mlc_lower *l, place *p, int64_t step, mlc_storage s) {
    LLVMValueRef x = mlc_lower_load(l, pointer(l, p), p->plus, s);
    p->plus += step;
    return x;
}

/* The next word. */
static LLVMValueRef word(mlc_lower *l, cursor *c) {
    return load(l, &c->w, 8, (mlc_storage){.width = 8});
}

/* A loop that moves on by so many bytes a round. */
static void carry(mlc_loop *loop, const cursor *c, int64_t x_step, int64_t w_step) {
    mlc_loop_carry_pointer(loop, c->x.at, x_step);
    mlc_loop_carry_pointer(loop, c->w.at, w_step);
}

/* In a round, and behind the loop. */
static cursor carried(const mlc_loop *loop, const cursor *c) {
    return (cursor){{mlc_loop_pointer(loop, 0), NULL, c->x.plus},
                    {mlc_loop_pointer(loop, 1), NULL, c->w.plus}};
}

/* sum[] += the next `n` inputs times their words. */
static void add_inputs(mlc_lower *l, const mlc_dense *d, int sums, int64_t n, cursor *c, LLVMValueRef *sum) {
    for (int64_t k = 0; k < n; k++) {
        LLVMValueRef x = load(l, &c->x, d->apart * d->x.storage.width, d->x.storage);
        for (int a = 0; a < sums; a++)
            sum[a] = mlc_l_add(l, sum[a], mlc_l_mul(l, word(l, c), x));
    }
}

/* The same, in a loop. */
static void add_chunk(mlc_lower *l, const mlc_dense *d, int sums, int64_t n, cursor *c, LLVMValueRef *sum) {
    if (!is_straight(l, d, n, sums)) {
        int64_t round = round_of(l, d, sums);
        mlc_loop loop = loop_of(d, n / round);
        for (int a = 0; a < sums; a++)
            mlc_loop_carry(&loop, sum[a]);
        carry(&loop, c, round * d->apart * d->x.storage.width, 8 * round * sums);
        mlc_loop_begin(l, &loop);
        memcpy(loop.next, loop.carried, sizeof loop.next);
        cursor inner = carried(&loop, c);
        add_inputs(l, d, sums, round, &inner, loop.next);
        mlc_loop_end(l, &loop);
        memcpy(sum, loop.carried, (size_t)sums * sizeof *sum);
        *c = carried(&loop, c);
        n %= round;
    }
    add_inputs(l, d, sums, n, c, sum);
}

static const mlc_storage sum64 = {.width = 8};

/* The first byte of the even (k = 2a) or odd lanes of sum a, added up in the frame. */
static int64_t wide_offset(const mlc_lower *l, int k) {
    return l->cg->layout.sums_offset + 8 * k;
}

/* Adds the lanes of each sum to those of the chunks before, if any, in words of every other lane. */
static void flush(mlc_lower *l, const mlc_dense *d, int n_sums, bool any, const LLVMValueRef *sum) {
    LLVMValueRef sums = mlc_lower_base(l, MLC_AREA_SCRATCH);
    uint64_t bits = 0;
    for (int at = 0; at < 64; at += 2 * d->width)
        bits |= (((uint64_t)1 << d->width) - 1) << at;
    for (int k = 0; k < 2 * n_sums; k++) {
        LLVMValueRef x = k % 2 ? mlc_l_lshr(l, sum[k / 2], d->width) : sum[k / 2];
        x = mlc_l_and(l, x, mlc_l_const(l, (int64_t)bits));
        if (any)
            x = mlc_l_add(l, x, mlc_lower_load(l, sums, wide_offset(l, k), sum64));
        mlc_lower_store(l, sums, wide_offset(l, k), sum64, x);
    }
}

/* The lowest bits of x. */
static LLVMValueRef low_bits(mlc_lower *l, LLVMValueRef x, int bits) {
    return mlc_l_and(l, x, mlc_l_const(l, (int64_t)(((uint64_t)1 << bits) - 1)));
}

/* Output j of the block out of its lane, where the inputs are cut into chunks. Few registers are
 * left here, so lanes of whole bytes are read one by one. */
static LLVMValueRef extract_wide(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, int j) {
    int lane = j % d->lanes, at = lane / 2 * 2 * d->width;
    int64_t offset = wide_offset(l, j / d->lanes * 2 + lane % 2);
    LLVMValueRef sums = mlc_lower_base(l, MLC_AREA_SCRATCH);
    if (2 * d->width == 32)
        return mlc_lower_load(l, sums, offset + at / 8, (mlc_storage){.width = 4});
    LLVMValueRef x = mlc_l_lshr(l, mlc_lower_load(l, sums, offset, sum64), at);
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

/* One bit of each of the four lanes. */
static const int64_t one_each = 0x0001000100010001;

static LLVMValueRef flags(mlc_lower *l, LLVMValueRef x) {
    return mlc_l_and(l, mlc_l_lshr(l, x, 15), mlc_l_const(l, one_each));
}

/* Number k of those that belong to group g. */
static LLVMValueRef limit(mlc_lower *l, int g, mlc_dense_limit k, cursor *c) {
    int64_t offset = 8 * (g * MLC_DENSE_LIMITS + k);
    return mlc_lower_load(l, pointer(l, &c->w), c->w.plus + offset, sum64);
}

/* Where each of four lanes begins with two bytes: out of the words as they are. */
static LLVMValueRef shifted_whole(mlc_lower *l, const mlc_dense *d, int g, cursor *c,
                                  const LLVMValueRef *sum) {
    LLVMValueRef shift = limit(l, g, MLC_DENSE_SHIFT, c), x[2], frame = mlc_lower_base(l, MLC_AREA_SCRATCH);
    if (d->n_chunks == 1)
        return mlc_l_and(l, LLVMBuildLShr(l->builder, sum[g], shift, ""), limit(l, g, MLC_DENSE_MASK, c));
    for (int k = 0; k < 2; k++) {
        x[k] =
            LLVMBuildLShr(l->builder, mlc_lower_load(l, frame, wide_offset(l, 2 * g + k), sum64), shift, "");
        x[k] = mlc_l_and(l, x[k], mlc_l_const(l, 0x0000ffff0000ffff));
    }
    return mlc_l_or(l, x[0], mlc_l_shl(l, x[1], 16));
}

/* The lanes of group g, shifted. */
static LLVMValueRef shifted(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, int g, cursor *c,
                            const LLVMValueRef *sum) {
    if (d->lanes == MLC_INT_CLAMPED)
        return shifted_whole(l, d, g, c, sum);
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
static LLVMValueRef limited(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, int g, cursor *c,
                            const LLVMValueRef *sum) {
    LLVMValueRef t = shifted(l, d, r, g, c, sum);
    if (d->limits.any_halved)
        t = mlc_l_or(l, mlc_l_and(l, t, limit(l, g, MLC_DENSE_KEPT, c)),
                     mlc_l_and(l, mlc_l_lshr(l, t, 1), limit(l, g, MLC_DENSE_HALVED, c)));
    LLVMValueRef above = flags(l, mlc_l_add(l, t, limit(l, g, MLC_DENSE_LIMIT, c)));
    t = mlc_l_add(l, t, limit(l, g, MLC_DENSE_START, c));
    LLVMValueRef inside = mlc_l_sub(l, flags(l, t), above);
    t = mlc_l_and(l, t, mlc_l_mul_const(l, inside, ((int64_t)1 << d->limits.bits) - 1));
    return mlc_l_add(l, t, mlc_l_mul_const(l, above, d->limits.most));
}

/* The sums of a chunk of so many inputs. */
static void emit_chunk(mlc_lower *l, const mlc_dense *d, int sums, int64_t n, cursor *c, LLVMValueRef *sum) {
    for (int a = 0; a < sums; a++)
        sum[a] = word(l, c);
    add_chunk(l, d, sums, n, c, sum);
}

static int64_t length(const mlc_dense *d, int64_t chunk) {
    return d->chunk[chunk + 1] - d->chunk[chunk];
}

/* Equal chunks from c on. */
static void add_equal(mlc_lower *l, const mlc_dense *d, int sums, int64_t n, bool any, cursor *c,
                      LLVMValueRef *sum) {
    for (int64_t k = 0; k < n; k++) {
        int64_t x = c->x.plus;
        emit_chunk(l, d, sums, length(d, 0), c, sum);
        flush(l, d, sums, any || k > 0, sum);
        c->x.plus = x + d->chunk_step * d->x.storage.width;
    }
}

/* The same in a loop, some in a round. */
static void emit_equal(mlc_lower *l, const mlc_dense *d, int sums, cursor *c, LLVMValueRef *sum) {
    int64_t unit = (round_of(l, d, sums) + length(d, 0) - 1) / length(d, 0), rounds = d->n_chunks / unit;
    if (rounds < 2) {
        add_equal(l, d, sums, d->n_chunks, false, c, sum);
        return;
    }
    LLVMValueRef frame = mlc_lower_base(l, MLC_AREA_SCRATCH);
    for (int k = 0; k < 2 * sums; k++)
        mlc_lower_store(l, frame, wide_offset(l, k), sum64, mlc_l_const(l, 0));
    mlc_loop loop = loop_of(d, rounds);
    carry(&loop, c, unit * d->chunk_step * d->x.storage.width, 8 * unit * (1 + length(d, 0)) * sums);
    mlc_loop_begin(l, &loop);
    cursor inner = carried(&loop, c);
    add_equal(l, d, sums, unit, true, &inner, sum);
    mlc_loop_end(l, &loop);
    *c = carried(&loop, c);
    add_equal(l, d, sums, d->n_chunks % unit, true, c, sum);
}

/* All sums of a block: sum[], or where there are several chunks, in the frame. */
static void emit_sums(mlc_lower *l, const mlc_dense *d, int sums, cursor *c, LLVMValueRef *sum) {
    if (d->chunk_step) {
        emit_equal(l, d, sums, c, sum);
        return;
    }
    for (int64_t chunk = 0; chunk < d->n_chunks; chunk++) {
        emit_chunk(l, d, sums, length(d, chunk), c, sum);
        if (d->n_chunks > 1)
            flush(l, d, sums, chunk > 0, sum);
    }
}

/* A round of the loop over blocks, whose pattern's pointers are those from `first` on. */
static void emit_block(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, cursor c,
                       const mlc_loop *blocks, int first) {
    mlc_pattern *p = d->pattern;
    LLVMValueRef sum[MLC_INT_WORDS];
    emit_sums(l, d, r->sums, &c, sum);
    mlc_pattern_enter(p, blocks, first);
    mlc_debug_line(l->debug, l->builder, l->scope, (r->groups ? p->node : d->node)->line);
    for (int g = 0; g < r->groups; g++) {
        p->plus = g * MLC_INT_CLAMPED;
        mlc_pattern_store_word(l, p, limited(l, d, r, g, &c, sum));
    }
    for (int j = 0; j < r->outputs && !r->groups; j++) {
        p->plus = j;
        p->x = d->direct
                   ? look_up(l, d, j, sum)
                   : finish(l, d, d->n_chunks > 1 ? extract_wide(l, d, r, j) : extract(l, d, r, j, sum));
        mlc_pattern_store(l, p);
    }
}

/* So many rows and blocks of each, in loops. */
static void emit_blocks(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, cursor c, int64_t n_rows,
                        int64_t n_blocks) {
    mlc_pattern *p = d->pattern;
    mlc_loop rows = loop_of(d, n_rows), blocks = loop_of(d, n_blocks);
    carry(&rows, &c, d->row * d->x.storage.width, 0);
    int row = mlc_pattern_carry(l, p, &rows, d->outputs);
    mlc_loop_begin(l, &rows);
    mlc_pattern_enter(p, &rows, row);
    c = carried(&rows, &c);
    carry(&blocks, &c, 0, 8 * r->stride);
    int block = mlc_pattern_carry(l, p, &blocks, r->outputs);
    mlc_loop_begin(l, &blocks);
    emit_block(l, d, r, carried(&blocks, &c), &blocks, block);
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
    mlc_loop loop = loop_of(d, count);
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
    cursor c = {{x, NULL, d->x.offset}, {w, NULL, 0}};
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
