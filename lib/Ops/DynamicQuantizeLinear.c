#include "Grid.h"

#include <math.h>

static bool infer(mlc_graph *g, mlc_node *node) {
    const mlc_shape scalar = {0};
    if (node->in[0]->dtype != MLC_FLOAT)
        return mlc_error_at(g->diag, node, "input '%s' is of type %s, float is needed",
                            mlc_escape(node->in[0]->name), mlc_dtype_name(node->in[0]->dtype));
    return mlc_infer_set(g, node, 0, MLC_UINT8, &node->in[0]->shape) &&
           mlc_infer_set(g, node, 1, MLC_FLOAT, &scalar) && mlc_infer_set(g, node, 2, MLC_UINT8, &scalar);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    const int64_t n = mlc_shape_elements(&in[0]->shape);
    double lo = 0, hi = 0;
    for (int64_t i = 0; i < n; i++) {
        lo = fmin(lo, in[0]->f[i]);
        hi = fmax(hi, in[0]->f[i]);
    }
    const double scale = lo == hi ? mlc_f32(1.0 / 255) : mlc_f32(mlc_f32(hi - lo) / 255);
    const int64_t zero = mlc_to_grid(MLC_UINT8, mlc_f32(-lo / scale), 0);
    for (int64_t i = 0; i < n && out[0]; i++)
        out[0]->i[i] = mlc_to_grid(MLC_UINT8, mlc_f32(in[0]->f[i] / scale), zero);
    if (out[1])
        out[1]->f[0] = scale;
    if (out[2])
        out[2]->i[0] = zero;
}

MLC_OPS(DynamicQuantizeLinear, {.domain = "",
                                .name = "DynamicQuantizeLinear",
                                .since = 11,
                                .doc = "Quantizes to uint8 with the range of the data",
                                .min_in = 1,
                                .max_in = 1,
                                .min_out = 3,
                                .max_out = 3,
                                .infer = infer,
                                .eval = eval});
