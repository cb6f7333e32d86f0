#include "Elementwise.h"
#include "Movement.h"

/* The maps that ZipMap makes of a matrix are left to the caller: the result is the
 * matrix, and the class labels stay with the node. */
static bool infer(mlc_graph *g, mlc_node *node) {
    mlc_shape shape = node->in[0]->shape;
    const mlc_attr *strings = mlc_attr_find(node, "classlabels_strings");
    const mlc_attr *ints = mlc_attr_find(node, "classlabels_int64s");
    if (!strings == !ints)
        return mlc_error_at(g->diag, node, "one of classlabels_strings and classlabels_int64s must be given");
    if (shape.rank == 1)
        shape = (mlc_shape){.rank = 2, .dim = {1, shape.dim[0]}};
    int64_t labels = strings ? strings->n : ints->n;
    if (shape.rank != 2 || shape.dim[1] != labels)
        return mlc_error_at(g->diag, node, "%lld class labels do not fit '%s' of shape %s", (long long)labels,
                            mlc_escape(node->in[0]->name), mlc_shape_str(g->arena, &node->in[0]->shape));
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_move_n(out[0], 0, in[0], 0, mlc_shape_elements(&out[0]->shape));
}

MLC_OPS(ZipMap, {.domain = "ai.onnx.ml",
                 .name = "ZipMap",
                 .since = 1,
                 .doc = "Names the columns of a matrix; the result is the matrix.",
                 .min_in = 1,
                 .max_in = 1,
                 .min_out = 1,
                 .max_out = 1,
                 .attrs = (const mlc_attr_spec[]){{"classlabels_strings", MLC_ATTR_STRINGS},
                                                  {"classlabels_int64s", MLC_ATTR_INTS},
                                                  {0}},
                 .infer = infer,
                 .eval = eval,
                 .quantize = mlc_quantize_reshape});
