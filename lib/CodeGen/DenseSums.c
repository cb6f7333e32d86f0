#include "DenseSums.h"

#include "Ops/IntClamp.h"

#include <string.h>

/* Words of one round. Without CAP_PERFMON each round of a counted loop has a barrier, which should be rare;
 * where size counts, or loops are wanted, rounds are short. A round of a may_goto loop costs as much as some
 * 9 multiplications, and code that caches do not hold yet much more: a quarter of a block has been fastest.
 */
enum { ROUND = 128, LARGE_ROUND = 512, SHORT_ROUND = 16 };

/* Inputs of a chunk that are loaded again for each word. */
enum { MOST_BY_WORD = 64 };

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

mlc_loop mlc_dense_loop(const mlc_dense *d, int64_t count) {
    return (mlc_loop){.count = count, .counted = d->counted};
}

LLVMValueRef mlc_dense_pointer(mlc_lower *l, mlc_dense_place *p) {
    if (!p->pointer)
        p->pointer = mlc_cursor_at(l, &p->at);
    return p->pointer;
}

static LLVMValueRef load(mlc_lower *l, mlc_dense_place *p, int64_t step, mlc_storage s) {
    LLVMValueRef x = mlc_lower_load(l, mlc_dense_pointer(l, p), p->plus, s);
    p->plus += step;
    return x;
}

/* The next word. */
static LLVMValueRef word(mlc_lower *l, mlc_dense_cursor *c) {
    return load(l, &c->w, 8, (mlc_storage){.width = 8});
}

void mlc_dense_carry(mlc_loop *loop, const mlc_dense_cursor *c, int64_t x_step, int64_t w_step) {
    mlc_loop_carry_pointer(loop, c->x.at, x_step);
    mlc_loop_carry_pointer(loop, c->w.at, w_step);
}

mlc_dense_cursor mlc_dense_carried(const mlc_loop *loop, const mlc_dense_cursor *c) {
    return (mlc_dense_cursor){{mlc_loop_pointer(loop, 0), NULL, c->x.plus},
                              {mlc_loop_pointer(loop, 1), NULL, c->w.plus}};
}

/* sum[] += the next `n` inputs times their words. */
static void add_inputs(mlc_lower *l, const mlc_dense *d, int sums, int64_t n, mlc_dense_cursor *c,
                       LLVMValueRef *sum) {
    for (int64_t k = 0; k < n; k++) {
        LLVMValueRef x = load(l, &c->x, d->apart * d->x.storage.width, d->x.storage);
        for (int a = 0; a < sums; a++)
            sum[a] = mlc_l_add(l, sum[a], mlc_l_mul(l, word(l, c), x));
    }
}

/* The same, in a loop. */
static void add_chunk(mlc_lower *l, const mlc_dense *d, int sums, int64_t n, mlc_dense_cursor *c,
                      LLVMValueRef *sum) {
    if (!is_straight(l, d, n, sums)) {
        int64_t round = round_of(l, d, sums);
        mlc_loop loop = mlc_dense_loop(d, n / round);
        for (int a = 0; a < sums; a++)
            mlc_loop_carry(&loop, sum[a]);
        mlc_dense_carry(&loop, c, round * d->apart * d->x.storage.width, 8 * round * sums);
        mlc_loop_begin(l, &loop);
        memcpy(loop.next, loop.carried, sizeof loop.next);
        mlc_dense_cursor inner = mlc_dense_carried(&loop, c);
        add_inputs(l, d, sums, round, &inner, loop.next);
        mlc_loop_end(l, &loop);
        memcpy(sum, loop.carried, (size_t)sums * sizeof *sum);
        *c = mlc_dense_carried(&loop, c);
        n %= round;
    }
    add_inputs(l, d, sums, n, c, sum);
}

static const mlc_storage sum64 = {.width = 8};

int64_t mlc_dense_wide_offset(const mlc_lower *l, int k) {
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
            x = mlc_l_add(l, x, mlc_lower_load(l, sums, mlc_dense_wide_offset(l, k), sum64));
        mlc_lower_store(l, sums, mlc_dense_wide_offset(l, k), sum64, x);
    }
}

/* The sums of a chunk of so many inputs. */
static void emit_chunk(mlc_lower *l, const mlc_dense *d, int sums, int64_t n, mlc_dense_cursor *c,
                       LLVMValueRef *sum) {
    for (int a = 0; a < sums; a++)
        sum[a] = word(l, c);
    add_chunk(l, d, sums, n, c, sum);
}

static int64_t length(const mlc_dense *d, int64_t chunk) {
    return d->chunk[chunk + 1] - d->chunk[chunk];
}

/* Equal chunks from c on. */
static void add_equal(mlc_lower *l, const mlc_dense *d, int sums, int64_t n, bool any, mlc_dense_cursor *c,
                      LLVMValueRef *sum) {
    for (int64_t k = 0; k < n; k++) {
        int64_t x = c->x.plus;
        emit_chunk(l, d, sums, length(d, 0), c, sum);
        flush(l, d, sums, any || k > 0, sum);
        c->x.plus = x + d->chunk_step * d->x.storage.width;
    }
}

/* So many, or fewer if they then come out even: what is left over is code of its own. */
static int64_t chunks_of_round(int64_t chunks, int64_t wanted) {
    for (int64_t n = wanted; 2 * n > wanted; n--)
        if (chunks % n == 0)
            return n;
    return wanted;
}

/* The same in a loop, some in a round. */
static void emit_equal(mlc_lower *l, const mlc_dense *d, int sums, int64_t n, mlc_dense_cursor *c,
                       LLVMValueRef *sum) {
    int64_t unit = chunks_of_round(n, (round_of(l, d, sums) + length(d, 0) - 1) / length(d, 0)),
            rounds = n / unit;
    if (rounds < 2) {
        add_equal(l, d, sums, n, false, c, sum);
        return;
    }
    LLVMValueRef frame = mlc_lower_base(l, MLC_AREA_SCRATCH);
    for (int k = 0; k < 2 * sums; k++)
        mlc_lower_store(l, frame, mlc_dense_wide_offset(l, k), sum64, mlc_l_const(l, 0));
    mlc_loop loop = mlc_dense_loop(d, rounds);
    mlc_dense_carry(&loop, c, unit * d->chunk_step * d->x.storage.width,
                    8 * unit * (1 + length(d, 0)) * sums);
    mlc_loop_begin(l, &loop);
    mlc_dense_cursor inner = mlc_dense_carried(&loop, c);
    add_equal(l, d, sums, unit, true, &inner, sum);
    mlc_loop_end(l, &loop);
    *c = mlc_dense_carried(&loop, c);
    add_equal(l, d, sums, n % unit, true, c, sum);
}

bool mlc_dense_ends_by_word(const mlc_dense *d) {
    return d->limits.most && d->lanes == MLC_INT_CLAMPED && d->n_chunks > 1 &&
           length(d, d->n_chunks - 1) <= MOST_BY_WORD;
}

LLVMValueRef mlc_dense_emit_word(mlc_lower *l, const mlc_dense *d, int sums, int a,
                                 const mlc_dense_cursor *c) {
    mlc_dense_cursor at = *c;
    at.w.plus += 8 * a;
    LLVMValueRef sum = load(l, &at.w, 8 * sums, sum64);
    for (int64_t k = 0; k < length(d, d->n_chunks - 1); k++) {
        LLVMValueRef x = load(l, &at.x, d->apart * d->x.storage.width, d->x.storage);
        sum = mlc_l_add(l, sum, mlc_l_mul(l, load(l, &at.w, 8 * sums, sum64), x));
    }
    return sum;
}

void mlc_dense_emit_sums(mlc_lower *l, const mlc_dense *d, int sums, mlc_dense_cursor *c, LLVMValueRef *sum) {
    int64_t n = d->n_chunks - mlc_dense_ends_by_word(d);
    if (d->chunk_step) {
        emit_equal(l, d, sums, n, c, sum);
        return;
    }
    for (int64_t chunk = 0; chunk < n; chunk++) {
        emit_chunk(l, d, sums, length(d, chunk), c, sum);
        if (d->n_chunks > 1)
            flush(l, d, sums, chunk > 0, sum);
    }
}
