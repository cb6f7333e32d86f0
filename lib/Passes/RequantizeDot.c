/*
 * A Rescale behind a dot product, and the table behind that, become one table over the
 * accumulator. The channels whose multiplier is a power of two 2^p, p <= s, share the
 * table as it is:
 *
 *   (x * 2^p + c) >> s  ==  (x + (c >> p)) >> (s - p)
 *
 * Others have more steps behind the Rescale than the accumulator takes. Those with the
 * same multiplier and addend get a table of their own over all that the accumulator may
 * be; it stands behind the shared one, and an addend leads there. That takes no room in
 * a packed word, which holds accumulators less their least.
 */
#include "Requantize.h"

#include "mlc/op.h"

/* A part of the table, and the numbers that are looked up there. */
typedef struct part {
    int64_t multiplier, addend; /* of its channels */
    int64_t lo, hi;             /* of the accumulator; in part SHARED of what the Rescale makes of it */
    int64_t at, n;              /* where lo stands in the table; hi - lo + 1, or 0 */
} part;

enum { SHARED };

typedef struct channel {
    bool seen;
    int64_t multiplier, addend;
    int part;
} channel;

typedef struct parts {
    part *part;
    int n;
    channel *channel;
} parts;

/* log2 of a positive power of two, else -1. */
static int log2_exact(int64_t x) {
    return x > 0 && (x & (x - 1)) == 0 ? __builtin_ctzll((uint64_t)x) : -1;
}

static int64_t channels_of(const mlc_node *dot) {
    return dot->in[1]->shape.dim[0];
}

static int64_t channel_of(const mlc_node *dot, int64_t i) {
    int64_t channels = channels_of(dot), elements = mlc_shape_elements(&dot->out[0]->shape);
    int64_t area = dot->op == mlc_iop("Conv") ? elements / channels : 1;
    return i / area % channels;
}

static int64_t operand(const mlc_node *node, int k, int64_t i) {
    const mlc_value *c = node->in[k];
    return c->constant->i[mlc_shape_broadcast_index(&c->shape, &node->out[0]->shape, i)];
}

static int find_part(parts *all, int64_t multiplier, int64_t addend, int shift) {
    int power = log2_exact(multiplier);
    if (power >= 0 && power <= shift)
        return SHARED;
    for (int k = SHARED + 1; k < all->n; k++)
        if (all->part[k].multiplier == multiplier && all->part[k].addend == addend)
            return k;
    all->part[all->n] = (part){.multiplier = multiplier, .addend = addend, .lo = INT64_MAX, .hi = INT64_MIN};
    return all->n++;
}

static bool find_parts(mlc_graph *g, const mlc_node *dot, const mlc_node *rescale, parts *all) {
    int64_t channels = channels_of(dot);
    all->channel = MLC_NEW_ARRAY(g->arena, channels, channel);
    all->part = MLC_NEW_ARRAY(g->arena, channels + 1, part);
    all->part[SHARED] = (part){.lo = INT64_MAX, .hi = INT64_MIN};
    all->n = 1;
    for (int64_t i = 0, n = mlc_shape_elements(&rescale->out[0]->shape); i < n; i++) {
        int64_t multiplier = operand(rescale, 1, i), addend = operand(rescale, 2, i);
        channel *c = &all->channel[channel_of(dot, i)];
        if (c->seen && (c->multiplier != multiplier || c->addend != addend))
            return false;
        if (!c->seen)
            *c =
                (channel){.seen = true,
                          .multiplier = multiplier,
                          .addend = addend,
                          .part = find_part(all, multiplier, addend, (int)mlc_attr_int(rescale, "shift", 0))};
        part *p = &all->part[c->part];
        const mlc_value *v = c->part == SHARED ? rescale->out[0] : dot->out[0];
        p->lo = v->lo[i] < p->lo ? v->lo[i] : p->lo;
        p->hi = v->hi[i] > p->hi ? v->hi[i] : p->hi;
    }
    return true;
}

/* Where the parts begin. Returns the table's length, 0 if that is too much. */
static int64_t place(parts *all) {
    int64_t n = 0;
    for (int k = SHARED; k < all->n; k++) {
        part *p = &all->part[k];
        p->at = n;
        if (p->lo > p->hi) /* no channels */
            continue;
        if ((uint64_t)p->hi - (uint64_t)p->lo >= (uint64_t)(MLC_MOST_TABLE - n))
            return 0;
        p->n = p->hi - p->lo + 1;
        n += p->n;
    }
    return n;
}

bool mlc_fold_rescale(mlc_graph *g, const mlc_node *dot, const mlc_node *rescale, const mlc_lookup *lookup,
                      mlc_folded *f) {
    parts all;
    int64_t shift = mlc_attr_int(rescale, "shift", 0), channels = channels_of(dot), n;
    if (!find_parts(g, dot, rescale, &all) || (n = place(&all)) == 0)
        return false;
    int64_t *table = MLC_NEW_ARRAY(g->arena, n, int64_t);
    for (int k = SHARED; k < all.n; k++) {
        const part *p = &all.part[k];
        for (int64_t i = 0; i < p->n; i++) {
            int64_t x = p->lo + i, y = k == SHARED ? x : (x * p->multiplier + p->addend) >> shift;
            table[p->at + i] = lookup->entry[y - lookup->first];
        }
    }
    const part *shared = &all.part[SHARED];
    int64_t first = shared->n ? shared->lo : 0, index;
    *f = (mlc_folded){.addend = MLC_NEW_ARRAY(g->arena, channels, int64_t),
                      .shift = MLC_NEW_ARRAY(g->arena, channels, int64_t),
                      .table = {.entry = table, .first = first, .n = n}};
    for (int64_t c = 0; c < channels; c++) {
        const channel *own = &all.channel[c];
        const part *p = &all.part[own->part];
        if (own->part == SHARED) {
            int power = log2_exact(own->multiplier);
            f->addend[c] = own->addend >> power;
            f->shift[c] = shift - power;
        } else if (__builtin_sub_overflow(p->at, p->lo, &index) ||
                   __builtin_add_overflow(first, index, &f->addend[c])) {
            return false;
        }
    }
    return true;
}
