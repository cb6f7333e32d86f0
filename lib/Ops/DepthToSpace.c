#include "Elementwise.h"
#include "Movement.h"

static bool infer(mlc_graph *g, mlc_node *node, bool to_space) {
    mlc_shape shape = node->in[0]->shape;
    int64_t b = mlc_attr_int(node, "blocksize", 0);
    bool fits = shape.rank == 4 && b >= 1 && b <= 1 << 14;
    if (fits && to_space)
        fits = shape.dim[1] % (b * b) == 0;
    else if (fits)
        fits = shape.dim[2] % b == 0 && shape.dim[3] % b == 0;
    if (!fits)
        return mlc_error_at(g->diag, node, "an input of shape %s does not divide into blocks of %lld",
                            mlc_shape_str(g->arena, &shape), (long long)b);
    shape.dim[1] = to_space ? shape.dim[1] / (b * b) : shape.dim[1] * b * b;
    for (int d = 2; d < 4; d++)
        shape.dim[d] = to_space ? shape.dim[d] * b : shape.dim[d] / b;
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

static bool known_mode(mlc_graph *g, mlc_node *node) {
    const char *mode = mlc_attr_string(node, "mode", "DCR");
    return !strcmp(mode, "DCR") || !strcmp(mode, "CRD") ||
           mlc_error_at(g->diag, node, "mode '%s' is not DCR or CRD", mlc_escape(mode));
}

static bool columns_first(const mlc_node *node) {
    return !strcmp(mlc_attr_string(node, "mode", "DCR"), "CRD");
}

static bool infer_to_space(mlc_graph *g, mlc_node *node) {
    return known_mode(g, node) && infer(g, node, true);
}

static bool infer_to_depth(mlc_graph *g, mlc_node *node) {
    return known_mode(g, node) && infer(g, node, false);
}

/* The element of the deep tensor that stands at (n, c, y, x) of the wide one. */
static int64_t deep_index(const mlc_shape *deep, const mlc_shape *wide, int64_t b, bool crd,
                          const int64_t at[MLC_MAX_RANK]) {
    int64_t in_block = at[2] % b * b + at[3] % b;
    int64_t c = crd ? at[1] * b * b + in_block : in_block * wide->dim[1] + at[1];
    return mlc_flatten(deep, (const int64_t[MLC_MAX_RANK]){at[0], c, at[2] / b, at[3] / b});
}

static void eval_to_space(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    int64_t at[MLC_MAX_RANK], n = mlc_shape_elements(&out[0]->shape), b = mlc_attr_int(node, "blocksize", 1);
    for (int64_t i = 0; i < n; i++) {
        mlc_unflatten(&out[0]->shape, i, at);
        mlc_move(out[0], i, in[0], deep_index(&in[0]->shape, &out[0]->shape, b, columns_first(node), at));
    }
}

static void eval_to_depth(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    int64_t at[MLC_MAX_RANK], n = mlc_shape_elements(&in[0]->shape), b = mlc_attr_int(node, "blocksize", 1);
    for (int64_t i = 0; i < n; i++) {
        mlc_unflatten(&in[0]->shape, i, at);
        mlc_move(out[0], deep_index(&out[0]->shape, &in[0]->shape, b, columns_first(node), at), in[0], i);
    }
}

#define ROW(NAME, DOC, SINCE, UNTIL, INFER, EVAL, ...)                              \
    {                                                                               \
        .domain = "",                                                               \
        .name = NAME,                                                               \
        .since = SINCE,                                                             \
        .until = UNTIL,                                                             \
        .doc = DOC,                                                                 \
        .min_in = 1,                                                                \
        .max_in = 1,                                                                \
        .min_out = 1,                                                               \
        .max_out = 1,                                                               \
        .attrs = (const mlc_attr_spec[]){{"blocksize", MLC_ATTR_INT}, __VA_ARGS__}, \
        .infer = INFER,                                                             \
        .eval = EVAL,                                                               \
        .quantize = mlc_quantize_move,                                              \
    }

MLC_OPS(DepthToSpace,
        ROW("DepthToSpace", "Channels become blocks of pixels.", 1, 10, infer_to_space, eval_to_space, {0}),
        ROW("DepthToSpace", "Channels become blocks of pixels.", 11, 0, infer_to_space, eval_to_space,
            {"mode", MLC_ATTR_STRING}, {0}),
        ROW("SpaceToDepth", "Blocks of pixels become channels.", 1, 27, infer_to_depth, eval_to_depth, {0}),
        ROW("SpaceToDepth", "Blocks of pixels become channels.", 28, 0, infer_to_depth, eval_to_depth,
            {"mode", MLC_ATTR_STRING}, {0}));
