#include "Movement.h"

#include "Elementwise.h"

static const mlc_tensor *value_attr(const mlc_node *node) {
    const mlc_attr *a = mlc_attr_find(node, "value");
    return a ? a->t : NULL;
}

static bool infer_constant_of_shape(mlc_graph *g, mlc_node *node) {
    const mlc_tensor *dims = mlc_infer_ints(g, node, 0);
    if (!dims)
        return false;
    int64_t rank = mlc_shape_elements(&dims->shape);
    if (rank > MLC_MAX_RANK)
        return mlc_error_at(g->diag, node, "the result would have %lld dimensions; at most %d are supported",
                            (long long)rank, MLC_MAX_RANK);
    mlc_shape shape = {.rank = (int)rank};
    memcpy(shape.dim, dims->i, (size_t)rank * sizeof(int64_t));
    const mlc_tensor *value = value_attr(node);
    if (value && mlc_shape_elements(&value->shape) != 1)
        return mlc_error_at(g->diag, node, "attribute 'value' has shape %s and must hold one element",
                            mlc_shape_str(g->arena, &value->shape));
    return mlc_infer_set(g, node, 0, value ? value->dtype : MLC_FLOAT, &shape);
}

static void eval_constant_of_shape(const mlc_node *node, const mlc_tensor *const *in,
                                   mlc_tensor *const *out) {
    (void)in;
    const mlc_tensor *value = value_attr(node);
    int64_t n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; value && i < n; i++)
        mlc_move(out[0], i, value, 0);
}

MLC_OPS(ConstantOfShape, {.domain = "",
                          .name = "ConstantOfShape",
                          .since = 9,
                          .doc = "A tensor of one repeated value.",
                          .limits = "the shape must be a constant",
                          .min_in = 1,
                          .max_in = 1,
                          .min_out = 1,
                          .max_out = 1,
                          .attrs = (const mlc_attr_spec[]){{"value", MLC_ATTR_TENSOR}, {0}},
                          .infer = infer_constant_of_shape,
                          .eval = eval_constant_of_shape});
