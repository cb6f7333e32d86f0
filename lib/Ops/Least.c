#include "Real.h"

#include <math.h>

/*
 * A lower bound of a real value from the structure of the model. The interval of
 * the integer value, widened by its error bound, does not know that a square
 * root or a norm plus epsilon is positive; a divisor must be.
 */

static double least(const mlc_quant *q, const mlc_value *v, int depth);

static double constant_least(const mlc_tensor *t) {
    double x = INFINITY;
    const int64_t n = mlc_shape_elements(&t->shape);
    for (int64_t i = 0; i < n; i++)
        x = fmin(x, mlc_tensor_real(t, i));
    return x;
}

static bool one_of(const char *name, const char *const *names) {
    for (; *names; names++)
        if (!strcmp(name, *names))
            return true;
    return false;
}

static const char *const moves[] = {"Identity", "Reshape", "Squeeze", "Unsqueeze", "Expand", NULL};

/* Behind moves of whole tensors. */
static const mlc_node *source(const mlc_value *v) {
    while (v->producer && !*v->producer->op->domain && one_of(v->producer->op->name, moves))
        v = v->producer->in[0];
    return v->producer && !*v->producer->op->domain ? v->producer : NULL;
}

/* The shape that a reduction leaves with keepdims; false when it is over no or all dimensions by default. */
static bool kept(const mlc_node *reduction, mlc_shape *shape) {
    int axes[MLC_MAX_RANK];
    *shape = reduction->in[0]->shape;
    const int n = mlc_node_axes(reduction, 1, shape->rank, axes);
    for (int k = 0; k < n; k++)
        shape->dim[axes[k]] = 1;
    return n > 0;
}

/* The Sub of x - max(x), the maximum taken along some dimensions and subtracted along the same. */
static const mlc_node *minus_maximum(const mlc_value *v) {
    const mlc_node *sub = source(v), *max = sub && !strcmp(sub->op->name, "Sub") ? source(sub->in[1]) : NULL;
    mlc_shape shape;
    const bool is = max && !strcmp(max->op->name, "ReduceMax") && max->in[0] == sub->in[0] &&
                    kept(max, &shape) && mlc_shape_equal(&sub->in[1]->shape, &shape);
    return is ? sub : NULL;
}

bool mlc_minus_maximum(const mlc_value *v) {
    return minus_maximum(v) != NULL;
}

/* The sum of exp(x - max(x)) along the same dimensions: one of its terms is exp(0). */
static bool is_partition(const mlc_node *node) {
    const mlc_node *power = !strcmp(node->op->name, "ReduceSum") ? source(node->in[0]) : NULL;
    const mlc_node *sub = power && !strcmp(power->op->name, "Exp") ? minus_maximum(power->in[0]) : NULL;
    mlc_shape shape;
    return sub && mlc_shape_equal(&node->in[0]->shape, &sub->in[0]->shape) && kept(node, &shape) &&
           mlc_shape_equal(&shape, &sub->in[1]->shape);
}

/* x*x, or a power with an even exponent. */
static bool is_square(const mlc_node *node) {
    const char *name = node->op->name;
    if (!strcmp(name, "Mul"))
        return node->in[0] == node->in[1];
    if (strcmp(name, "Pow") || !node->in[1]->constant || mlc_shape_elements(&node->in[1]->shape) != 1)
        return false;
    return fmod(mlc_tensor_real(node->in[1]->constant, 0), 2) == 0;
}

static double node_least(const mlc_quant *q, const mlc_node *node, int depth) {
    static const char *const nonnegative[] = {
        "Abs",     "Relu",     "Exp",      "Softplus",        "Sigmoid",
        "Softmax", "ReduceL1", "ReduceL2", "ReduceSumSquare", "HardSigmoid",
        "Not",     "Less",     "Greater",  "Equal",           NULL};
    static const char *const same[] = {
        "Identity",  "Reshape", "Flatten",   "Squeeze",           "Unsqueeze",     "Expand",
        "Cast",      "Slice",   "Transpose", "GlobalAveragePool", "ReduceMean",    "ReduceMax",
        "ReduceMin", "Tile",    "Gather",    "MaxPool",           "GlobalMaxPool", NULL};
    const char *name = node->op->name;
    if (*node->op->domain)
        return -INFINITY;
    if (is_square(node) || one_of(name, nonnegative))
        return 0;
    if (node->n_in > 0 && node->in[0] && is_partition(node))
        return 1;
    const double x = node->n_in > 0 && node->in[0] ? least(q, node->in[0], depth) : -INFINITY;
    const double y = node->n_in > 1 && node->in[1] ? least(q, node->in[1], depth) : -INFINITY;
    if (one_of(name, same))
        return x;
    if (!strcmp(name, "Sqrt"))
        return sqrt(fmax(x, 0));
    if (!strcmp(name, "ReduceSum") || !strcmp(name, "Div") || !strcmp(name, "Mul") || !strcmp(name, "Pow"))
        return x >= 0 && (node->n_in < 2 || !strcmp(name, "ReduceSum") || y >= 0) ? 0 : -INFINITY;
    if (node->n_in == 2 && !strcmp(name, "Add"))
        return x + y;
    if (node->n_in == 2 && !strcmp(name, "Max"))
        return fmax(x, y);
    if (!strcmp(name, "Clip") && node->opset < 11)
        return fmax(x, mlc_attr_float(node, "min", -INFINITY));
    if (!strcmp(name, "Clip"))
        return fmax(x, y);
    return -INFINITY;
}

static double least(const mlc_quant *q, const mlc_value *v, int depth) {
    if (v->constant)
        return constant_least(v->constant);
    double x = q->map[v->id] ? mlc_q_min_real(q->map[v->id]) : -INFINITY;
    if (v->producer && depth > 0)
        x = fmax(x, node_least(q, v->producer, depth - 1));
    return x;
}

double mlc_q_least(const mlc_quant *q, const mlc_value *v) {
    enum { DEPTH = 8 };
    return least(q, v, DEPTH);
}
