#include "Movement.h"

#include "Elementwise.h"
#include "Real.h"

static bool infer_where(mlc_graph *g, mlc_node *node) {
    mlc_shape shape;
    if (node->in[0]->dtype != MLC_BOOL)
        return mlc_error_at(g->diag, node, "input 0, '%s', is %s and must be bool",
                            mlc_escape(node->in[0]->name), mlc_dtype_name(node->in[0]->dtype));
    if (!mlc_infer_same_dtype(g, node, 1, 2))
        return false;
    if (!mlc_shape_broadcast(&node->in[0]->shape, &node->in[1]->shape, &shape) ||
        !mlc_shape_broadcast(&shape, &node->in[2]->shape, &shape))
        return mlc_error_at(g->diag, node, "shapes %s, %s and %s do not broadcast",
                            mlc_shape_str(g->arena, &node->in[0]->shape),
                            mlc_shape_str(g->arena, &node->in[1]->shape),
                            mlc_shape_str(g->arena, &node->in[2]->shape));
    return mlc_infer_set(g, node, 0, node->in[1]->dtype, &shape);
}

static void eval_where(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    int64_t n = mlc_shape_elements(&out[0]->shape);
    mlc_walk w;
    mlc_walk_begin(&w, &out[0]->shape, 3,
                   (const mlc_shape *const[]){&in[0]->shape, &in[1]->shape, &in[2]->shape});
    for (int64_t i = 0; i < n; i++, mlc_walk_next(&w)) {
        int k = in[0]->i[w.at[0]] ? 1 : 2;
        mlc_move(out[0], i, in[k], w.at[k]);
    }
}

/* Operand k, which may be a mask for the other one. */
static mlc_value *branch(mlc_quant *q, const mlc_node *node, int k) {
    const mlc_value *v = node->in[k], *other = node->in[3 - k];
    if (!v->constant || other->constant || !mlc_dtype_is_float(v->dtype))
        return mlc_q_value(q, v);
    mlc_value *rest = mlc_q_value(q, other);
    const double *x = rest ? mlc_q_mask(q, node, v->constant->f, mlc_shape_elements(&v->shape), rest) : NULL;
    enum { BITS = 31 };
    return x ? mlc_q_real_constant(q, x, &v->shape, BITS) : NULL;
}

static bool quantize_where(mlc_quant *q, const mlc_node *node) {
    mlc_value *c = mlc_q_value(q, node->in[0]), *a = branch(q, node, 1), *b = branch(q, node, 2);
    mlc_value *v = c && a && b ? mlc_q_where(q, c, a, b) : NULL;
    return v && mlc_q_bind(q, node->out[0], v);
}

MLC_OPS(Where, {.domain = "",
                .name = "Where",
                .since = 9,
                .doc = "Chooses between two tensors, element by element.",
                .min_in = 3,
                .max_in = 3,
                .min_out = 1,
                .max_out = 1,
                .infer = infer_where,
                .eval = eval_where,
                .quantize = quantize_where});
