#include "DenseLanes.h"

#include <string.h>

/* In multiplications: what it costs to add a word of a chunk to the sums, which are in memory. */
#define FLUSH_COST 3.0

/* Chunks have at least that many inputs, and end at multiples of them where they may be of any size. */
enum { MAX_CHUNKS = 64, CHUNK_UNIT = 4 };

typedef mlc_dense_wide wide;

const mlc_dense_range *mlc_dense_inputs(mlc_lower *l, const mlc_dense *d) {
    const mlc_value *x = d->node->in[0];
    mlc_dense_range *r = MLC_NEW_ARRAY(l->arena, d->inputs, mlc_dense_range);
    for (int64_t k = 0; k < d->inputs; k++) {
        r[k] = (mlc_dense_range){x->lo[k], x->hi[k]};
        for (int64_t i = k + d->inputs; i < d->rows * d->inputs; i += d->inputs) {
            r[k].lo = x->lo[i] < r[k].lo ? x->lo[i] : r[k].lo;
            r[k].hi = x->hi[i] > r[k].hi ? x->hi[i] : r[k].hi;
        }
    }
    return r;
}

/* What input k adds to the spread of output n. */
static wide spread_of(const mlc_dense *d, int64_t n, int64_t k) {
    int64_t w = d->w[n * d->inputs + k];
    return (w < 0 ? -(wide)w : (wide)w) * ((wide)d->range[k].hi - d->range[k].lo);
}

static wide slack_of(const mlc_dense *d, int64_t n) {
    return d->slack ? d->slack[n] : 0;
}

wide mlc_dense_spread(const mlc_dense *d, int64_t n, int64_t first, int64_t last) {
    wide sum = first == 0 ? slack_of(d, n) : 0;
    for (int64_t k = first; k < last; k++)
        sum += spread_of(d, n, k);
    return sum;
}

wide mlc_dense_lowest(const mlc_dense *d, int64_t n, int64_t first, int64_t last) {
    const int64_t *w = d->w + n * d->inputs;
    wide sum = 0;
    for (int64_t k = first; k < last; k++)
        sum += (wide)w[k] * (w[k] < 0 ? d->range[k].hi : d->range[k].lo);
    return sum;
}

int mlc_dense_bits(wide x) {
    int bits = 1;
    while (bits < 65 && x >> bits)
        bits++;
    return bits;
}

/* --- chunks one behind the other --- */

/* The end of the chunk from input `first` on that all outputs have `width` bits for. */
static int64_t end_of(const mlc_dense *d, int width, int64_t first, wide *sum) {
    memset(sum, 0, (size_t)d->outputs * sizeof *sum);
    int64_t k = first;
    for (int64_t end = k; k < d->inputs; k = end) {
        end = k + CHUNK_UNIT < d->inputs ? k + CHUNK_UNIT : d->inputs;
        for (int64_t n = 0; n < d->outputs; n++) {
            sum[n] += mlc_dense_spread(d, n, k, end);
            if (sum[n] >> width)
                return k;
        }
    }
    return k;
}

static bool cut(mlc_lower *l, mlc_dense *d) {
    wide *sum = MLC_NEW_ARRAY(l->arena, d->outputs, wide);
    int64_t *chunk = MLC_NEW_ARRAY(l->arena, MAX_CHUNKS + 1, int64_t), n = 0;
    for (; chunk[n] < d->inputs; n++) {
        if (n == MAX_CHUNKS)
            return false;
        chunk[n + 1] = end_of(d, d->width, chunk[n], sum);
        if (chunk[n + 1] == chunk[n])
            return false;
    }
    d->n_chunks = n;
    d->chunk = chunk;
    return true;
}

/* --- chunks of the same size --- */

typedef struct partition {
    int64_t chunks, length;
    bool apart;
} partition;

static partition partition_of(const mlc_dense *d, int64_t chunks, bool apart) {
    return (partition){chunks, (d->inputs + chunks - 1) / chunks, apart};
}

/* Input j of chunk c. */
static int64_t element(const partition *p, int64_t c, int64_t j) {
    return p->apart ? c + j * p->chunks : c * p->length + j;
}

static bool fits(const mlc_dense *d, const partition *p) {
    for (int64_t c = 0; c < p->chunks; c++)
        for (int64_t n = 0; n < d->outputs; n++) {
            wide sum = c == 0 ? slack_of(d, n) : 0;
            for (int64_t j = 0; j < p->length && element(p, c, j) < d->inputs; j++)
                sum += spread_of(d, n, element(p, c, j));
            if (sum >> d->width)
                return false;
        }
    return true;
}

/* Puts the inputs into the order of the code. */
static void put(mlc_lower *l, mlc_dense *d, const partition *p) {
    int64_t inputs = p->length * p->chunks;
    int64_t *w = MLC_NEW_ARRAY(l->arena, d->outputs * inputs, int64_t),
            *chunk = MLC_NEW_ARRAY(l->arena, p->chunks + 1, int64_t);
    mlc_dense_range *range = MLC_NEW_ARRAY(l->arena, inputs, mlc_dense_range);
    for (int64_t k = 0; k < inputs; k++) {
        int64_t from = element(p, k / p->length, k % p->length);
        if (from >= d->inputs)
            continue;
        range[k] = d->range[from];
        for (int64_t n = 0; n < d->outputs; n++)
            w[n * inputs + k] = d->w[n * d->inputs + from];
    }
    for (int64_t c = 0; c <= p->chunks; c++)
        chunk[c] = c * p->length;
    d->w = w;
    d->range = range;
    d->inputs = inputs;
    d->apart = p->apart ? p->chunks : 1;
    d->chunk_step = p->apart ? 1 : p->length;
    d->n_chunks = p->chunks;
    d->chunk = chunk;
}

/* In multiplications. */
static double cost_of(const partition *p) {
    return (double)(p->length * p->chunks) + (p->chunks > 1 ? FLUSH_COST * (double)p->chunks : 0);
}

static bool cut_equal(mlc_lower *l, mlc_dense *d) {
    partition best = {0};
    for (int64_t chunks = 1; chunks <= MAX_CHUNKS && CHUNK_UNIT * chunks <= d->inputs; chunks++)
        for (int apart = 0; apart < 2; apart++) {
            partition p = partition_of(d, chunks, apart);
            if (best.chunks && 2 * chunks > 3 * best.chunks)
                break;
            if ((!best.chunks || cost_of(&p) < cost_of(&best)) && fits(d, &p))
                best = p;
        }
    if (best.chunks)
        put(l, d, &best);
    return best.chunks > 0;
}

/* --- lanes --- */

/* Cuts the inputs into chunks, so that `lanes` outputs, two at least, share a word. Returns what one output
 * then costs, 0: these are too many lanes. */
static double cut_for(mlc_lower *l, mlc_dense *d, int lanes) {
    d->lanes = lanes;
    d->width = 64 / lanes;
    if (!(d->counted ? cut(l, d) : cut_equal(l, d)))
        return 0;
    double flushes = d->n_chunks > 1 ? FLUSH_COST * (double)d->n_chunks : 0;
    return ((double)d->inputs + flushes) / lanes;
}

double mlc_dense_choose_lanes(mlc_lower *l, mlc_dense *d) {
    wide widest = 0;
    for (int64_t n = 0; n < d->outputs; n++) {
        wide s = mlc_dense_spread(d, n, 0, d->inputs);
        widest = s > widest ? s : widest;
    }
    const mlc_dense whole = *d;
    int bits = mlc_dense_bits(widest);
    d->lanes = bits > 32 ? 1 : 64 / bits < MLC_INT_LANES ? 64 / bits : MLC_INT_LANES;
    d->width = 64 / d->lanes;
    d->n_chunks = 1;
    d->chunk = MLC_NEW_ARRAY(l->arena, 2, int64_t);
    d->chunk[1] = d->inputs;
    double best = (double)d->inputs / d->lanes;
    for (int lanes = d->lanes + 1; lanes <= MLC_INT_LANES; lanes++) {
        mlc_dense other = whole;
        double cost = lanes % 2 ? 0 : cut_for(l, &other, lanes);
        if (cost == 0 || cost >= best)
            continue;
        best = cost;
        *d = other;
    }
    return best;
}
