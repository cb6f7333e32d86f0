/*
 * SHAPED, before products of 8 bits and less: Relu commutes with positive factors, so
 * each of the outputs between two matrix products may be multiplied by one that the
 * next weights divide by. In real numbers nothing changes. The factors are such that
 * all outputs share one grid well although a shift is all that stands between
 * accumulator and grid, and that the weights in front of it use all of their room.
 */
#include "Passes.h"
#include "Precision.h"
#include "Quant.h"

#include <math.h>
#include <string.h>

/* A product of a row with constant weights, and a bias or none. The constants are the
 * node's own, of type DOUBLE; `w` and `b` are what the model has in their place. */
typedef struct dense {
    mlc_node *node;
    mlc_dot_weights weights;
    const double *w, *b;
} dense;

/* Two products and the Relu between them. */
typedef struct pair {
    int front, back; /* indices of products */
    const mlc_value *relu;
} pair;

struct mlc_pairs {
    dense *dense;
    pair *pair;
    int n_dense, n_pairs;
};

static bool is(const mlc_node *node, const char *op) {
    return node->op->domain[0] == '\0' && strcmp(node->op->name, op) == 0;
}

static bool as_dense(mlc_node *node, dense *d) {
    const mlc_value *w = node->n_in > 1 ? node->in[1] : NULL, *c = node->n_in > 2 ? node->in[2] : NULL;
    *d = (dense){.node = node};
    return (is(node, "Gemm") || is(node, "MatMul")) && w->constant && !node->in[0]->constant &&
           mlc_dtype_is_float(w->dtype) && mlc_q_dot_weights(node, &d->weights) &&
           mlc_q_elements(node->in[0]) == d->weights.taps &&
           (!c || (c->constant && mlc_q_elements(c) == d->weights.channels));
}

/* The node's constant k becomes a copy of its own; returns the elements it had. */
static const double *own_constant(mlc_graph *g, mlc_node *node, int k) {
    const mlc_tensor *old = node->in[k]->constant;
    mlc_tensor *t = mlc_tensor_create(g->arena, MLC_DOUBLE, &old->shape);
    memcpy(t->f, old->f, (size_t)mlc_shape_elements(&old->shape) * sizeof *t->f);
    node->in[k] = mlc_graph_constant(g, node->in[k]->name, t);
    return old->f;
}

static int dense_index(mlc_graph *g, struct mlc_pairs *p, const dense *d) {
    for (int i = 0; i < p->n_dense; i++)
        if (p->dense[i].node == d->node)
            return i;
    dense *own = &p->dense[p->n_dense];
    *own = *d;
    own->w = own_constant(g, d->node, 1);
    if (d->node->n_in > 2 && d->node->in[2])
        own->b = own_constant(g, d->node, 2);
    own->weights.w = d->node->in[1]->constant->f;
    return p->n_dense++;
}

void mlc_q_find_pairs(mlc_quant *q) {
    mlc_graph *g = q->from;
    const int *uses = mlc_graph_uses(g, g->arena);
    struct mlc_pairs *p = q->pairs = MLC_NEW(g->arena, struct mlc_pairs);
    p->dense = MLC_NEW_ARRAY(g->arena, g->n_nodes + 1, dense);
    p->pair = MLC_NEW_ARRAY(g->arena, g->n_nodes + 1, pair);
    MLC_FOR_NODES (g, node) {
        dense a, b;
        if (!as_dense(node, &a))
            continue;
        mlc_node *relu = mlc_only_reader(g, node->out[0], uses);
        mlc_node *next = relu && is(relu, "Relu") ? mlc_only_reader(g, relu->out[0], uses) : NULL;
        if (!next || !as_dense(next, &b) || next->in[0] != relu->out[0] ||
            b.weights.taps != a.weights.channels)
            continue;
        pair *own = &p->pair[p->n_pairs++];
        own->front = dense_index(g, p, &a);
        own->back = dense_index(g, p, &b);
        own->relu = relu->out[0];
    }
}

void mlc_q_reset_pairs(mlc_quant *q) {
    for (int i = 0; q->pairs && i < q->pairs->n_dense; i++) {
        const dense *d = &q->pairs->dense[i];
        const mlc_value *const *in = (const mlc_value *const *)d->node->in;
        memcpy(in[1]->constant->f, d->w, (size_t)mlc_q_elements(in[1]) * sizeof(double));
        if (d->b)
            memcpy(in[2]->constant->f, d->b, (size_t)mlc_q_elements(in[2]) * sizeof(double));
    }
}

static void scale_weights(const dense *d, const double *factor, bool front) {
    double *w = d->node->in[1]->constant->f;
    const mlc_dot_weights *s = &d->weights;
    for (int64_t c = 0; c < s->channels; c++)
        for (int64_t k = 0; k < s->taps; k++) {
            double *own = &w[c * s->by_channel + k * s->by_tap];
            *own = front ? *own * factor[c] : *own / factor[k];
        }
    for (int64_t c = 0; front && d->b && c < s->channels; c++)
        d->node->in[2]->constant->f[c] *= factor[c];
}

/* What was seen of v, times the factors. */
static mlc_seen *scale_seen(mlc_quant *q, const mlc_value *v, const double *factor) {
    int64_t n = mlc_q_elements(v);
    mlc_seen *seen = MLC_NEW_ARRAY(q->arena, n + 1, mlc_seen);
    q->seen_lo[v->id] = INFINITY;
    q->seen_hi[v->id] = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        seen[i] = q->seen[v->id][i];
        seen[i].all.lo *= factor[i];
        seen[i].all.hi *= factor[i];
        seen[i].mean *= factor[i];
        seen[i].variance *= factor[i] * factor[i];
        seen[i].ends = NULL;
        q->seen_lo[v->id] = fmin(q->seen_lo[v->id], seen[i].all.lo);
        q->seen_hi[v->id] = fmax(q->seen_hi[v->id], seen[i].all.hi);
    }
    q->seen[v->id] = seen;
    q->seen_all[v->id].all = (mlc_range){.lo = q->seen_lo[v->id], .hi = q->seen_hi[v->id]};
    q->seen_all[v->id].ends = NULL;
    return seen;
}

bool mlc_q_is_equalized(const mlc_quant *q, const mlc_node *node) {
    for (int i = 0; q->pairs && i < q->pairs->n_pairs; i++) {
        const mlc_dot *front = mlc_q_dot_of(q, q->pairs->dense[q->pairs->pair[i].front].node);
        if (q->pairs->dense[q->pairs->pair[i].back].node == node)
            return front && front->bits <= MLC_MOST_BITS;
    }
    return false;
}

const mlc_node *mlc_q_reader(const mlc_quant *q, const mlc_node *node) {
    for (int i = 0; q->pairs && i < q->pairs->n_pairs; i++)
        if (q->pairs->dense[q->pairs->pair[i].front].node == node)
            return q->pairs->dense[q->pairs->pair[i].back].node;
    return NULL;
}

/* The grid of everything between two products ends here. */
#define REACH 1.0

/*
 * An output with range r and weights of step s, of the grid's steps if that were 1 in
 * all, is to be multiplied by f such that r*f is near to REACH and s*f to a power of two
 * from below. Of both, one can
 * be met: bits that the other then loses, at most half a bit.
 */
static double factor_for(double r, double s) {
    int exponent;
    double up = frexp(s / r, &exponent) * 2; /* in [1,2) */
    return log2(up) >= 0.5 ? REACH / r : REACH / r / up;
}

/* The outputs of the product in front: the steps of their accumulators, and how far they were seen to reach.
 */
typedef struct outputs {
    double *step, *reach;
} outputs;

/*
 * Accumulators that go to the next product as they are, but for their lowest bits. Nothing is cut off then,
 * and there is no limit to compute; and the weights in front use all of their room.
 */
typedef struct whole {
    int shift;      /* the lowest bits */
    int64_t levels; /* of what remains, less one */
} whole;

/* The errors of an accumulator's weights are so much larger than its lowest bits; squares of both. */
enum { COVERED = 64 };
/* Bits of lanes whose outputs are limited without a table (Ops/IntClamp.h); a table has an entry for each
 * level, and what is no limit saves it nothing. */
enum { LEAST_ROOM = 16, MOST_WHOLE = 4095 };

/* The lowest bits of the accumulators of `dot` that its own errors cover. */
static whole whole_of(const mlc_dot *dot, int64_t taps) {
    whole w = {0};
    double sum = 0; /* of squares of the inputs, were they evenly distributed */
    for (int64_t k = 0; k < taps; k++)
        sum += (double)dot->class[k].levels * (double)dot->class[k].levels / 3;
    while (ldexp(COVERED, 2 * (w.shift + 1)) <= sum)
        w.shift++;
    w.levels = (int64_t)ldexp(dot->chunks, dot->room[0] - w.shift) - 1;
    return w;
}

/* Whether `next` has so much room that the errors of its weights stay below those of its inputs' rounding. */
static bool has_room(mlc_quant *q, const mlc_dot *next, const mlc_dot_weights *d, const outputs *in,
                     const whole *own) {
    double *w = MLC_NEW_ARRAY(q->arena, d->taps + 1, double),
           *span = MLC_NEW_ARRAY(q->arena, d->taps + 1, double);
    for (int64_t n = 0; n < d->channels; n++) {
        double weights = 0, inputs = 0;
        for (int64_t k = 0; k < d->taps; k++) {
            double step = ldexp(in->step[k], own->shift), seen = step > 0 ? in->reach[k] / step : 0;
            w[k] = mlc_dot_weight(d, n, k) * step;
            span[k] = (double)own->levels;
            weights += w[k] * w[k];
            inputs += seen * seen;
        }
        double step = mlc_q_channel_step(next, n, w, span, d->taps);
        if (!(step * step * inputs <= weights))
            return false;
    }
    return true;
}

static bool find_whole(mlc_quant *q, const mlc_dot *dot, int64_t taps, const mlc_dot *next,
                       const mlc_dot_weights *back, const outputs *out, whole *w) {
    if (dot->room[0] < LEAST_ROOM || dot->bits == MLC_TERNARY || next->bits == MLC_TERNARY)
        return false;
    *w = whole_of(dot, taps);
    return w->levels >= next->levels && w->levels <= MOST_WHOLE && has_room(q, next, back, out, w);
}

void mlc_q_equalize(mlc_quant *q, mlc_dot *dots, int n, int of) {
    const mlc_dot *dot = &dots[of];
    const pair *p = NULL;
    for (int i = 0; dot->class && q->pairs && i < q->pairs->n_pairs; i++)
        if (q->pairs->dense[q->pairs->pair[i].front].node == dot->node)
            p = &q->pairs->pair[i];
    if (!p)
        return;
    const dense *a = &q->pairs->dense[p->front], *b = &q->pairs->dense[p->back];
    mlc_dot *next = NULL;
    for (int i = 0; i < n; i++)
        next = dots[i].node == b->node ? &dots[i] : next;
    if (!next || !next->class)
        return;
    const mlc_class *class = dot->class;
    const mlc_dot_weights *d = &a->weights;
    double *factor = MLC_NEW_ARRAY(q->arena, d->channels + 1, double),
           *w = MLC_NEW_ARRAY(q->arena, d->taps + 1, double),
           *span = MLC_NEW_ARRAY(q->arena, d->taps + 1, double);
    outputs out = {.step = MLC_NEW_ARRAY(q->arena, d->channels + 1, double),
                   .reach = MLC_NEW_ARRAY(q->arena, d->channels + 1, double)};
    double typical = 0;
    for (int64_t c = 0; c < d->channels; c++) {
        double r = next->class[c].range.hi;
        for (int64_t k = 0; k < d->taps; k++) {
            w[k] =
                mlc_dot_weight(d, c, k) * (class[k].range.hi - class[k].range.lo) / (double)class[k].levels;
            span[k] = (double)class[k].levels;
        }
        out.step[c] = mlc_q_channel_step(dot, c, w, span, d->taps);
        out.reach[c] = r;
        typical = fmax(typical, r);
    }
    if (!(typical > 0))
        return;
    whole own;
    bool uncut = find_whole(q, dot, d->taps, next, &b->weights, &out, &own);
    if (uncut)
        next->levels = own.levels;
    for (int64_t c = 0; c < d->channels; c++) {
        double r = out.reach[c], s = out.step[c], levels = (double)next->levels;
        if (!(r > 0 && s > 0))
            factor[c] = 0;
        else if (uncut) /* a step of the accumulator becomes one of the grid, less the lowest bits */
            factor[c] = fmin(ldexp(REACH / (levels + 1), -own.shift) / s, REACH * levels / (levels + 1) / r);
        else
            factor[c] = factor_for(r, s * (levels + 1));
        /* An output that hardly ever is more than 0 must not blow up what stands behind it. */
        double usual = REACH / typical;
        if (factor[c] == 0 || !(factor[c] < usual * 0x1p10))
            factor[c] = usual;
    }
    scale_weights(a, factor, true);
    scale_weights(b, factor, false);
    scale_seen(q, a->node->out[0], factor);
    scale_seen(q, p->relu, factor);
    for (int64_t k = 0; k < d->channels; k++) {
        double levels = (double)next->levels; /* steps of REACH / (levels + 1) */
        next->class[k].levels = next->levels;
        next->class[k].range = (mlc_range){.lo = 0, .hi = REACH * levels / (levels + 1)};
    }
}
