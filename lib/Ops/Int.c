#include "Int.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const mlc_attr_spec *find_spec(const mlc_op *op, const char *name) {
    for (const mlc_attr_spec *spec = op->attrs; spec && spec->name; spec++)
        if (!strcmp(spec->name, name))
            return spec;
    return NULL;
}

bool mlc_int_check(mlc_graph *g, mlc_node *node) {
    const mlc_op *op = node->op;
    if (node->n_in < op->min_in || (op->max_in >= 0 && node->n_in > op->max_in))
        return mlc_error_at(g->diag, node, "has %d inputs, expected %s%d", node->n_in,
                            op->max_in == op->min_in ? "" : "at least ", op->min_in);
    if (node->n_out != 1 || !node->out[0])
        return mlc_error_at(g->diag, node, "must have one output");
    for (int k = 0; k < node->n_in; k++) {
        const mlc_value *v = node->in[k];
        if (!v)
            return mlc_error_at(g->diag, node, "input %d is missing", k);
        if (!v->shaped)
            return mlc_error_at(g->diag, node, "input %d ('%s') has no shape", k, mlc_escape(v->name));
        if (v->dtype != MLC_INT64 || (v->constant && v->constant->dtype != MLC_INT64))
            return mlc_error_at(g->diag, node, "input %d ('%s') is not int64", k, mlc_escape(v->name));
    }
    for (int k = 0; k < node->n_attr; k++) {
        const mlc_attr_spec *spec = find_spec(op, node->attr[k].name);
        if (!spec || spec->kind != node->attr[k].kind)
            return mlc_error_at(g->diag, node, "attribute '%s' is %s", mlc_escape(node->attr[k].name),
                                spec ? "of the wrong kind" : "unknown");
    }
    mlc_value *out = node->out[0];
    if (out->dtype == MLC_UNDEFINED)
        out->dtype = MLC_INT64;
    if (out->dtype != MLC_INT64)
        return mlc_error_at(g->diag, node, "the output is not int64");
    return true;
}

bool mlc_int_shape(mlc_graph *g, mlc_node *node, const mlc_shape *shape) {
    mlc_value *out = node->out[0];
    if (out->shaped && !mlc_shape_equal(&out->shape, shape))
        return mlc_error_at(g->diag, node, "the output has shape %s, expected %s",
                            mlc_shape_str(g->arena, &out->shape), mlc_shape_str(g->arena, shape));
    out->shape = *shape;
    out->shaped = true;
    return true;
}

bool mlc_int_reshape(mlc_graph *g, mlc_node *node, const mlc_shape *shape) {
    mlc_value *out = node->out[0];
    if (!out->shaped)
        return mlc_int_shape(g, node, shape);
    if (mlc_shape_elements(&out->shape) != mlc_shape_elements(shape))
        return mlc_error_at(g->diag, node, "the output has %" PRId64 " elements, expected %" PRId64,
                            mlc_shape_elements(&out->shape), mlc_shape_elements(shape));
    return true;
}

bool mlc_int_same_shape(mlc_graph *g, mlc_node *node) {
    return mlc_int_shape(g, node, &node->in[0]->shape);
}

bool mlc_int_constant(mlc_graph *g, mlc_node *node, int k) {
    if (node->in[k]->constant)
        return true;
    return mlc_error_at(g->diag, node, "input %d ('%s') must be a constant", k,
                        mlc_escape(node->in[k]->name));
}

bool mlc_int_attr(mlc_graph *g, mlc_node *node, const char *name, int64_t lo, int64_t hi) {
    int64_t x = mlc_attr_int(node, name, 0);
    if (x >= lo && x <= hi)
        return true;
    return mlc_error_at(g->diag, node, "attribute '%s' is %" PRId64 ", expected %" PRId64 " to %" PRId64,
                        name, x, lo, hi);
}

bool mlc_int_check_broadcast(mlc_graph *g, mlc_node *node) {
    if (!mlc_int_check(g, node))
        return false;
    mlc_shape shape = node->in[0]->shape;
    for (int k = 1; k < node->n_in; k++) {
        mlc_shape wider;
        if (!mlc_shape_broadcast(&shape, &node->in[k]->shape, &wider))
            return mlc_error_at(g->diag, node, "input %d has shape %s, which does not broadcast with %s", k,
                                mlc_shape_str(g->arena, &node->in[k]->shape),
                                mlc_shape_str(g->arena, &shape));
        shape = wider;
    }
    return mlc_int_shape(g, node, &shape);
}

bool mlc_int_check_unary(mlc_graph *g, mlc_node *node) {
    return mlc_int_check(g, node) && mlc_int_same_shape(g, node);
}

int64_t mlc_int_elements(const mlc_value *v) {
    return mlc_shape_elements(&v->shape);
}

mlc_wide mlc_int_range(const mlc_value *v, int64_t i) {
    if (v->constant)
        return (mlc_wide){v->constant->i[i], v->constant->i[i]};
    return (mlc_wide){v->lo[i], v->hi[i]};
}

mlc_wide mlc_int_operand(const mlc_node *node, int k, int64_t i) {
    return mlc_int_range(node->in[k], mlc_int_index(node, k, i));
}

mlc_wide mlc_int_product(mlc_wide a, mlc_wide b) {
    mlc_i128 p = a.lo * b.lo, q = a.lo * b.hi, r = a.hi * b.lo, s = a.hi * b.hi;
    return (mlc_wide){mlc_int_min(mlc_int_min(p, q), mlc_int_min(r, s)),
                      mlc_int_max(mlc_int_max(p, q), mlc_int_max(r, s))};
}

bool mlc_int_overflow(mlc_graph *g, mlc_node *node, int64_t i, const char *what, mlc_wide r) {
    mlc_error_at(g->diag, node,
                 "%s of element %" PRId64 " may reach [%.4g, %.4g], which does not fit 64 bits", what, i,
                 (double)r.lo, (double)r.hi);
    return mlc_note(g->diag, "declare narrower input ranges or choose a lower precision");
}

bool mlc_int_bound(mlc_graph *g, mlc_node *node, int64_t i, mlc_wide r) {
    if (!mlc_int_fits(r.lo) || !mlc_int_fits(r.hi))
        return mlc_int_overflow(g, node, i, "the value", r);
    node->out[0]->lo[i] = (int64_t)r.lo;
    node->out[0]->hi[i] = (int64_t)r.hi;
    return true;
}

bool mlc_int_sum_add(mlc_int_sum *s, mlc_wide term) {
    s->total.lo += term.lo;
    s->total.hi += term.hi;
    s->partial.lo += mlc_int_min(term.lo, 0);
    s->partial.hi += mlc_int_max(term.hi, 0);
    return mlc_int_fits(s->partial.lo) && mlc_int_fits(s->partial.hi);
}

int64_t mlc_int_index(const mlc_node *node, int k, int64_t i) {
    return mlc_shape_broadcast_index(&node->in[k]->shape, &node->out[0]->shape, i);
}

int64_t mlc_int_reads_broadcast(const mlc_node *node, int k) {
    int64_t n = mlc_int_elements(node->in[k]);
    return n ? mlc_int_elements(node->out[0]) / n : 1;
}

int64_t mlc_int_multiplicity(const int64_t *index, int64_t n, int64_t first, int64_t count) {
    int64_t most = 1;
    int64_t *uses = calloc((size_t)count + 1, sizeof *uses);
    if (!uses)
        return n; /* an upper bound is all that is promised */
    for (int64_t i = 0; i < n; i++) {
        int64_t at = index[i] - first;
        if (at >= 0 && at < count && ++uses[at] > most)
            most = uses[at];
    }
    free(uses);
    return most;
}
