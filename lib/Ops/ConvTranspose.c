#include "Real.h"
#include "Spatial.h"

#include <limits.h>

/*
 * ConvTranspose: every input element adds its multiple of the kernel to the output.
 * Seen from the output it is a convolution of the input, with stride - 1 zeros between
 * its elements, with the kernel turned around.
 */
typedef struct transpose {
    mlc_conv_geometry geometry; /* stride and padding as in the attributes */
    int64_t pixels, positions, taps;
} transpose;

/* Attribute `name` of n integers, or all `missing`. */
static bool read_ints(mlc_graph *g, const mlc_node *node, const char *name, int n, int64_t least,
                      int64_t missing, int64_t *out) {
    int64_t count;
    const int64_t *x = mlc_attr_ints(node, name, &count);
    if (count != 0 && count != n)
        return mlc_error_at(g->diag, node, "attribute '%s' has %lld elements instead of %d", name,
                            (long long)count, n);
    for (int i = 0; i < n; i++) {
        out[i] = count ? x[i] : missing;
        if (out[i] < least || out[i] > SHRT_MAX)
            return mlc_error_at(g->diag, node, "attribute '%s' has element %lld", name, (long long)out[i]);
    }
    return true;
}

static bool read_channels(mlc_graph *g, const mlc_node *node, const mlc_shape *x, const mlc_shape *w,
                          mlc_conv_geometry *geo) {
    geo->nd = x->rank - 2;
    if (geo->nd < 1 || geo->nd > 3 || w->rank != x->rank)
        return mlc_error_at(
            g->diag, node,
            "input and weights have shapes %s and %s; supported are one to three spatial dimensions",
            mlc_shape_str(g->arena, x), mlc_shape_str(g->arena, w));
    geo->group = mlc_attr_int(node, "group", 1);
    geo->channels_in = x->dim[1];
    if (geo->group < 1 || geo->group > geo->channels_in || geo->channels_in % geo->group ||
        w->dim[0] != geo->channels_in)
        return mlc_error_at(g->diag, node, "weights of shape %s and group %lld do not fit %lld channels",
                            mlc_shape_str(g->arena, w), (long long)geo->group, (long long)geo->channels_in);
    geo->channels_out = w->dim[1] * geo->group;
    return true;
}

/* Padding and size of spatial dimension d; pads holds what the attribute says. */
static void place(const mlc_node *node, mlc_conv_geometry *geo, int d, const int64_t *pads, int64_t more,
                  const int64_t *shape) {
    const char *mode = mlc_attr_string(node, "auto_pad", "NOTSET");
    const bool same = !strncmp(mode, "SAME", 4);
    const int64_t full =
        geo->stride[d] * (geo->in[d] - 1) + more + (geo->kernel[d] - 1) * geo->dilation[d] + 1;
    geo->pad_begin[d] = !strcmp(mode, "VALID") ? 0 : pads[d];
    geo->out[d] = full - geo->pad_begin[d] - (!strcmp(mode, "VALID") ? 0 : pads[d + geo->nd]);
    if (!shape && !same)
        return;
    geo->out[d] = shape ? shape[d] : geo->in[d] * geo->stride[d];
    const int64_t total = full > geo->out[d] ? full - geo->out[d] : 0;
    geo->pad_begin[d] = !strcmp(mode, "SAME_UPPER") ? total / 2 : total - total / 2;
}

/* With g NULL, after infer has passed, it cannot fail. */
static bool transpose_of(mlc_graph *g, const mlc_node *node, const mlc_shape *x, const mlc_shape *w,
                         transpose *t) {
    *t = (transpose){.pixels = 1, .positions = 1, .taps = 1};
    mlc_conv_geometry *geo = &t->geometry;
    int64_t pads[6], more[3], declared[3], n_shape;
    for (int d = 0; d < 3; d++)
        geo->in[d] = geo->out[d] = geo->kernel[d] = geo->stride[d] = geo->dilation[d] = 1;
    if (!read_channels(g, node, x, w, geo) || !read_ints(g, node, "strides", geo->nd, 1, 1, geo->stride) ||
        !read_ints(g, node, "dilations", geo->nd, 1, 1, geo->dilation) ||
        !read_ints(g, node, "pads", 2 * geo->nd, 0, 0, pads) ||
        !read_ints(g, node, "output_padding", geo->nd, 0, 0, more) ||
        !read_ints(g, node, "kernel_shape", geo->nd, 0, 0, declared))
        return false;
    const int64_t *shape = mlc_attr_ints(node, "output_shape", &n_shape);
    if (n_shape != 0 && n_shape < geo->nd)
        return mlc_error_at(g->diag, node, "attribute 'output_shape' has %lld elements", (long long)n_shape);
    for (int d = 0; d < geo->nd; d++) {
        geo->in[d] = x->dim[d + 2];
        geo->kernel[d] = w->dim[d + 2];
        if (declared[d] && declared[d] != geo->kernel[d])
            return mlc_error_at(g->diag, node,
                                "attribute 'kernel_shape' says %lld where the weights have %lld",
                                (long long)declared[d], (long long)geo->kernel[d]);
        if (geo->in[d] < 1 || geo->kernel[d] < 1 || geo->kernel[d] > SHRT_MAX || geo->in[d] > INT_MAX)
            return mlc_error_at(g->diag, node, "spatial dimension %d is empty or too large", d);
        place(node, geo, d, pads, more[d], n_shape ? shape + n_shape - geo->nd : NULL);
        if (geo->out[d] < 1 || geo->out[d] > INT_MAX)
            return mlc_error_at(g->diag, node, "the result would have size %lld in spatial dimension %d",
                                (long long)geo->out[d], d);
    }
    for (int d = 0; d < 3; d++) {
        t->pixels *= geo->in[d];
        t->taps *= geo->kernel[d];
        t->positions *= geo->out[d];
        if (t->positions > MLC_MAX_ELEMENTS || t->taps > MLC_MAX_ELEMENTS)
            return mlc_error_at(g->diag, node, "the result is too large");
    }
    return true;
}

static bool infer(mlc_graph *g, mlc_node *node) {
    transpose t;
    const mlc_shape *x = &node->in[0]->shape;
    const mlc_value *bias = node->n_in > 2 ? node->in[2] : NULL;
    if (!mlc_need_float(g, node, 0) || !mlc_need_float(g, node, 1) || !mlc_need_float(g, node, 2) ||
        !transpose_of(g, node, x, &node->in[1]->shape, &t))
        return false;
    if (bias && (bias->shape.rank != 1 || bias->shape.dim[0] != t.geometry.channels_out))
        return mlc_error_at(g->diag, node, "bias '%s' has shape %s, expected [%lld]", mlc_escape(bias->name),
                            mlc_shape_str(g->arena, &bias->shape), (long long)t.geometry.channels_out);
    mlc_shape shape = {.rank = x->rank, .dim = {x->dim[0], t.geometry.channels_out}};
    for (int d = 0; d < t.geometry.nd; d++)
        shape.dim[d + 2] = t.geometry.out[d];
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

/* The flat input position that meets output position `at` at kernel position `tap`; -1: none. */
static int64_t source(const transpose *t, int64_t at, int64_t tap) {
    const mlc_conv_geometry *geo = &t->geometry;
    int64_t flat = 0, step = 1;
    for (int d = 2; d >= 0; d--) {
        const int64_t distance =
            at % geo->out[d] + geo->pad_begin[d] - tap % geo->kernel[d] * geo->dilation[d];
        if (distance < 0 || distance % geo->stride[d] || distance / geo->stride[d] >= geo->in[d])
            return -1;
        flat += distance / geo->stride[d] * step;
        step *= geo->in[d];
        at /= geo->out[d];
        tap /= geo->kernel[d];
    }
    return flat;
}

/* Flat index of the weight between two channels. */
static int64_t weight_at(const transpose *t, int64_t in, int64_t out, int64_t tap) {
    const int64_t per_group = t->geometry.channels_out / t->geometry.group;
    return (in * per_group + out % per_group) * t->taps + tap;
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    transpose t;
    transpose_of(NULL, node, &in[0]->shape, &in[1]->shape, &t);
    const mlc_conv_geometry *geo = &t.geometry;
    const mlc_tensor *bias = node->n_in > 2 ? in[2] : NULL;
    const int64_t channels = geo->channels_in / geo->group, per_group = geo->channels_out / geo->group;
    int64_t o = 0;
    for (int64_t n = 0; n < in[0]->shape.dim[0]; n++)
        for (int64_t m = 0; m < geo->channels_out; m++)
            for (int64_t at = 0; at < t.positions; at++) {
                double sum = bias ? bias->f[m] : 0;
                for (int64_t tap = 0; tap < t.taps; tap++) {
                    const int64_t from = source(&t, at, tap), first = m / per_group * channels;
                    for (int64_t c = first; c < first + channels && from >= 0; c++)
                        sum += in[0]->f[(n * geo->channels_in + c) * t.pixels + from] *
                               in[1]->f[weight_at(&t, c, m, tap)];
                }
                out[0]->f[o++] = sum;
            }
}

/* x with zeros between its elements and around them, so that a convolution without padding gives the result.
 */
static mlc_value *spread(mlc_quant *q, const transpose *t, mlc_value *x, mlc_conv_geometry *conv) {
    const mlc_conv_geometry *geo = &t->geometry;
    *conv = *geo;
    int64_t n = geo->channels_in;
    for (int d = 0; d < 3; d++) {
        conv->in[d] = geo->out[d] + (geo->kernel[d] - 1) * geo->dilation[d];
        conv->stride[d] = 1;
        conv->pad_begin[d] = 0;
        n *= conv->in[d];
        if (n > MLC_MAX_ELEMENTS) {
            mlc_error_at(q->diag, q->node, "the input with zeros between its elements is too large");
            return NULL;
        }
    }
    int64_t *index = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++) {
        int64_t rest = i, flat = 0, step = 1;
        for (int d = 2; d >= 0; d--) {
            const int64_t first = (geo->kernel[d] - 1) * geo->dilation[d] - geo->pad_begin[d];
            const int64_t distance = rest % conv->in[d] - first;
            const bool there =
                distance >= 0 && distance % geo->stride[d] == 0 && distance / geo->stride[d] < geo->in[d];
            flat = there && flat >= 0 ? flat + distance / geo->stride[d] * step : -1;
            step *= geo->in[d];
            rest /= conv->in[d];
        }
        index[i] = flat < 0 ? -1 : rest * t->pixels + flat;
    }
    const mlc_shape shape = {geo->nd + 2, {1, geo->channels_in, conv->in[0], conv->in[1], conv->in[2]}};
    return mlc_q_gather(q, &x, 1, index, 0, &shape);
}

/* Weights [channels_out, channels_in/group, kernel...], the kernel turned around. */
static const mlc_tensor *turned(mlc_quant *q, const transpose *t, const mlc_tensor *w) {
    const mlc_conv_geometry *geo = &t->geometry;
    const int64_t channels = geo->channels_in / geo->group, per_group = geo->channels_out / geo->group;
    mlc_shape shape = {.rank = geo->nd + 2, .dim = {geo->channels_out, channels}};
    for (int d = 0; d < geo->nd; d++)
        shape.dim[d + 2] = geo->kernel[d];
    mlc_tensor *r = mlc_tensor_create(q->arena, MLC_DOUBLE, &shape);
    for (int64_t m = 0; m < geo->channels_out; m++)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t tap = 0; tap < t->taps; tap++)
                r->f[(m * channels + c) * t->taps + t->taps - 1 - tap] =
                    w->f[weight_at(t, m / per_group * channels + c, m, tap)];
    return r;
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    const mlc_value *bias = node->n_in > 2 ? node->in[2] : NULL;
    if (!node->in[1]->constant || (bias && !bias->constant))
        return mlc_error_at(q->diag, node,
                            "'%s' is not constant; a convolution needs constant weights and bias",
                            mlc_escape(node->in[1]->constant ? bias->name : node->in[1]->name));
    if (node->in[0]->shape.dim[0] != 1)
        return mlc_error_at(q->diag, node, "'%s' has %lld images; one is supported",
                            mlc_escape(node->in[0]->name), (long long)node->in[0]->shape.dim[0]);
    transpose t;
    mlc_conv_geometry conv;
    transpose_of(NULL, node, &node->in[0]->shape, &node->in[1]->shape, &t);
    mlc_value *x = mlc_q_value(q, node->in[0]);
    x = x ? spread(q, &t, x, &conv) : NULL;
    return mlc_q_result(q, node,
                        x ? mlc_q_conv(q, x, turned(q, &t, node->in[1]->constant),
                                       bias ? bias->constant->f : NULL, &conv, &node->out[0]->shape)
                          : NULL);
}

MLC_OPS(ConvTranspose, {.domain = "",
                        .name = "ConvTranspose",
                        .since = 1,
                        .doc = "Transposed convolution in one to three dimensions",
                        .limits = "constant weights and bias; one image",
                        .min_in = 2,
                        .max_in = 3,
                        .min_out = 1,
                        .max_out = 1,
                        .attrs = (const mlc_attr_spec[]){MLC_WINDOW_ATTRS,
                                                         {"dilations", MLC_ATTR_INTS},
                                                         {"group", MLC_ATTR_INT},
                                                         {"output_padding", MLC_ATTR_INTS},
                                                         {"output_shape", MLC_ATTR_INTS},
                                                         {0}},
                        .infer = infer,
                        .eval = eval,
                        .quantize = quantize});
