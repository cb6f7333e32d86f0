#include "Elementwise.h"
#include "Movement.h"

#include <math.h>

static bool infer(mlc_graph *g, mlc_node *node) {
    const mlc_tensor *t[3];
    for (int k = 0; k < 3; k++) {
        if (!mlc_infer_number(g, node, k) || !mlc_infer_same_dtype(g, node, 0, k) ||
            !(t[k] = mlc_infer_constant(g, node, k)))
            return false;
        if (mlc_shape_elements(&t[k]->shape) != 1)
            return mlc_error_at(g->diag, node, "input %d, '%s', has shape %s and must be one number", k,
                                mlc_escape(node->in[k]->name), mlc_shape_str(g->arena, &t[k]->shape));
    }
    double start = mlc_tensor_real(t[0], 0), limit = mlc_tensor_real(t[1], 0),
           delta = mlc_tensor_real(t[2], 0);
    double n = ceil((limit - start) / delta);
    if (!mlc_dtype_is_float(t[0]->dtype) && delta != 0) {
        __extension__ typedef __int128 wide;
        wide span = (wide)t[1]->i[0] - t[0]->i[0], step = t[2]->i[0];
        if (step < 0)
            span = -span, step = -step;
        n = span > 0 ? (double)((span + step - 1) / step) : 0;
    }
    if (delta == 0 || isnan(n) || n > (double)MLC_MAX_ELEMENTS)
        return mlc_error_at(g->diag, node, "a range from %g to %g by %g cannot be built", start, limit,
                            delta);
    return mlc_infer_set(g, node, 0, t[0]->dtype, &(mlc_shape){.rank = 1, .dim = {n > 0 ? (int64_t)n : 0}});
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    for (int64_t i = 0; i < out[0]->shape.dim[0]; i++) {
        if (mlc_dtype_is_float(out[0]->dtype))
            out[0]->f[i] = in[0]->f[0] + (double)i * in[2]->f[0];
        else
            out[0]->i[i] = mlc_wrap(out[0]->dtype, mlc_wrap_add(in[0]->i[0], mlc_wrap_mul(i, in[2]->i[0])));
    }
}

#define RANGE(SINCE, UNTIL, ...)                              \
    {                                                         \
        .domain = "",                                         \
        .name = "Range",                                      \
        .since = SINCE,                                       \
        .until = UNTIL,                                       \
        .doc = "Numbers from start to limit by delta.",       \
        .limits = "start, limit and delta must be constants", \
        .min_in = 3,                                          \
        .max_in = 3,                                          \
        .min_out = 1,                                         \
        .max_out = 1,                                         \
        .attrs = (const mlc_attr_spec[]){__VA_ARGS__},        \
        .infer = infer,                                       \
        .eval = eval,                                         \
    }

MLC_OPS(Range, RANGE(11, 26, {0}), RANGE(27, 0, {"stash_type", MLC_ATTR_INT}, {0}));
