/* Lanes, chunks and packed words of rolled dense layers. */
#include "Dense.h"

#include <string.h>

/* In multiplications: what it costs to add a word of a chunk to the sums, which are in
 * memory, and to look up the shift of an output. */
#define FLUSH_COST 3.0
#define SHIFT_COST 1.5

/* Chunks end at multiples of CHUNK_UNIT inputs. */
enum { MAX_CHUNKS = 64, CHUNK_UNIT = 4 };

typedef __int128 wide;

/* Bounds of one input over all rows. */
typedef struct range {
    int64_t lo, hi;
} range;

static range *input_ranges(mlc_lower *l, const mlc_dense *d) {
    const mlc_value *x = d->node->in[0];
    range *r = MLC_NEW_ARRAY(l->arena, d->inputs, range);
    for (int64_t k = 0; k < d->inputs; k++) {
        r[k] = (range){x->lo[k], x->hi[k]};
        for (int64_t i = k + d->inputs; i < d->rows * d->inputs; i += d->inputs) {
            r[k].lo = x->lo[i] < r[k].lo ? x->lo[i] : r[k].lo;
            r[k].hi = x->hi[i] > r[k].hi ? x->hi[i] : r[k].hi;
        }
    }
    return r;
}

/* Distance between the least and the largest sum over inputs [first, last) of output n. */
static wide spread(const mlc_dense *d, const range *x, int64_t n, int64_t first, int64_t last) {
    const int64_t *w = d->w + n * d->inputs;
    wide sum = 0;
    for (int64_t k = first; k < last; k++)
        sum += (w[k] < 0 ? -(wide)w[k] : (wide)w[k]) * ((wide)x[k].hi - x[k].lo);
    return sum;
}

/* The least of these sums. */
static wide lowest(const mlc_dense *d, const range *x, int64_t n, int64_t first, int64_t last) {
    const int64_t *w = d->w + n * d->inputs;
    wide sum = 0;
    for (int64_t k = first; k < last; k++)
        sum += (wide)w[k] * (w[k] < 0 ? x[k].hi : x[k].lo);
    return sum;
}

static int bits_of(wide x) {
    int bits = 1;
    while (bits < 65 && x >> bits)
        bits++;
    return bits;
}

/* Cuts the inputs into chunks whose lanes have `width` bits. Returns their number; 0: they are too many. */
static int64_t cut(mlc_lower *l, const mlc_dense *d, const range *x, int width, int64_t *chunk) {
    wide *sum = MLC_NEW_ARRAY(l->arena, d->outputs, wide);
    int64_t n_chunks = 1, k = 0;
    chunk[0] = 0;
    while (k < d->inputs) {
        int64_t end = k + CHUNK_UNIT < d->inputs ? k + CHUNK_UNIT : d->inputs;
        bool fits = true;
        for (int64_t n = 0; n < d->outputs; n++) {
            sum[n] += spread(d, x, n, k, end);
            fits = fits && sum[n] >> width == 0;
        }
        if (fits) {
            k = end;
            continue;
        }
        if (k == chunk[n_chunks - 1] || n_chunks == MAX_CHUNKS)
            return 0;
        chunk[n_chunks++] = k;
        memset(sum, 0, (size_t)d->outputs * sizeof *sum);
    }
    chunk[n_chunks] = d->inputs;
    return n_chunks;
}

/* By the multiplications and flushes that one output costs, which are returned. */
static double choose_lanes(mlc_lower *l, mlc_dense *d, const range *x) {
    wide widest = 0;
    for (int64_t n = 0; n < d->outputs; n++) {
        wide s = spread(d, x, n, 0, d->inputs);
        widest = s > widest ? s : widest;
    }
    int bits = bits_of(widest);
    d->lanes = bits > 32 ? 1 : 64 / bits < MLC_INT_LANES ? 64 / bits : MLC_INT_LANES;
    d->n_chunks = 1;
    d->chunk = MLC_NEW_ARRAY(l->arena, 2, int64_t);
    d->chunk[1] = d->inputs;
    double best = (double)d->inputs / d->lanes;
    for (int lanes = d->lanes + 1; lanes <= MLC_INT_LANES; lanes++) {
        int64_t *chunk = MLC_NEW_ARRAY(l->arena, MAX_CHUNKS + 1, int64_t);
        int64_t n_chunks = cut(l, d, x, 64 / lanes, chunk);
        double cost = ((double)d->inputs + FLUSH_COST * (double)n_chunks) / lanes;
        if (n_chunks == 0 || lanes % 2 || cost >= best)
            continue;
        best = cost;
        d->lanes = lanes;
        d->n_chunks = n_chunks;
        d->chunk = chunk;
    }
    d->width = 64 / d->lanes;
    return best;
}

static int own_shift(const mlc_node *requantize, int64_t i) {
    const mlc_value *shift = requantize->in[1];
    return (int)shift->constant->i[mlc_shape_broadcast_index(&shift->shape, &requantize->out[0]->shape, i)];
}

/* Of output n, after scaling. */
static int shift_of(const mlc_dense *d, int64_t n) {
    return d->shift_column < 0 ? d->shift : own_shift(d->requantize, n);
}

/* Exact lower bounds of all chunks, one that is common to all outputs where the
 * lanes of a single chunk have room for that. It then need not be looked up, and it
 * is a multiple of the table's step, so that the lane's upper bits are the index. */
static void choose_low(mlc_lower *l, mlc_dense *d, const range *x) {
    int64_t first = d->requantize ? mlc_attr_int(d->requantize, "first", 0) : 0;
    d->low = MLC_NEW_ARRAY(l->arena, d->n_chunks * d->outputs, int64_t);
    d->low_column = -1;
    d->all_low = (int64_t)(0 - ((uint64_t)first << d->shift));
    if (d->lanes == 1 && d->shift_column < 0)
        return;
    wide *total = MLC_NEW_ARRAY(l->arena, d->outputs, wide), least = 0, most = 0;
    for (int64_t n = 0; n < d->outputs && d->lanes > 1; n++) {
        total[n] = d->bias[n];
        for (int64_t c = 0; c < d->n_chunks; c++) {
            wide low = lowest(d, x, n, d->chunk[c], d->chunk[c + 1]);
            total[n] += low;
            d->low[c * d->outputs + n] = (int64_t)(uint64_t)(low + (c ? 0 : d->bias[n]));
        }
        least = n == 0 || total[n] < least ? total[n] : least;
    }
    least -= least & (((wide)1 << d->shift) - 1);
    for (int64_t n = 0; n < d->outputs; n++) {
        wide s = total[n] - least + spread(d, x, n, 0, d->inputs);
        most = s > most ? s : most;
    }
    if (d->n_chunks == 1 && most >> d->width == 0 && d->shift_column < 0) {
        d->all_low = (int64_t)((uint64_t)least + (uint64_t)d->all_low);
        d->direct = d->requantize && d->all_low >= 0;
        for (int64_t n = 0; n < d->outputs; n++)
            d->low[n] = (int64_t)(uint64_t)least;
        return;
    }
    int64_t *column = MLC_NEW_ARRAY(l->arena, d->rows * d->outputs, int64_t);
    for (int64_t i = 0; i < d->rows * d->outputs; i++) {
        int64_t n = i % d->outputs;
        column[i] = (int64_t)((uint64_t)total[n] - ((uint64_t)first << shift_of(d, n)));
    }
    d->low_column = mlc_pattern_add_column(l, d->pattern, column);
}

/* A Requantize that treats all rows alike. */
static bool fits(const mlc_node *requantize, int64_t outputs) {
    if (requantize->op != mlc_iop("Requantize"))
        return false;
    for (int64_t i = outputs; i < mlc_shape_elements(&requantize->out[0]->shape); i++)
        if (own_shift(requantize, i) != own_shift(requantize, i - outputs))
            return false;
    return true;
}

const mlc_node *mlc_dense_bottom(const mlc_lower *l, const mlc_node *node, const mlc_node *linear) {
    for (const mlc_node *n = node, *next; n && n != linear; n = next) {
        next = NULL;
        for (int k = 0; k < n->n_in && !next; k++) {
            const mlc_value *x = n->in[k];
            if (x->producer && l->cg->layout.place[x->id].area == MLC_AREA_NONE &&
                mlc_lower_root(l, x->producer) == linear)
                next = x->producer;
        }
        if (next == linear && fits(n, linear->in[1]->shape.dim[0]))
            return n;
    }
    return linear;
}

/* Differences of shifts beyond any use; bits that scaled sums may have. */
enum { MAX_SCALING = 30, MAX_SCALED_BITS = 62 };

/* (x << d) >> (s + d) is x >> s: outputs scaled to the largest shift need not look up
 * their own. False where that is impossible or there is nothing to scale. */
static bool scale(mlc_lower *l, mlc_dense *d) {
    if (!d->requantize)
        return false;
    int least = 63, most = 0;
    for (int64_t n = 0; n < d->outputs; n++) {
        int s = own_shift(d->requantize, n);
        least = s < least ? s : least;
        most = s > most ? s : most;
    }
    d->shift = most;
    if (least == most)
        return true;
    int64_t first = mlc_attr_int(d->requantize, "first", 0),
            entries = mlc_shape_elements(&d->requantize->in[2]->shape);
    int bits = bits_of((first < 0 ? -(wide)first : (wide)first) + entries);
    if (most - least > MAX_SCALING || most + bits > MAX_SCALED_BITS)
        return false;
    int64_t *w = MLC_NEW_ARRAY(l->arena, d->outputs * d->inputs, int64_t),
            *bias = MLC_NEW_ARRAY(l->arena, d->outputs, int64_t);
    for (int64_t n = 0; n < d->outputs; n++) {
        int by = most - own_shift(d->requantize, n);
        bias[n] = (int64_t)((uint64_t)d->bias[n] << by);
        for (int64_t k = n * d->inputs; k < (n + 1) * d->inputs; k++)
            w[k] = (int64_t)((uint64_t)d->w[k] << by);
    }
    d->w = w;
    d->bias = bias;
    return true;
}

static void look_up_shifts(mlc_lower *l, mlc_dense *d) {
    int64_t *column = MLC_NEW_ARRAY(l->arena, d->rows * d->outputs, int64_t);
    for (int64_t i = 0; i < d->rows * d->outputs; i++)
        column[i] = own_shift(d->requantize, i % d->outputs);
    d->shift = 0;
    d->shift_column = mlc_pattern_add_column(l, d->pattern, column);
}

mlc_dense mlc_dense_plan(mlc_lower *l, mlc_pattern *p, const mlc_node *linear) {
    mlc_dense d = {.node = linear,
                   .requantize = p->bottom == linear ? NULL : p->bottom,
                   .shift_column = -1,
                   .w = linear->in[1]->constant->i,
                   .bias = linear->in[2]->constant->i,
                   .pattern = p,
                   .x = l->cg->layout.place[linear->in[0]->id],
                   .outputs = linear->in[1]->shape.dim[0],
                   .inputs = linear->in[1]->shape.dim[1]};
    d.rows = mlc_shape_elements(&linear->in[0]->shape) / d.inputs;
    const range *x = input_ranges(l, &d);
    mlc_dense scaled = d;
    double cost = choose_lanes(l, &d, x);
    if (scale(l, &scaled) && choose_lanes(l, &scaled, x) <= cost + SHIFT_COST)
        d = scaled;
    else if (d.requantize)
        look_up_shifts(l, &d);
    choose_low(l, &d, x);
    return d;
}

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

mlc_dense_run mlc_dense_run_of(const mlc_dense *d, int64_t first, int64_t count, int outputs) {
    mlc_dense_run r = {.first = first, .count = count, .outputs = outputs};
    r.sums = (outputs + d->lanes - 1) / d->lanes;
    r.stride = (d->n_chunks + d->inputs) * r.sums;
    return r;
}

void mlc_dense_emit_words(mlc_lower *l, const mlc_dense *d, mlc_dense_run *r, int64_t behind) {
    int64_t *words = MLC_NEW_ARRAY(l->arena, r->count * r->stride, int64_t), at = 0;
    for (int64_t block = 0; block < r->count; block++)
        for (int64_t c = 0; c < d->n_chunks; c++) {
            for (int sum = 0; sum < r->sums; sum++)
                words[at++] = pack(d, r, block, c, -1, sum);
            for (int64_t k = d->chunk[c]; k < d->chunk[c + 1]; k++)
                for (int sum = 0; sum < r->sums; sum++)
                    words[at++] = pack(d, r, block, c, k, sum);
        }
    r->words = mlc_lower_words(l, words, at, behind * r->stride);
}
