/*
 * INTEGER: a ReduceMax over windows moves in front of the rising element-wise nodes
 * between it and a Conv, and into the Conv (attributes `pool`, `pool_strides`):
 *
 *   max over w of f(conv(p + w))  ==  f(max over w of conv(p + w))
 *
 * The maximum is then taken of accumulators, several in one word, what follows is
 * computed once for each window, and what lies between is never stored.
 */
#include "Passes.h"

#include "mlc/op.h"

/* Most instructions for all channels of a window, estimated before they are packed: all of
 * its positions are written out, and beyond that the processor's instruction cache is the limit. */
enum { MOST_CODE = 12000 };

typedef struct fusion {
    mlc_node *conv, *reduce;
    mlc_node **between; /* from the ReduceMax down to the Conv */
    int n;
    int rank;
    int64_t pool[MLC_MAX_RANK], stride[MLC_MAX_RANK];
} fusion;

static int64_t elements(const mlc_value *v) {
    return mlc_shape_elements(&v->shape);
}

/* --- what the nodes in between are --- */

static bool rises(const mlc_value *c) {
    for (int64_t i = 1, n = elements(c); i < n; i++)
        if (c->constant->i[i] < c->constant->i[i - 1])
            return false;
    return true;
}

static bool never_negative(const mlc_value *c) {
    for (int64_t i = 0, n = elements(c); i < n; i++)
        if (c->constant->i[i] < 0)
            return false;
    return true;
}

/* The input that a node is a rising function of, element by element; all others are constants. */
static mlc_value *rising_in(const mlc_node *node) {
    bool rescale = node->op == mlc_iop("Rescale"), table = node->op == mlc_iop("Table"),
         minus = node->op == mlc_iop("Sub");
    if (!rescale && !table && !minus && node->op != mlc_iop("Max") && node->op != mlc_iop("Min") &&
        node->op != mlc_iop("Add"))
        return NULL;
    mlc_value *x = NULL;
    for (int k = 0; k < node->n_in; k++) {
        if (node->in[k]->constant)
            continue;
        if (x || (minus && k != 0))
            return NULL;
        x = node->in[k];
    }
    if (!x || !mlc_shape_equal(&x->shape, &node->out[0]->shape))
        return NULL;
    if ((rescale && !never_negative(node->in[1])) || (table && !rises(node->in[1])))
        return NULL;
    return x;
}

/* Constant `c` of a node at element i of its output. */
static int64_t operand_at(const mlc_node *node, const mlc_value *c, int64_t i) {
    return c->constant->i[mlc_shape_broadcast_index(&c->shape, &node->out[0]->shape, i)];
}

/* A constant that is the same for all elements, or a table. */
static bool is_common(const mlc_node *node, int k) {
    return elements(node->in[k]) == 1 || (node->op == mlc_iop("Table") && k == 1);
}

/* All elements of a window have the same operands. */
static bool same_operands(const mlc_node *node, const mlc_value *index, int64_t groups) {
    int64_t n = elements(index) / groups;
    const int64_t *at = index->constant->i;
    for (int k = 0; k < node->n_in; k++) {
        const mlc_value *c = node->in[k];
        for (int64_t i = 0; c->constant && !is_common(node, k) && i < groups * n; i++)
            if (operand_at(node, c, at[i]) != operand_at(node, c, at[i / n * n]))
                return false;
    }
    return true;
}

/* --- windows --- */

/* The flat index of element `tap` of window `i`, as the attributes have it. */
static int64_t window_index(const fusion *f, const mlc_shape *x, const mlc_shape *y, int64_t i, int64_t tap) {
    int64_t flat = 0, scale = 1;
    for (int d = f->rank + 1; d >= 1; d--) {
        int64_t at = i % y->dim[d];
        i /= y->dim[d];
        if (d >= 2) {
            at = at * f->stride[d - 2] + tap % f->pool[d - 2];
            tap /= f->pool[d - 2];
        }
        flat += at * scale;
        scale *= x->dim[d];
    }
    return flat;
}

/* Finds windows that do not overlap: no position of the Conv is then computed twice. */
static bool find_windows(fusion *f) {
    const mlc_shape *x = &f->reduce->in[0]->shape, *y = &f->reduce->out[0]->shape;
    const mlc_value *list = f->reduce->in[1];
    const int64_t *index = list->constant->i;
    int64_t groups = mlc_shape_elements(y), n = elements(list) / groups, area = 1, x_stride[MLC_MAX_RANK],
            y_stride[MLC_MAX_RANK];
    if (x->rank != y->rank || x->rank < 3 || y->dim[0] != 1 || x->dim[1] != y->dim[1] || n < 1)
        return false;
    f->rank = x->rank - 2;
    mlc_shape_strides(x, x_stride);
    mlc_shape_strides(y, y_stride);
    for (int d = 0; d < f->rank; d++) {
        f->pool[d] = 1;
        for (int64_t j = 0; j < n; j++) {
            int64_t at = index[j] < 0 ? 0 : index[j] / x_stride[2 + d] % x->dim[2 + d];
            if (at >= f->pool[d])
                f->pool[d] = at + 1;
        }
        area *= f->pool[d];
        f->stride[d] = f->pool[d];
        if (y->dim[2 + d] > 1)
            f->stride[d] = (index[y_stride[2 + d] * n] - index[0]) / x_stride[2 + d];
        if (f->stride[d] < f->pool[d])
            return false;
    }
    if (area != n)
        return false;
    for (int64_t i = 0; i < groups * n; i++)
        if (index[i] != window_index(f, x, y, i / n, i % n))
            return false;
    return true;
}

/* `uses` is about values with an id below `n_uses`. */
static bool find_fusion(mlc_graph *g, mlc_node *reduce, const int *uses, int n_uses, fusion *f) {
    *f = (fusion){.reduce = reduce, .between = MLC_NEW_ARRAY(g->arena, g->n_nodes + 1, mlc_node *)};
    if (mlc_graph_is_output(g, reduce->out[0]) || elements(reduce->out[0]) == 0 || !find_windows(f))
        return false;
    for (mlc_value *x = reduce->in[0]; x; x = rising_in(f->between[f->n - 1])) {
        mlc_node *node = x->producer;
        if (!node || x->id >= n_uses || uses[x->id] != 1)
            return false;
        int64_t n;
        mlc_attr_ints(node, "pool", &n);
        if (node->op == mlc_iop("Conv") && n == 0) {
            int64_t cost = node->op->cost(node) * node->in[1]->shape.dim[0];
            f->conv = node;
            return cost * (elements(reduce->in[1]) / elements(reduce->out[0])) <= MOST_CODE;
        }
        if (!rising_in(node) || !same_operands(node, reduce->in[1], elements(reduce->out[0])))
            return false;
        f->between[f->n++] = node;
    }
    return false;
}

/* --- the change --- */

/* As v, for windows of its elements. */
static mlc_value *pooled(mlc_graph *g, const mlc_value *v, const mlc_node *reduce) {
    mlc_value *out = mlc_graph_value(g, NULL);
    const mlc_value *list = reduce->in[1];
    int64_t groups = elements(reduce->out[0]), n = elements(list) / groups;
    out->dtype = MLC_INT64;
    out->shape = reduce->out[0]->shape;
    out->shaped = true;
    out->scale = v->scale;
    out->zero = v->zero;
    out->lo = MLC_NEW_ARRAY(g->arena, groups + 1, int64_t);
    out->hi = MLC_NEW_ARRAY(g->arena, groups + 1, int64_t);
    if (!v->err)
        return out;
    out->err = MLC_NEW_ARRAY(g->arena, groups + 1, double);
    for (int64_t i = 0; i < groups * n; i++) {
        double err = v->err[list->constant->i[i]];
        if (err > out->err[i / n])
            out->err[i / n] = err;
    }
    return out;
}

/* A constant operand as it is for each window. */
static mlc_value *operand_of_windows(mlc_graph *g, const mlc_node *node, int k, const mlc_node *reduce) {
    if (is_common(node, k))
        return node->in[k];
    const mlc_shape *shape = &reduce->out[0]->shape;
    int64_t groups = mlc_shape_elements(shape), n = elements(reduce->in[1]) / groups;
    mlc_tensor *t = mlc_tensor_create(g->arena, MLC_INT64, shape);
    for (int64_t i = 0; i < groups; i++)
        t->i[i] = operand_at(node, node->in[k], reduce->in[1]->constant->i[i * n]);
    return mlc_graph_constant(g, NULL, t);
}

/* `node` with inputs `in`, for windows; in front of the ReduceMax. */
static mlc_node *copy(mlc_graph *g, const mlc_node *node, mlc_value *const *in, mlc_node *reduce) {
    mlc_value *out = pooled(g, node->out[0], reduce);
    mlc_node *c = mlc_graph_insert(g, reduce, node->op, NULL, in, node->n_in, &out, 1);
    c->origin = node->origin;
    c->n_attr = node->n_attr;
    c->attr = MLC_NEW_ARRAY(g->arena, node->n_attr + 1, mlc_attr);
    for (int k = 0; k < node->n_attr; k++)
        c->attr[k] = node->attr[k];
    return c;
}

/* The Conv's interval is a hull over each window, wider than the ReduceMax's: where a
 * later node then cannot be proved any more, everything stays as it was. */
static void fuse(mlc_graph *g, const fusion *f) {
    mlc_node *conv = copy(g, f->conv, f->conv->in, f->reduce);
    mlc_attr_set_ints(g, conv, "pool", f->pool, f->rank);
    mlc_attr_set_ints(g, conv, "pool_strides", f->stride, f->rank);
    mlc_value *x = conv->out[0];
    for (int k = f->n - 1; k >= 0; k--) {
        const mlc_node *node = f->between[k];
        mlc_value *in[3];
        for (int j = 0; j < node->n_in; j++)
            in[j] = node->in[j]->constant ? operand_of_windows(g, node, j, f->reduce) : x;
        x = copy(g, node, in, f->reduce)->out[0];
    }
    mlc_value *before = f->reduce->out[0];
    mlc_graph_replace(g, before, x);
    if (!mlc_intervals_provable(g)) {
        mlc_graph_replace(g, x, before);
        mlc_intervals_provable(g); /* what they were before */
    }
}

mlc_graph *mlc_pass_pool(mlc_graph *g, mlc_pass_context *context) {
    if (context->options->opt_level < '2')
        return g;
    int *uses = mlc_graph_uses(g, g->arena), n_uses = g->n_values;
    MLC_FOR_NODES_SAFE (g, node, following) {
        fusion f;
        if (node->op == mlc_iop("ReduceMax") && find_fusion(g, node, uses, n_uses, &f))
            fuse(g, &f);
    }
    mlc_graph_sweep(g);
    return g;
}
