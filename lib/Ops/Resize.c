/* Resize and Upsample: nearest, and linear along one dimension after the other. */
#include "Movement.h"
#include "Real.h"

#include <math.h>

typedef struct resize {
    mlc_shape in, out;
    double scale[MLC_MAX_RANK];
    bool linear, upsample;
    const char *coordinates, *rounding;
} resize;

static bool has(const mlc_node *node, int k) {
    return k < node->n_in && node->in[k] &&
           !(node->in[k]->shaped && mlc_shape_elements(&node->in[k]->shape) == 0);
}

static bool one_of(const char *name, const char *const *names) {
    for (; *names; names++)
        if (!strcmp(name, *names))
            return true;
    return false;
}

/* The scale of each dimension that attribute `axes` names, from input `scales` or `sizes`, or an attribute.
 */
static bool read_scales(mlc_graph *g, mlc_node *node, resize *r) {
    const bool old = !strcmp(node->op->name, "Upsample") || node->opset < 11;
    const int scales_in = old ? 1 : 2, sizes_in = 3;
    const mlc_attr *attribute = mlc_attr_find(node, "scales");
    const bool sizes = !old && has(node, sizes_in);
    int64_t n_axes;
    const int64_t *axes = mlc_attr_ints(node, "axes", &n_axes);
    const mlc_tensor *t = NULL;
    if (!attribute) {
        const int k = sizes ? sizes_in : scales_in;
        if (!has(node, k))
            return mlc_error_at(g->diag, node, "neither scales nor sizes are given");
        if (!(t = node->in[k]->constant))
            return mlc_error_at(g->diag, node, "'%s' is not constant", mlc_escape(node->in[k]->name));
        if (t->dtype == MLC_STRING)
            return mlc_error_at(g->diag, node, "'%s' is not a number", mlc_escape(node->in[k]->name));
    }
    const int64_t n = attribute ? attribute->n : mlc_shape_elements(&t->shape);
    if (n != (n_axes ? n_axes : r->in.rank))
        return mlc_error_at(g->diag, node, "%lld scales or sizes do not fit an input of shape %s",
                            (long long)n, mlc_shape_str(g->arena, &r->in));
    for (int64_t i = 0; i < n; i++) {
        int d = (int)i;
        if (n_axes && !mlc_infer_axis(g, node, axes[i], r->in.rank, &d))
            return false;
        const double x = attribute ? attribute->floats[i] : mlc_tensor_real(t, i);
        if (!(x > 0) || !(x < (double)MLC_MAX_ELEMENTS) || r->in.dim[d] < 1)
            return mlc_error_at(g->diag, node, "a scale or size is %g", x);
        r->scale[d] = sizes ? x / (double)r->in.dim[d] : x;
        const double size = sizes ? x : floor((double)r->in.dim[d] * x);
        if (!(size >= 1 && size < (double)MLC_MAX_ELEMENTS))
            return mlc_error_at(g->diag, node, "dimension %d would have size %g", d, size);
        r->out.dim[d] = (int64_t)size;
    }
    return true;
}

static bool infer(mlc_graph *g, mlc_node *node) {
    static const char *const coordinates[] = {"half_pixel", "asymmetric", "align_corners",
                                              "pytorch_half_pixel", NULL};
    static const char *const modes[] = {"nearest", "linear", NULL};
    const char *mode = mlc_attr_string(node, "mode", "nearest");
    resize r = {.in = node->in[0]->shape, .out = node->in[0]->shape};
    if (!mlc_infer_number(g, node, 0))
        return false;
    if (!one_of(mode, modes))
        return mlc_error_at(g->diag, node, "mode '%s' is not supported; nearest and linear are",
                            mlc_escape(mode));
    const char *c = mlc_attr_string(node, "coordinate_transformation_mode", "half_pixel");
    if (!one_of(c, coordinates))
        return mlc_error_at(g->diag, node, "coordinate_transformation_mode '%s' is not supported",
                            mlc_escape(c));
    if (mlc_attr_int(node, "antialias", 0) ||
        strcmp(mlc_attr_string(node, "keep_aspect_ratio_policy", "stretch"), "stretch") != 0)
        return mlc_error_at(g->diag, node, "antialias and keep_aspect_ratio_policy are not supported");
    if (!strcmp(mode, "linear") && !mlc_need_float(g, node, 0))
        return false;
    return read_scales(g, node, &r) && mlc_infer_set(g, node, 0, node->in[0]->dtype, &r.out);
}

/* After infer has passed. */
static resize resize_of(const mlc_node *node) {
    resize r = {.in = node->in[0]->shape, .out = node->out[0]->shape};
    r.upsample = !strcmp(node->op->name, "Upsample") || node->opset < 11;
    r.linear = !strcmp(mlc_attr_string(node, "mode", "nearest"), "linear");
    r.coordinates =
        r.upsample ? "asymmetric" : mlc_attr_string(node, "coordinate_transformation_mode", "half_pixel");
    r.rounding = r.upsample ? "floor" : mlc_attr_string(node, "nearest_mode", "round_prefer_floor");
    for (int d = 0; d < r.in.rank; d++)
        r.scale[d] = 1;
    mlc_diag ignored = {0};
    mlc_graph none = {.diag = &ignored};
    read_scales(&none, (mlc_node *)node, &r);
    return r;
}

/* The place in dimension d of the input of element i of the output. In float, as
 * onnxruntime computes it: which element is nearest may depend on that. */
static double place(const resize *r, int d, int64_t i) {
    const float x = (float)i, in = (float)r->in.dim[d], out = (float)r->out.dim[d],
                scale = (float)r->scale[d];
    if (r->in.dim[d] == r->out.dim[d] && scale == 1)
        return (double)i;
    if (!strcmp(r->coordinates, "asymmetric"))
        return (double)(x / scale);
    if (!strcmp(r->coordinates, "align_corners"))
        return out > 1 ? (double)(x * (in - 1) / (out - 1)) : 0;
    if (!strcmp(r->coordinates, "pytorch_half_pixel") && out <= 1)
        return 0;
    return (double)((x + 0.5f) / scale - 0.5f);
}

static int64_t limited(double x, int64_t n) {
    return x<0 ? 0 : x>(double)(n - 1) ? n - 1 : (int64_t)x;
}

static int64_t nearest(const resize *r, int d, int64_t i) {
    const double x = place(r, d, i);
    const double at = !strcmp(r->rounding, "floor")               ? floor(x)
                      : !strcmp(r->rounding, "ceil")              ? ceil(x)
                      : !strcmp(r->rounding, "round_prefer_ceil") ? floor(x + 0.5)
                                                                  : ceil(x - 0.5);
    return limited(at, r->in.dim[d]);
}

/* The two elements of dimension d that output element i lies between, and the part of the second. */
static double between(const resize *r, int d, int64_t i, int64_t *low, int64_t *high) {
    const double x = fmin(fmax(place(r, d, i), 0), (double)(r->in.dim[d] - 1));
    *low = limited(floor(x), r->in.dim[d]);
    *high = limited(floor(x) + 1, r->in.dim[d]);
    return x - floor(x);
}

/* Flat index into the input of element i of the output, with nearest. */
static int64_t source(const resize *r, int64_t i) {
    int64_t at[MLC_MAX_RANK];
    mlc_unflatten(&r->out, i, at);
    for (int d = 0; d < r->in.rank; d++)
        at[d] = nearest(r, d, at[d]);
    return mlc_flatten(&r->in, at);
}

/* The sum over the corners around element i, those of dimension d and later. */
static double blend(const resize *r, const mlc_tensor *x, const int64_t *at, int64_t *corner, int d) {
    if (d == r->in.rank)
        return x->f[mlc_flatten(&r->in, corner)];
    int64_t low, high;
    const double f = between(r, d, at[d], &low, &high);
    corner[d] = low;
    double y = blend(r, x, at, corner, d + 1);
    if (f > 0) {
        corner[d] = high;
        y += f * (blend(r, x, at, corner, d + 1) - y);
    }
    return y;
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const resize r = resize_of(node);
    const int64_t n = mlc_shape_elements(&r.out);
    for (int64_t i = 0; i < n; i++) {
        if (!r.linear) {
            mlc_move(out[0], i, in[0], source(&r, i));
            continue;
        }
        int64_t at[MLC_MAX_RANK], corner[MLC_MAX_RANK];
        mlc_unflatten(&r.out, i, at);
        out[0]->f[i] = blend(&r, in[0], at, corner, 0);
    }
}

/* v resized along dimension d: low + part * (high - low). */
static mlc_value *along(mlc_quant *q, const resize *r, mlc_value *v, int d) {
    mlc_shape shape = v->shape;
    shape.dim[d] = r->out.dim[d];
    const int64_t n = mlc_shape_elements(&shape);
    int64_t *low = MLC_NEW_ARRAY(q->arena, n, int64_t), *high = MLC_NEW_ARRAY(q->arena, n, int64_t);
    double *part = MLC_NEW_ARRAY(q->arena, n, double);
    for (int64_t i = 0; i < n; i++) {
        int64_t at[MLC_MAX_RANK], l, h;
        mlc_unflatten(&shape, i, at);
        part[i] = between(r, d, at[d], &l, &h);
        at[d] = l;
        low[i] = mlc_flatten(&v->shape, at);
        at[d] = h;
        high[i] = mlc_flatten(&v->shape, at);
    }
    mlc_value *a = mlc_q_gather(q, &v, 1, low, 0, &shape), *b = mlc_q_gather(q, &v, 1, high, 0, &shape);
    mlc_value *step = a && b ? mlc_q_sub(q, b, a) : NULL;
    step = step ? mlc_q_mul_real(q, step, part, &shape) : NULL;
    return step ? mlc_q_add(q, a, step) : NULL;
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    const resize r = resize_of(node);
    mlc_value *v = mlc_q_value(q, node->in[0]);
    if (!v)
        return false;
    if (r.linear) {
        for (int d = 0; v && d < r.in.rank; d++)
            if (r.in.dim[d] != r.out.dim[d] || r.scale[d] != 1)
                v = along(q, &r, v, d);
        return mlc_q_result(q, node, v);
    }
    const int64_t n = mlc_shape_elements(&r.out);
    int64_t *index = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++)
        index[i] = source(&r, i);
    return mlc_q_result(q, node, mlc_q_gather(q, &v, 1, index, 0, &r.out));
}

#define ROW(NAME, SINCE, UNTIL, LEAST, INPUTS, ...)                                     \
    {.domain = "",                                                                      \
     .name = NAME,                                                                      \
     .since = SINCE,                                                                    \
     .until = UNTIL,                                                                    \
     .doc = "Scales dimensions, nearest or linear",                                     \
     .limits = "constant scales or sizes; modes nearest and linear, without antialias", \
     .min_in = LEAST,                                                                   \
     .max_in = INPUTS,                                                                  \
     .min_out = 1,                                                                      \
     .max_out = 1,                                                                      \
     .attrs = (const mlc_attr_spec[]){{"mode", MLC_ATTR_STRING}, __VA_ARGS__, {0}},     \
     .infer = infer,                                                                    \
     .eval = eval,                                                                      \
     .quantize = quantize}

MLC_OPS(Resize, ROW("Upsample", 7, 8, 1, 1, {"scales", MLC_ATTR_FLOATS}), ROW("Upsample", 9, 0, 2, 2, {0}),
        ROW("Resize", 10, 10, 2, 2, {0}),
        ROW("Resize", 11, 0, 1, 4, {"antialias", MLC_ATTR_INT}, {"axes", MLC_ATTR_INTS},
            {"coordinate_transformation_mode", MLC_ATTR_STRING}, {"cubic_coeff_a", MLC_ATTR_FLOAT},
            {"exclude_outside", MLC_ATTR_INT}, {"extrapolation_value", MLC_ATTR_FLOAT},
            {"keep_aspect_ratio_policy", MLC_ATTR_STRING}, {"nearest_mode", MLC_ATTR_STRING}));
