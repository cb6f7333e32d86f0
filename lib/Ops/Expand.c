#include "Movement.h"

#include "Elementwise.h"

static bool infer_expand(mlc_graph *g, mlc_node *node) {
    const mlc_tensor *dims = mlc_infer_ints(g, node, 1);
    if (!dims)
        return false;
    int64_t rank = mlc_shape_elements(&dims->shape);
    if (rank > MLC_MAX_RANK)
        return mlc_error_at(g->diag, node, "the result would have %lld dimensions; at most %d are supported",
                            (long long)rank, MLC_MAX_RANK);
    mlc_shape wanted = {.rank = (int)rank}, shape;
    for (int d = 0; d < wanted.rank; d++) {
        wanted.dim[d] = dims->i[d];
        if (wanted.dim[d] < 0 || wanted.dim[d] > MLC_MAX_ELEMENTS)
            return mlc_error_at(g->diag, node, "dimension %d is %lld", d, (long long)wanted.dim[d]);
    }
    if (!mlc_shape_broadcast(&node->in[0]->shape, &wanted, &shape))
        return mlc_error_at(g->diag, node, "shape %s cannot be expanded to %s",
                            mlc_shape_str(g->arena, &node->in[0]->shape), mlc_shape_str(g->arena, &wanted));
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

static void eval_expand(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    int64_t n = mlc_shape_elements(&out[0]->shape);
    mlc_walk w;
    mlc_walk_begin(&w, &out[0]->shape, 1, (const mlc_shape *const[]){&in[0]->shape});
    for (int64_t i = 0; i < n; i++, mlc_walk_next(&w))
        mlc_move(out[0], i, in[0], w.at[0]);
}

static bool infer_tile(mlc_graph *g, mlc_node *node) {
    mlc_shape shape = node->in[0]->shape;
    const mlc_tensor *repeats = mlc_infer_ints(g, node, 1);
    if (!repeats)
        return false;
    if (mlc_shape_elements(&repeats->shape) != shape.rank)
        return mlc_error_at(g->diag, node, "repeats has %lld entries for an input of shape %s",
                            (long long)mlc_shape_elements(&repeats->shape), mlc_shape_str(g->arena, &shape));
    for (int d = 0; d < shape.rank; d++) {
        int64_t n = repeats->i[d];
        if (n < 0 || (shape.dim[d] > 0 && n > MLC_MAX_ELEMENTS / shape.dim[d]))
            return mlc_error_at(g->diag, node, "axis %d of size %lld cannot be repeated %lld times", d,
                                (long long)shape.dim[d], (long long)n);
        shape.dim[d] *= n;
    }
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

static void eval_tile(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    int64_t position[MLC_MAX_RANK], n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++) {
        mlc_unflatten(&out[0]->shape, i, position);
        for (int d = 0; d < out[0]->shape.rank; d++)
            position[d] %= in[0]->shape.dim[d];
        mlc_move(out[0], i, in[0], mlc_flatten(&in[0]->shape, position));
    }
}

MLC_OPS(Expand,
        {.domain = "",
         .name = "Expand",
         .since = 8,
         .doc = "Broadcasts to a shape.",
         .limits = "the shape must be a constant",
         .min_in = 2,
         .max_in = 2,
         .min_out = 1,
         .max_out = 1,
         .infer = infer_expand,
         .eval = eval_expand,
         .quantize = mlc_quantize_move},
        {.domain = "",
         .name = "Tile",
         .since = 6,
         .doc = "Repeats a tensor along its axes.",
         .limits = "repeats must be a constant",
         .min_in = 2,
         .max_in = 2,
         .min_out = 1,
         .max_out = 1,
         .infer = infer_tile,
         .eval = eval_tile,
         .quantize = mlc_quantize_move});
