#include "Form.h"
#include "Reduction.h"
#include "Spatial.h"

/* Groups of elements: `n` flat indices for each output, -1 for none, and what a mean is divided by. */
typedef struct groups {
    const int64_t *index, *counts;
    int64_t n;
} groups;

/* A function that rises commutes with the maximum, one that falls turns it into the minimum. */
static bool extreme(mlc_quant *q, const mlc_node *node, const mlc_form *f, const groups *g, bool largest) {
    const mlc_shape *shape = &node->out[0]->shape;
    const int64_t n = mlc_shape_elements(shape);
    const int direction = f->chain[0]->direction;
    if (f->y || direction == 0)
        return false;
    for (int c = 0; c < f->n_cls; c++)
        if (f->chain[c]->direction != direction)
            return false;
    int *cls = MLC_NEW_ARRAY(q->arena, n + 1, int);
    for (int64_t i = 0; i < n; i++) {
        int own = -1;
        for (int64_t j = 0; j < g->n; j++) {
            const int64_t at = g->index[i * g->n + j];
            if (at < 0)
                continue;
            const int c = f->cls ? f->cls[at] : 0;
            if (own >= 0 && c != own)
                return false;
            own = c;
        }
        if (own < 0)
            return false;
        cls[i] = own;
    }
    mlc_form *r = MLC_NEW(q->arena, mlc_form);
    *r = *f;
    r->cls = cls;
    r->x = mlc_q_reduce(q, largest == (direction > 0) ? MLC_REDUCE_MAX : MLC_REDUCE_MIN, f->x, g->index, g->n,
                        shape);
    r->depth++;
    return r->x && mlc_form_set(q, node->out[0], r);
}

/* sum of (x - zero)*scale over m elements = (sum of x - m*zero)*scale, divided by the count for a mean. */
static bool total(mlc_quant *q, const mlc_node *node, const mlc_form *f, const groups *g, bool mean) {
    const mlc_value *y = node->out[0];
    const int64_t n = mlc_shape_elements(&y->shape);
    double scale;
    int64_t zero, *first;
    if (!mlc_form_affine(f, &scale, &zero) || !f->quantized || n == 0)
        return false;
    int64_t *keys = MLC_NEW_ARRAY(q->arena, 2 * n, int64_t);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < g->n; j++)
            keys[2 * i] += g->index[i * g->n + j] >= 0;
        keys[2 * i + 1] = mean ? g->counts[i] : 1;
    }
    mlc_form *r = MLC_NEW(q->arena, mlc_form);
    *r = *f;
    r->cls = mlc_classes(q->arena, keys, n, 2, &r->n_cls, &first);
    if (!r->cls)
        return false;
    const mlc_chain **chains = MLC_NEW_ARRAY(q->arena, r->n_cls, const mlc_chain *);
    for (int c = 0; c < r->n_cls; c++) {
        const int64_t *key = keys + 2 * first[c];
        chains[c] = mlc_chain_linear(q, scale / (double)key[1], zero * key[0], 0, y->dtype);
    }
    r->chain = chains;
    mlc_shape index_shape = {2, {n, g->n}};
    mlc_value *const in[2] = {f->x, mlc_q_constant(q, g->index, &index_shape)};
    mlc_value *sum = mlc_q_node(q, "ReduceSum", in, 2, NULL, NULL, 0);
    if (sum && f->x->err) {
        sum->err = MLC_NEW_ARRAY(q->arena, n, double);
        for (int64_t i = 0; i < n * g->n; i++)
            if (g->index[i] >= 0)
                sum->err[i / g->n] += f->x->err[g->index[i]] / f->x->scale;
    }
    r->x = sum ? mlc_q_reshape(q, sum, &y->shape) : NULL;
    r->depth = 0;
    return r->x && mlc_form_set(q, y, r);
}

static bool reduce(mlc_quant *q, const mlc_node *node, const groups *g) {
    const mlc_form *f = mlc_form_of(q, node->in[0]);
    const char *op = node->op->name;
    if (f->depth >= MLC_FORM_DEPTH || !mlc_dtype_is_float(node->in[0]->dtype))
        return false;
    if (strstr(op, "Max") || strstr(op, "Min"))
        return extreme(q, node, f, g, strstr(op, "Max") != NULL);
    return total(q, node, f, g, strstr(op, "Mean") || strstr(op, "Average"));
}

bool mlc_form_pool(mlc_quant *q, const mlc_node *node) {
    groups g;
    int64_t *counts;
    if (!mlc_form_of(q, node->in[0]))
        return false;
    g.index = mlc_pool_index(q->arena, node, &g.n, &counts);
    g.counts = counts;
    return g.index && reduce(q, node, &g);
}

bool mlc_form_reduce(mlc_quant *q, const mlc_node *node) {
    if (!mlc_form_of(q, node->in[0]) || (node->n_in > 1 && node->in[1] && !node->in[1]->constant))
        return false;
    const mlc_groups r = mlc_reduce_groups(node, &node->in[0]->shape);
    int64_t *counts = MLC_NEW_ARRAY(q->arena, r.outer + 1, int64_t);
    for (int64_t i = 0; i < r.outer; i++)
        counts[i] = r.inner;
    const groups g = {mlc_group_index(q->arena, &r, false), counts, r.inner};
    return r.inner > 0 && reduce(q, node, &g);
}
