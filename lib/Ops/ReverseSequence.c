#include "Elementwise.h"
#include "Movement.h"

static bool infer(mlc_graph *g, mlc_node *node) {
    const mlc_shape *from = &node->in[0]->shape, *lengths = &node->in[1]->shape;
    int64_t batch = mlc_attr_int(node, "batch_axis", 1), time = mlc_attr_int(node, "time_axis", 0);
    if (from->rank < 2 || (batch != 0 && batch != 1) || time != 1 - batch)
        return mlc_error_at(g->diag, node, "batch_axis %lld and time_axis %lld must be 0 and 1, or 1 and 0",
                            (long long)batch, (long long)time);
    if (!mlc_infer_integer(g, node, 1))
        return false;
    if (lengths->rank != 1 || lengths->dim[0] != from->dim[batch])
        return mlc_error_at(g->diag, node, "sequence_lens of shape %s does not fit '%s' of shape %s",
                            mlc_shape_str(g->arena, lengths), mlc_escape(node->in[0]->name),
                            mlc_shape_str(g->arena, from));
    const mlc_tensor *t = node->in[1]->constant;
    for (int64_t i = 0; t && i < lengths->dim[0]; i++)
        if (t->i[i] < 0 || t->i[i] > from->dim[time])
            return mlc_error_at(g->diag, node, "sequence length %lld is outside [0,%lld]", (long long)t->i[i],
                                (long long)from->dim[time]);
    return mlc_infer_same(g, node);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    int64_t batch = mlc_attr_int(node, "batch_axis", 1), time = 1 - batch;
    int64_t at[MLC_MAX_RANK], n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++) {
        mlc_unflatten(&out[0]->shape, i, at);
        int64_t length = in[1]->i[at[batch]];
        if (length > in[0]->shape.dim[time])
            length = in[0]->shape.dim[time];
        if (at[time] < length)
            at[time] = length - 1 - at[time];
        mlc_move(out[0], i, in[0], mlc_flatten(&in[0]->shape, at));
    }
}

MLC_OPS(ReverseSequence,
        {.domain = "",
         .name = "ReverseSequence",
         .since = 10,
         .doc = "Reverses the beginning of each sequence.",
         .limits = "sequence_lens must be a constant",
         .min_in = 2,
         .max_in = 2,
         .min_out = 1,
         .max_out = 1,
         .attrs = (const mlc_attr_spec[]){{"batch_axis", MLC_ATTR_INT}, {"time_axis", MLC_ATTR_INT}, {0}},
         .infer = infer,
         .eval = eval,
         .quantize = mlc_quantize_move});
