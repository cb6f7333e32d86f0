/*
 * SHAPED, before 8-bit products: Relu commutes with positive factors, so each of
 * the outputs between two matrix products may be multiplied by one that the next
 * weights divide by. In real numbers nothing changes. The factors are such that all
 * outputs share one grid well, and that the weights in front of it use all their
 * levels although a shift is all that stands between accumulator and grid.
 */
#include "Precision.h"
#include "Quant.h"

#include <math.h>
#include <string.h>

enum { LEVELS = 255, WEIGHT_LEVELS = 127 };

/* A product of a row with constant weights [K,N], by strides, and a bias or none. */
typedef struct dense {
    mlc_node *node;
    int64_t K, N, row, column;
} dense;

static bool is(const mlc_node *node, const char *op) {
    return node->op->domain[0] == '\0' && strcmp(node->op->name, op) == 0;
}

static bool as_dense(mlc_node *node, dense *d) {
    bool gemm = is(node, "Gemm");
    if (!gemm && !is(node, "MatMul"))
        return false;
    const mlc_value *w = node->in[1], *c = node->n_in > 2 ? node->in[2] : NULL;
    if (!w->constant || w->shape.rank != 2 || node->in[0]->constant || node->in[0]->shape.rank != 2 ||
        node->in[0]->shape.dim[0] != 1 || !mlc_dtype_is_float(w->dtype) || mlc_attr_int(node, "transA", 0))
        return false;
    bool turned = mlc_attr_int(node, "transB", 0);
    *d = (dense){.node = node, .K = w->shape.dim[turned], .N = w->shape.dim[!turned]};
    d->row = turned ? 1 : d->N;
    d->column = turned ? d->K : 1;
    return !c || (c->constant && mlc_q_elements(c) == d->N);
}

static double weight(const dense *d, int64_t k, int64_t n) {
    return d->node->in[1]->constant->f[k * d->row + n * d->column];
}

/* The only reader of v; NULL where there is another, or v is an output. */
static mlc_node *only_reader(const mlc_graph *g, const mlc_value *v, const int *uses) {
    if (uses[v->id] != 1)
        return NULL;
    MLC_FOR_NODES (g, node)
        for (int k = 0; k < node->n_in; k++)
            if (node->in[k] == v)
                return node;
    return NULL;
}

/* The step of the grid that element k of the product's input will lie on. */
static double input_step(const mlc_quant *q, const mlc_value *x, int64_t k, bool common) {
    const mlc_range *r = common ? &q->seen_all[x->id].ends : &q->seen[x->id][k].ends;
    double lo = common ? fmin(r->lo, 0) : r->lo;
    return r->hi > lo ? (r->hi - lo) / LEVELS : 1;
}

/* Replaces the constant by one of type DOUBLE, element i times factor[i / step % n]. */
static void scale_constant(mlc_graph *g, mlc_node *node, int k, const double *factor, int64_t n, int64_t step,
                           bool divide) {
    const mlc_tensor *old = node->in[k]->constant;
    mlc_tensor *t = mlc_tensor_create(g->arena, MLC_DOUBLE, &old->shape);
    for (int64_t i = 0; i < mlc_shape_elements(&old->shape); i++) {
        double f = factor[i / step % n];
        t->f[i] = divide ? old->f[i] / f : old->f[i] * f;
    }
    node->in[k] = mlc_graph_constant(g, node->in[k]->name, t);
}

static void scale_seen(mlc_quant *q, const mlc_value *v, const double *factor) {
    mlc_seen *seen = q->seen[v->id];
    mlc_range all = {.lo = INFINITY, .hi = -INFINITY};
    for (int64_t n = 0; n < mlc_q_elements(v); n++) {
        seen[n].all.lo *= factor[n];
        seen[n].all.hi *= factor[n];
        seen[n].mean *= factor[n];
        seen[n].ends = seen[n].all;
        all.lo = fmin(all.lo, seen[n].all.lo);
        all.hi = fmax(all.hi, seen[n].all.hi);
    }
    q->seen_all[v->id] = (mlc_seen){.all = all, .ends = all};
    q->seen_lo[v->id] = all.lo;
    q->seen_hi[v->id] = all.hi;
}

/*
 * Factors for the outputs of `a`. One of them, whose weights lose least by it, gives
 * the grid as it is. Every other output's weights get a step that is the grid's by a
 * power of two, the largest that does not drive the output beyond the grid.
 */
static double *factors(mlc_quant *q, const dense *a, const mlc_value *relu, bool common) {
    double *range = MLC_NEW_ARRAY(q->arena, a->N + 1, double),
           *step = MLC_NEW_ARRAY(q->arena, a->N + 1, double),
           *factor = MLC_NEW_ARRAY(q->arena, a->N + 1, double);
    double least = INFINITY, reach = 0;
    for (int64_t n = 0; n < a->N; n++) {
        range[n] = q->seen[relu->id][n].all.hi;
        for (int64_t k = 0; k < a->K; k++)
            step[n] = fmax(step[n], fabs(weight(a, k, n)) * input_step(q, a->node->in[0], k, common));
        step[n] *= fabs(mlc_attr_float(a->node, "alpha", 1)) / WEIGHT_LEVELS;
        if (!(range[n] > 0) || !(step[n] > 0))
            continue;
        int exponent;
        double loss = frexp(range[n] / LEVELS / step[n], &exponent);
        if (loss < least) {
            least = loss;
            reach = range[n];
        }
    }
    if (!(reach > 0))
        return NULL;
    for (int64_t n = 0; n < a->N; n++) {
        factor[n] = 1;
        if (!(range[n] > 0))
            continue;
        int exponent;
        factor[n] = reach / range[n];
        if (step[n] > 0) {
            /* The power of two just below that. */
            double mantissa = frexp(factor[n] * step[n] / (reach / LEVELS), &exponent);
            if (range[n] != reach)
                factor[n] *= 0.5 / mantissa;
        }
        /* An output that hardly ever is more than 0 must not blow up what stands behind it. */
        if (factor[n] > 0x1p10 || factor[n] < 0x1p-10)
            factor[n] = 1;
    }
    return factor;
}

void mlc_q_equalize(mlc_quant *q) {
    mlc_graph *g = q->from;
    const int *uses = mlc_graph_uses(g, g->arena);
    const mlc_value *equalized = NULL; /* what the product before left on one grid */
    MLC_FOR_NODES (g, node) {
        dense a, b;
        if (!as_dense(node, &a))
            continue;
        mlc_node *relu = only_reader(g, node->out[0], uses);
        mlc_node *next = relu && is(relu, "Relu") ? only_reader(g, relu->out[0], uses) : NULL;
        if (!next || !as_dense(next, &b) || next->in[0] != relu->out[0] || b.K != a.N)
            continue;
        double *factor = factors(q, &a, relu->out[0], node->in[0] == equalized);
        if (!factor)
            continue;
        scale_constant(g, node, 1, factor, a.N, a.column, false);
        if (node->n_in > 2 && node->in[2])
            scale_constant(g, node, 2, factor, a.N, 1, false);
        scale_constant(g, next, 1, factor, b.K, b.row, true);
        scale_seen(q, node->out[0], factor);
        scale_seen(q, relu->out[0], factor);
        equalized = relu->out[0];
    }
}
