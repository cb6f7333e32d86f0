#include "Elementwise.h"
#include "Movement.h"

static bool infer_trilu(mlc_graph *g, mlc_node *node) {
    int64_t k;
    if (mlc_has_in(node, 1) && !mlc_infer_int(g, node, 1, &k))
        return false;
    if (node->in[0]->shape.rank < 2)
        return mlc_error_at(g->diag, node, "'%s' of shape %s is not a matrix", mlc_escape(node->in[0]->name),
                            mlc_shape_str(g->arena, &node->in[0]->shape));
    return mlc_infer_number(g, node, 0) && mlc_infer_same(g, node);
}

static void eval_trilu(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const mlc_shape *s = &out[0]->shape;
    int64_t rows = s->dim[s->rank - 2], columns = s->dim[s->rank - 1], n = mlc_shape_elements(s);
    int64_t k = mlc_has_in(node, 1) ? in[1]->i[0] : 0;
    bool upper = mlc_attr_int(node, "upper", 1) != 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t diagonal = i % columns - i / columns % rows;
        if (upper ? diagonal >= k : diagonal <= k)
            mlc_move(out[0], i, in[0], i);
        else if (mlc_dtype_is_float(out[0]->dtype))
            out[0]->f[i] = 0;
        else
            out[0]->i[i] = 0;
    }
}

static bool infer_eye(mlc_graph *g, mlc_node *node) {
    const mlc_value *x = node->in[0];
    int64_t dtype = mlc_attr_int(node, "dtype", x->dtype);
    if (x->shape.rank != 2)
        return mlc_error_at(g->diag, node, "'%s' of shape %s is not a matrix", mlc_escape(x->name),
                            mlc_shape_str(g->arena, &x->shape));
    if (!mlc_dtype_is_number(dtype))
        return mlc_error_at(g->diag, node, "dtype %lld is not a type of numbers", (long long)dtype);
    return mlc_infer_set(g, node, 0, (mlc_dtype)dtype, &x->shape);
}

static void eval_eye(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)in;
    int64_t k = mlc_attr_int(node, "k", 0), columns = out[0]->shape.dim[1],
            n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++) {
        bool one = i % columns - i / columns == k;
        if (mlc_dtype_is_float(out[0]->dtype))
            out[0]->f[i] = one;
        else
            out[0]->i[i] = one;
    }
}

MLC_OPS(Trilu,
        {.domain = "",
         .name = "Trilu",
         .since = 14,
         .doc = "The upper or lower triangle; 0 elsewhere.",
         .limits = "the diagonal must be a constant",
         .min_in = 1,
         .max_in = 2,
         .min_out = 1,
         .max_out = 1,
         .attrs = (const mlc_attr_spec[]){{"upper", MLC_ATTR_INT}, {0}},
         .infer = infer_trilu,
         .eval = eval_trilu,
         .quantize = mlc_quantize_move},
        {.domain = "",
         .name = "EyeLike",
         .since = 9,
         .doc = "1 on a diagonal, 0 elsewhere.",
         .min_in = 1,
         .max_in = 1,
         .min_out = 1,
         .max_out = 1,
         .attrs = (const mlc_attr_spec[]){{"dtype", MLC_ATTR_INT}, {"k", MLC_ATTR_INT}, {0}},
         .infer = infer_eye,
         .eval = eval_eye,
         .quantize = mlc_quantize_static});
