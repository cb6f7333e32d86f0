#include "Elementwise.h"

/* The tensor that the node's only attribute describes, without its elements. */
static bool describe(const mlc_node *node, const mlc_attr **found, mlc_dtype *dtype, mlc_shape *shape) {
    *shape = (mlc_shape){0};
    if (node->n_attr != 1)
        return false;
    const mlc_attr *a = *found = &node->attr[0];
    switch (a->kind) {
    case MLC_ATTR_TENSOR:
        *dtype = a->t->dtype;
        *shape = a->t->shape;
        return true;
    case MLC_ATTR_INTS:
    case MLC_ATTR_FLOATS:
    case MLC_ATTR_STRINGS:
        *shape = (mlc_shape){.rank = 1, .dim = {a->n}};
        *dtype = a->kind == MLC_ATTR_INTS ? MLC_INT64 : a->kind == MLC_ATTR_FLOATS ? MLC_FLOAT : MLC_STRING;
        return true;
    case MLC_ATTR_INT:
        *dtype = MLC_INT64;
        return true;
    case MLC_ATTR_FLOAT:
        *dtype = MLC_FLOAT;
        return true;
    case MLC_ATTR_STRING:
        *dtype = MLC_STRING;
        return true;
    default:
        return false;
    }
}

static bool infer_constant(mlc_graph *g, mlc_node *node) {
    const mlc_attr *a;
    mlc_dtype dtype;
    mlc_shape shape;
    if (!describe(node, &a, &dtype, &shape))
        return mlc_error_at(g->diag, node, "exactly one attribute must give the value; the node has %d",
                            node->n_attr);
    return mlc_infer_set(g, node, 0, dtype, &shape);
}

static void eval_constant(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)in;
    const mlc_attr *a;
    mlc_dtype dtype;
    mlc_shape shape;
    if (!describe(node, &a, &dtype, &shape))
        return;
    if (a->kind == MLC_ATTR_TENSOR)
        mlc_move_n(out[0], 0, a->t, 0, mlc_shape_elements(&shape));
    else if (a->kind == MLC_ATTR_INT)
        out[0]->i[0] = a->i;
    else if (a->kind == MLC_ATTR_FLOAT)
        out[0]->f[0] = a->f;
    else if (a->kind == MLC_ATTR_STRING)
        out[0]->s[0] = a->s;
    for (int64_t i = 0; shape.rank == 1 && i < shape.dim[0]; i++) {
        if (a->kind == MLC_ATTR_INTS)
            out[0]->i[i] = a->ints[i];
        else if (a->kind == MLC_ATTR_FLOATS)
            out[0]->f[i] = a->floats[i];
        else if (a->kind == MLC_ATTR_STRINGS)
            out[0]->s[i] = a->strings[i];
    }
}

static const mlc_attr_spec attrs_1[] = {{"value", MLC_ATTR_TENSOR}, {0}};
static const mlc_attr_spec attrs_12[] = {
    {"value", MLC_ATTR_TENSOR},        {"sparse_value", MLC_ATTR_TENSOR},   {"value_float", MLC_ATTR_FLOAT},
    {"value_floats", MLC_ATTR_FLOATS}, {"value_int", MLC_ATTR_INT},         {"value_ints", MLC_ATTR_INTS},
    {"value_string", MLC_ATTR_STRING}, {"value_strings", MLC_ATTR_STRINGS}, {0}};

#define ROW(SINCE, UNTIL, ATTRS)                  \
    {                                             \
        .domain = "",                             \
        .name = "Constant",                       \
        .since = SINCE,                           \
        .until = UNTIL,                           \
        .doc = "A tensor given by an attribute.", \
        .min_in = 0,                              \
        .max_in = 0,                              \
        .min_out = 1,                             \
        .max_out = 1,                             \
        .attrs = ATTRS,                           \
        .infer = infer_constant,                  \
        .eval = eval_constant,                    \
    }

MLC_OPS(Constant, ROW(1, 10, attrs_1), ROW(11, 0, attrs_12));
