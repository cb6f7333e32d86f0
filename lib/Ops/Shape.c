#include "Movement.h"

#include "Elementwise.h"

/* The dimensions [*start, *end) that the node returns; attributes are clamped. */
static void bounds(const mlc_node *node, int rank, int64_t *start, int64_t *end) {
    int64_t at[2] = {mlc_attr_int(node, "start", 0), mlc_attr_int(node, "end", rank)};
    for (int k = 0; k < 2; k++) {
        if (at[k] < 0)
            at[k] = at[k] < -rank ? 0 : at[k] + rank;
        if (at[k] > rank)
            at[k] = rank;
    }
    *start = at[0];
    *end = at[1] < at[0] ? at[0] : at[1];
}

static bool infer_shape(mlc_graph *g, mlc_node *node) {
    int64_t start, end;
    bounds(node, node->in[0]->shape.rank, &start, &end);
    return mlc_infer_set(g, node, 0, MLC_INT64, &(mlc_shape){.rank = 1, .dim = {end - start}});
}

static void eval_shape(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    int64_t start, end;
    bounds(node, in[0]->shape.rank, &start, &end);
    for (int64_t d = start; d < end; d++)
        out[0]->i[d - start] = in[0]->shape.dim[d];
}

static bool infer_size(mlc_graph *g, mlc_node *node) {
    return mlc_infer_set(g, node, 0, MLC_INT64, &(mlc_shape){0});
}

static void eval_size(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    out[0]->i[0] = mlc_shape_elements(&in[0]->shape);
}

MLC_OPS(Shape,
        {.domain = "",
         .name = "Shape",
         .since = 1,
         .until = 14,
         .doc = "The dimensions of a tensor.",
         .min_in = 1,
         .max_in = 1,
         .min_out = 1,
         .max_out = 1,
         .infer = infer_shape,
         .eval = eval_shape,
         .quantize = mlc_quantize_static},
        {.domain = "",
         .name = "Shape",
         .since = 15,
         .doc = "The dimensions of a tensor.",
         .min_in = 1,
         .max_in = 1,
         .min_out = 1,
         .max_out = 1,
         .attrs = (const mlc_attr_spec[]){{"start", MLC_ATTR_INT}, {"end", MLC_ATTR_INT}, {0}},
         .infer = infer_shape,
         .eval = eval_shape,
         .quantize = mlc_quantize_static},
        {.domain = "",
         .name = "Size",
         .since = 1,
         .doc = "The number of elements of a tensor.",
         .min_in = 1,
         .max_in = 1,
         .min_out = 1,
         .max_out = 1,
         .infer = infer_size,
         .eval = eval_size,
         .quantize = mlc_quantize_static});
