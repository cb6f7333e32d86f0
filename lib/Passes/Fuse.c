/*
 * Patterns of nodes that are one function of a better kind: where a part of them is
 * singular, or grows without bound, and the whole is not.
 */
#include "Fuse.h"

#include "mlc/op.h"

#include <math.h>
#include <string.h>

bool mlc_fuse_is(const mlc_node *node, const char *name) {
    return node && strcmp(node->op->domain, "") == 0 && strcmp(node->op->name, name) == 0;
}

static bool is_any(const mlc_node *node, const char *const *names) {
    for (; *names; names++)
        if (mlc_fuse_is(node, *names))
            return true;
    return false;
}

/* A node of an op of the default domain before `before`; its output is like `as`, or is `out`. */
static mlc_value *insert(mlc_graph *g, mlc_node *before, const char *name, mlc_value *const *in, int n_in,
                         const mlc_value *as, mlc_value *out) {
    enum { OPSET = 13 };
    if (!out) {
        out = mlc_graph_value(g, NULL);
        out->dtype = as->dtype;
        out->shape = as->shape;
        out->shaped = true;
    }
    mlc_node *node = mlc_graph_insert(g, before, mlc_op_find("", name, OPSET), NULL, in, n_in, &out, 1);
    node->opset = OPSET;
    return out;
}

/* Log(Sigmoid(x)) = -Softplus(-x) */
static bool log_sigmoid(mlc_graph *g, mlc_node *node) {
    mlc_node *sigmoid = node->in[0]->producer, *before = node->next;
    if (!mlc_fuse_is(node, "Log") || !mlc_fuse_is(sigmoid, "Sigmoid"))
        return false;
    mlc_value *x = sigmoid->in[0], *out = node->out[0];
    mlc_graph_remove(g, node);
    mlc_value *minus = insert(g, before, "Neg", &x, 1, x, NULL);
    mlc_value *y = insert(g, before, "Softplus", &minus, 1, x, NULL);
    insert(g, before, "Neg", &y, 1, x, out);
    return true;
}

/* Log(Softmax(x)) = LogSoftmax(x), with the attributes and version of Softmax. */
static bool log_softmax(mlc_graph *g, mlc_node *node) {
    mlc_node *softmax = node->in[0]->producer;
    if (!mlc_fuse_is(node, "Log") || !mlc_fuse_is(softmax, "Softmax"))
        return false;
    const mlc_op *op = mlc_op_find("", "LogSoftmax", softmax->opset);
    mlc_value *x = softmax->in[0], *out = node->out[0];
    const char *name = node->name;
    mlc_node *before = node->next;
    mlc_graph_remove(g, node);
    mlc_node *fused = mlc_graph_insert(g, before, op, name, &x, 1, &out, 1);
    fused->opset = softmax->opset;
    fused->attr = softmax->attr;
    fused->n_attr = softmax->n_attr;
    return true;
}

double mlc_fuse_number(const mlc_value *v) {
    if (!v->constant || !mlc_dtype_is_float(v->constant->dtype))
        return NAN;
    int64_t n = mlc_shape_elements(&v->shape);
    for (int64_t i = 1; i < n; i++)
        if (v->constant->f[i] != v->constant->f[0])
            return NAN;
    return n ? v->constant->f[0] : NAN;
}

/* c in c / y, for c > 0: Reciprocal(y), Div(c, y); and y. NAN otherwise. */
static double inverse_of(const mlc_value *v, mlc_value **y) {
    static const char *const never_negative[] = {"Sqrt", "Abs", "ReduceL1", "ReduceL2", "ReduceSumSquare",
                                                 NULL};
    const mlc_node *node = v->producer;
    double c = mlc_fuse_is(node, "Reciprocal") ? 1
               : mlc_fuse_is(node, "Div")      ? mlc_fuse_number(node->in[0])
                                               : NAN;
    if (!(c > 0) || !isfinite(c))
        return NAN;
    *y = node->in[node->n_in - 1];
    return is_any((*y)->producer, never_negative) && mlc_shape_equal(&(*y)->shape, &v->shape) ? c : NAN;
}

/* Min(c / y, k) = c / Max(y, c / k) for y >= 0, where c / 0 is infinite. */
static bool bounded_inverse(mlc_graph *g, mlc_node *node) {
    if (!mlc_fuse_is(node, "Min") || node->n_in != 2)
        return false;
    for (int i = 0; i < 2; i++) {
        mlc_value *y, *inverse = node->in[i], *out = node->out[0];
        double k = mlc_fuse_number(node->in[1 - i]), c = inverse_of(inverse, &y);
        if (!(k > 0) || !isfinite(k) || isnan(c) || !mlc_shape_equal(&out->shape, &inverse->shape) ||
            !mlc_dtype_is_float(out->dtype))
            continue;
        mlc_shape scalar = {0};
        mlc_tensor *numerator = mlc_tensor_create(g->arena, out->dtype, &scalar);
        mlc_tensor *limit = mlc_tensor_create(g->arena, out->dtype, &scalar);
        numerator->f[0] = c;
        limit->f[0] = c / k;
        mlc_node *before = node->next;
        mlc_graph_remove(g, node);
        mlc_value *bound[2] = {y, mlc_graph_constant(g, NULL, limit)};
        mlc_value *quotient[2] = {mlc_graph_constant(g, NULL, numerator), NULL};
        quotient[1] = insert(g, before, "Max", bound, 2, y, NULL);
        insert(g, before, "Div", quotient, 2, y, out);
        return true;
    }
    return false;
}

/* Max(x, -inf) = x, Min(x, inf) = x */
static bool no_limit(mlc_graph *g, mlc_node *node) {
    double limit = mlc_fuse_is(node, "Max") ? -INFINITY : INFINITY;
    if ((!mlc_fuse_is(node, "Max") && !mlc_fuse_is(node, "Min")) || node->n_in != 2)
        return false;
    for (int i = 0; i < 2; i++)
        if (mlc_fuse_number(node->in[1 - i]) == limit &&
            mlc_shape_equal(&node->in[i]->shape, &node->out[0]->shape)) {
            mlc_value *x = node->in[i], *out = node->out[0];
            mlc_node *before = node->next;
            mlc_graph_remove(g, node);
            insert(g, before, "Identity", &x, 1, x, out);
            return true;
        }
    return false;
}

void mlc_fuse(mlc_graph *g) {
    MLC_FOR_NODES_SAFE (g, node, following) {
        if (node->n_in == 0 || !node->in[0])
            continue;
        if (mlc_fuse_activation(g, node) || log_sigmoid(g, node) || log_softmax(g, node) ||
            bounded_inverse(g, node) || no_limit(g, node))
            continue;
    }
    mlc_graph_sweep(g);
}
