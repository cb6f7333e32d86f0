#include "Movement.h"

#include "Elementwise.h"

static void eval_identity(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_move_n(out[0], 0, in[0], 0, mlc_shape_elements(&out[0]->shape));
}

static bool infer_dropout(mlc_graph *g, mlc_node *node) {
    if (mlc_has_in(node, 2)) {
        const mlc_tensor *training = mlc_infer_constant(g, node, 2);
        if (!training)
            return false;
        if (training->dtype != MLC_BOOL || mlc_shape_elements(&training->shape) != 1 || training->i[0])
            return mlc_error_at(g->diag, node, "training_mode is set; export the model for inference");
    }
    if (!mlc_infer_same(g, node))
        return false;
    mlc_dtype mask = node->op->since >= 10 ? MLC_BOOL : node->in[0]->dtype;
    return !mlc_has_out(node, 1) || mlc_infer_set(g, node, 1, mask, &node->in[0]->shape);
}

static void eval_dropout(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    if (out[0])
        eval_identity(node, in, out);
    if (!mlc_has_out(node, 1))
        return;
    int64_t n = mlc_shape_elements(&out[1]->shape);
    for (int64_t i = 0; i < n; i++) {
        if (mlc_dtype_is_float(out[1]->dtype))
            out[1]->f[i] = 1;
        else
            out[1]->i[i] = 1;
    }
}

static bool quantize_dropout(mlc_quant *q, const mlc_node *node) {
    if (mlc_has_out(node, 0) && !mlc_quantize_reshape(q, node))
        return false;
    if (!mlc_has_out(node, 1))
        return true;
    int64_t n = mlc_shape_elements(&node->out[1]->shape);
    int64_t *kept = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++)
        kept[i] = 1;
    mlc_value *mask = mlc_q_constant(q, kept, &node->out[1]->shape);
    return mask && mlc_q_bind(q, node->out[1], mask);
}

#define DROPOUT(SINCE, UNTIL, MAX_IN, ...)                  \
    {                                                       \
        .domain = "",                                       \
        .name = "Dropout",                                  \
        .since = SINCE,                                     \
        .until = UNTIL,                                     \
        .doc = "Nothing, when not training.",               \
        .limits = "inference only",                         \
        .min_in = 1,                                        \
        .max_in = MAX_IN,                                   \
        .min_out = 1,                                       \
        .max_out = 2,                                       \
        .attrs = (const mlc_attr_spec[]){__VA_ARGS__, {0}}, \
        .infer = infer_dropout,                             \
        .eval = eval_dropout,                               \
        .quantize = quantize_dropout,                       \
    }

MLC_OPS(Identity,
        {.domain = "",
         .name = "Identity",
         .since = 1,
         .doc = "Its input.",
         .min_in = 1,
         .max_in = 1,
         .min_out = 1,
         .max_out = 1,
         .infer = mlc_infer_same,
         .eval = eval_identity,
         .quantize = mlc_quantize_reshape},
        DROPOUT(1, 5, 1, {"consumed_inputs", MLC_ATTR_INTS}, {"is_test", MLC_ATTR_INT},
                {"ratio", MLC_ATTR_FLOAT}),
        DROPOUT(6, 6, 1, {"is_test", MLC_ATTR_INT}, {"ratio", MLC_ATTR_FLOAT}),
        DROPOUT(7, 9, 1, {"ratio", MLC_ATTR_FLOAT}), DROPOUT(10, 11, 1, {"ratio", MLC_ATTR_FLOAT}),
        DROPOUT(12, 0, 3, {"seed", MLC_ATTR_INT}));
