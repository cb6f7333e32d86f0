/*
 * Activations that exporters spell out:
 *
 *   x * Sigmoid(x)                   Swish
 *   x * Tanh(Softplus(x))            Mish
 *   x * HardSigmoid(x)               HardSwish; with Clip(x + 3, 0, 6) / 6 for HardSigmoid(x)
 *   x / (1 + |x|)                    Softsign
 *   Where(x > t, x, Softplus(x))     Softplus, for t so large that floats cannot tell
 *
 * As one function each is cheaper, and its error does not grow with x: the factors
 * know nothing of each other. Not in models that quantize themselves, which specify
 * the rounding of each node.
 */
#include "Fuse.h"

#include "mlc/op.h"

#include <math.h>

/* Constants are floats: 1/6 is not exact. */
#define CLOSE 1e-6

/* An op, by the first version of the registry that has it; c * op(x). */
typedef struct activation {
    const char *op;
    int version;
    mlc_value *x;
    double c;
} activation;

static double limit_of(const mlc_node *clip, int k, const char *attr, double missing) {
    if (clip->opset < 11)
        return mlc_attr_float(clip, attr, missing);
    const mlc_value *v = k < clip->n_in ? clip->in[k] : NULL;
    return v ? mlc_fuse_number(v) : missing;
}

/* The other operand of a Mul or Add of a constant; NULL: none is constant. */
static mlc_value *beside_number(const mlc_node *node, double *c) {
    for (int i = 0; i < 2; i++) {
        *c = mlc_fuse_number(node->in[1 - i]);
        if (!isnan(*c) && mlc_shape_equal(&node->in[i]->shape, &node->out[0]->shape))
            return node->in[i];
    }
    return NULL;
}

/* v = c * y, for y before multiplication or division by a constant; NULL: v is not so. */
static mlc_value *unscaled(const mlc_value *v, double *c) {
    const mlc_node *node = v->producer;
    if (mlc_fuse_is(node, "Mul"))
        return beside_number(node, c);
    if (!mlc_fuse_is(node, "Div") || !mlc_shape_equal(&node->in[0]->shape, &v->shape))
        return NULL;
    *c = 1 / mlc_fuse_number(node->in[1]);
    return isnan(*c) ? NULL : node->in[0];
}

/* v = c * gate(x), where x * gate(x) is the activation. */
static bool is_gate(const mlc_value *v, activation *a) {
    const mlc_node *node = v->producer;
    double c;
    mlc_value *inner = unscaled(v, &c);
    if (inner && is_gate(inner, a)) {
        a->c *= c;
        return true;
    }
    if (mlc_fuse_is(node, "Sigmoid")) {
        *a = (activation){"Swish", 24, node->in[0], 1};
        return true;
    }
    if (mlc_fuse_is(node, "Tanh") && mlc_fuse_is(node->in[0]->producer, "Softplus")) {
        *a = (activation){"Mish", 18, node->in[0]->producer->in[0], 1};
        return true;
    }
    *a = (activation){"HardSwish", 14, NULL, 1};
    if (mlc_fuse_is(node, "HardSigmoid") && fabs(mlc_attr_float(node, "alpha", 0.2) - 1.0 / 6) < CLOSE &&
        mlc_attr_float(node, "beta", 0.5) == 0.5)
        a->x = node->in[0];
    if (mlc_fuse_is(node, "Clip") && limit_of(node, 1, "min", -INFINITY) == 0 &&
        limit_of(node, 2, "max", INFINITY) == 6 && mlc_fuse_is(node->in[0]->producer, "Add")) {
        a->x = beside_number(node->in[0]->producer, &c);
        a->x = a->x && c == 3 ? a->x : NULL;
        a->c = 6;
    }
    return a->x != NULL;
}

/* v = c * x * gate(x) */
static bool is_gated(const mlc_value *v, activation *a) {
    const mlc_node *node = v->producer;
    double c;
    mlc_value *inner = unscaled(v, &c);
    if (inner && is_gated(inner, a)) {
        a->c *= c;
        return true;
    }
    if (!mlc_fuse_is(node, "Mul"))
        return false;
    return (is_gate(node->in[1], a) && a->x == node->in[0]) ||
           (is_gate(node->in[0], a) && a->x == node->in[1]);
}

static bool is_softsign(const mlc_value *v, activation *a) {
    const mlc_node *node = v->producer, *sum = mlc_fuse_is(node, "Div") ? node->in[1]->producer : NULL;
    double c;
    const mlc_value *size = mlc_fuse_is(sum, "Add") ? beside_number(sum, &c) : NULL;
    if (!size || c != 1 || !mlc_fuse_is(size->producer, "Abs") || size->producer->in[0] != node->in[0])
        return false;
    *a = (activation){"Softsign", 1, node->in[0], 1};
    return true;
}

/* Softplus(x) - x < exp(-t) for x > t, less than half a step of floats there. */
static bool is_softplus(const mlc_value *v, activation *a) {
    enum { ENOUGH = 16 };
    const mlc_node *node = v->producer;
    if (!mlc_fuse_is(node, "Where") || !mlc_fuse_is(node->in[0]->producer, "Greater") ||
        !mlc_fuse_is(node->in[2]->producer, "Softplus"))
        return false;
    const mlc_node *greater = node->in[0]->producer, *softplus = node->in[2]->producer;
    if (greater->in[0] != node->in[1] || softplus->in[0] != node->in[1] ||
        !(mlc_fuse_number(greater->in[1]) >= ENOUGH))
        return false;
    *a = (activation){"Softplus", 1, node->in[1], 1};
    return true;
}

bool mlc_fuse_activation(mlc_graph *g, mlc_node *node) {
    mlc_value *out = node->out[0];
    activation a;
    if (!out || !mlc_dtype_is_float(out->dtype) ||
        (!is_gated(out, &a) && !is_softsign(out, &a) && !is_softplus(out, &a)))
        return false;
    if (!(fabs(a.c - 1) < CLOSE) || !mlc_shape_equal(&a.x->shape, &out->shape) || mlc_quantizes(g))
        return false;
    const char *name = node->name;
    mlc_node *before = node->next;
    mlc_graph_remove(g, node);
    mlc_graph_insert(g, before, mlc_op_find("", a.op, a.version), name, &a.x, 1, &out, 1)->opset = a.version;
    return true;
}
