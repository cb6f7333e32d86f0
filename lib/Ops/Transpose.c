#include "Movement.h"

#include "Elementwise.h"

static bool infer_transpose(mlc_graph *g, mlc_node *node) {
    const mlc_shape *from = &node->in[0]->shape;
    int64_t n;
    const int64_t *perm = mlc_attr_ints(node, "perm", &n);
    mlc_shape shape = {.rank = from->rank};
    if (perm && n != from->rank)
        return mlc_error_at(g->diag, node, "perm has %lld entries for an input of shape %s", (long long)n,
                            mlc_shape_str(g->arena, from));
    bool used[MLC_MAX_RANK] = {0};
    for (int d = 0; d < from->rank; d++) {
        int64_t p = perm ? perm[d] : from->rank - 1 - d;
        if (p < 0 || p >= from->rank || used[p])
            return mlc_error_at(g->diag, node, "perm is not a permutation of 0 to %d", from->rank - 1);
        used[p] = true;
        shape.dim[d] = from->dim[p];
    }
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

static void eval_transpose(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const mlc_shape *from = &in[0]->shape, *to = &out[0]->shape;
    int64_t strides[MLC_MAX_RANK], position[MLC_MAX_RANK], n;
    const int64_t *perm = mlc_attr_ints(node, "perm", &n);
    mlc_shape_strides(from, strides);
    int64_t total = mlc_shape_elements(to);
    for (int64_t i = 0; i < total; i++) {
        int64_t at = 0;
        mlc_unflatten(to, i, position);
        for (int d = 0; d < to->rank; d++)
            at += position[d] * strides[perm ? perm[d] : to->rank - 1 - d];
        mlc_move(out[0], i, in[0], at);
    }
}

MLC_OPS(Transpose, {.domain = "",
                    .name = "Transpose",
                    .since = 1,
                    .doc = "Permutes the dimensions.",
                    .min_in = 1,
                    .max_in = 1,
                    .min_out = 1,
                    .max_out = 1,
                    .attrs = (const mlc_attr_spec[]){{"perm", MLC_ATTR_INTS}, {0}},
                    .infer = infer_transpose,
                    .eval = eval_transpose,
                    .quantize = mlc_quantize_move});
