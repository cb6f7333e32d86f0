#include "Spatial.h"

#include <string.h>

/* Bounds every dimension and attribute, so that sums and products of them stay
 * far from overflow, and the work of one node. */
enum { MAX_EXTENT = 1 << 28 };
#define MAX_MACS ((int64_t)1 << 34)

typedef enum auto_pad { PAD_NOTSET, PAD_VALID, PAD_SAME_UPPER, PAD_SAME_LOWER, PAD_UNKNOWN } auto_pad;

static auto_pad auto_pad_of(const char *s) {
    static const char *const names[] = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"};
    for (int i = 0; i < PAD_UNKNOWN; i++)
        if (!strcmp(s, names[i]))
            return (auto_pad)i;
    return *s ? PAD_UNKNOWN : PAD_NOTSET;
}

/* Reads `n` integers of attribute `name` into `out`; `missing` where the node has none. */
static bool read_ints(mlc_graph *g, const mlc_node *node, const char *name, int n, int64_t least,
                      int64_t missing, int64_t *out) {
    int64_t count;
    const int64_t *x = mlc_attr_ints(node, name, &count);
    if (!x)
        count = 0;
    if (count != 0 && count != n)
        return mlc_error_at(g->diag, node, "attribute '%s' has %lld elements instead of %d", name,
                            (long long)count, n);
    for (int i = 0; i < n; i++) {
        out[i] = count ? x[i] : missing;
        if (out[i] < least || out[i] > MAX_EXTENT)
            return mlc_error_at(g->diag, node, "attribute '%s' has element %lld, which is outside [%lld, %d]",
                                name, (long long)out[i], (long long)least, MAX_EXTENT);
    }
    return true;
}

static bool read_kernel(mlc_graph *g, const mlc_node *node, const mlc_shape *weights,
                        mlc_conv_geometry *geo) {
    int64_t declared;
    mlc_attr_ints(node, "kernel_shape", &declared);
    if (!weights && !declared)
        return mlc_error_at(g->diag, node, "attribute 'kernel_shape' is missing");
    int64_t kernel[3];
    if (declared && !read_ints(g, node, "kernel_shape", geo->nd, 1, 1, kernel))
        return false;
    for (int d = 0; d < geo->nd; d++) {
        geo->kernel[d] = weights ? weights->dim[d + 2] : kernel[d];
        if (geo->kernel[d] < 1)
            return mlc_error_at(g->diag, node, "the kernel has size 0 in spatial dimension %d", d);
        if (declared && kernel[d] != geo->kernel[d])
            return mlc_error_at(g->diag, node,
                                "attribute 'kernel_shape' says %lld where the weights have %lld",
                                (long long)kernel[d], (long long)geo->kernel[d]);
    }
    return true;
}

static bool read_channels(mlc_graph *g, const mlc_node *node, const mlc_shape *x, const mlc_shape *weights,
                          mlc_conv_geometry *geo) {
    geo->channels_in = geo->channels_out = x->dim[1];
    geo->group = 1;
    if (!weights)
        return true;
    geo->channels_out = weights->dim[0];
    geo->group = mlc_attr_int(node, "group", 1);
    if (geo->channels_out < 1 || geo->group < 1 || geo->group > geo->channels_in ||
        geo->channels_in % geo->group || geo->channels_out % geo->group)
        return mlc_error_at(g->diag, node, "group %lld does not divide %lld input and %lld output channels",
                            (long long)geo->group, (long long)geo->channels_in, (long long)geo->channels_out);
    if (weights->dim[1] != geo->channels_in / geo->group)
        return mlc_error_at(g->diag, node,
                            "the weights are for %lld input channels a group, the input has %lld",
                            (long long)weights->dim[1], (long long)(geo->channels_in / geo->group));
    return true;
}

/* Sets padding and output size of spatial dimension d. `span` is the dilated kernel. */
static void place(mlc_window *window, int d, int64_t span, auto_pad mode, bool ceil_mode) {
    mlc_conv_geometry *geo = &window->geometry;
    const int64_t in = geo->in[d], stride = geo->stride[d];
    if (mode == PAD_SAME_UPPER || mode == PAD_SAME_LOWER) {
        geo->out[d] = (in + stride - 1) / stride;
        int64_t total = (geo->out[d] - 1) * stride + span - in;
        if (total < 0)
            total = 0;
        geo->pad_begin[d] = mode == PAD_SAME_UPPER ? total / 2 : total - total / 2;
        window->pad_end[d] = total - geo->pad_begin[d];
        return;
    }
    if (mode == PAD_VALID)
        geo->pad_begin[d] = window->pad_end[d] = 0;
    const int64_t room = in + geo->pad_begin[d] + window->pad_end[d] - span;
    if (room < 0) {
        geo->out[d] = 0;
        return;
    }
    geo->out[d] = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
    /* A window that starts behind the input and its leading padding does not count. */
    if (ceil_mode && (geo->out[d] - 1) * stride >= in + geo->pad_begin[d])
        geo->out[d]--;
}

bool mlc_window_of(mlc_graph *g, const mlc_node *node, const mlc_shape *x, const mlc_shape *weights,
                   mlc_window *window) {
    *window = (mlc_window){.positions = 1, .pixels = 1, .taps = 1};
    mlc_conv_geometry *geo = &window->geometry;
    for (int d = 0; d < 3; d++)
        geo->in[d] = geo->out[d] = geo->kernel[d] = geo->stride[d] = geo->dilation[d] = 1;

    geo->nd = x->rank - 2;
    if (geo->nd < 1 || geo->nd > 3)
        return mlc_error_at(g->diag, node,
                            "input has shape %s; supported are one to three spatial dimensions",
                            mlc_shape_str(g->arena, x));
    if (weights && weights->rank != x->rank)
        return mlc_error_at(g->diag, node, "weights of shape %s do not fit an input of shape %s",
                            mlc_shape_str(g->arena, weights), mlc_shape_str(g->arena, x));
    int64_t pads[6];
    const auto_pad mode = auto_pad_of(mlc_attr_string(node, "auto_pad", "NOTSET"));
    if (mode == PAD_UNKNOWN)
        return mlc_error_at(g->diag, node, "auto_pad '%s' is not NOTSET, VALID, SAME_UPPER or SAME_LOWER",
                            mlc_escape(mlc_attr_string(node, "auto_pad", "")));
    if (!read_channels(g, node, x, weights, geo) || !read_kernel(g, node, weights, geo) ||
        !read_ints(g, node, "strides", geo->nd, 1, 1, geo->stride) ||
        !read_ints(g, node, "dilations", geo->nd, 1, 1, geo->dilation) ||
        !read_ints(g, node, "pads", 2 * geo->nd, 0, 0, pads))
        return false;

    const bool ceil_mode = mlc_attr_int(node, "ceil_mode", 0) != 0;
    for (int d = 0; d < geo->nd; d++) {
        const int64_t span = (geo->kernel[d] - 1) * geo->dilation[d] + 1;
        geo->in[d] = x->dim[d + 2];
        geo->pad_begin[d] = pads[d];
        window->pad_end[d] = pads[d + geo->nd];
        place(window, d, span, mode, ceil_mode);
        if (geo->out[d] < 1)
            return mlc_error_at(
                g->diag, node,
                "the kernel spans %lld in spatial dimension %d, the padded input has only %lld",
                (long long)span, d, (long long)(geo->in[d] + geo->pad_begin[d] + window->pad_end[d]));
        if (!weights && (geo->pad_begin[d] >= span || window->pad_end[d] >= span))
            return mlc_error_at(
                g->diag, node, "padding of %lld is not smaller than the kernel, which spans %lld",
                (long long)(geo->pad_begin[d] >= span ? geo->pad_begin[d] : window->pad_end[d]),
                (long long)span);
        if (__builtin_mul_overflow(window->positions, geo->out[d], &window->positions) ||
            __builtin_mul_overflow(window->pixels, geo->in[d], &window->pixels) ||
            __builtin_mul_overflow(window->taps, geo->kernel[d], &window->taps))
            return mlc_error_at(g->diag, node, "the window is too large");
    }
    int64_t macs;
    if (__builtin_mul_overflow(window->positions, window->taps, &macs) ||
        __builtin_mul_overflow(macs, geo->channels_in / geo->group, &macs) ||
        __builtin_mul_overflow(macs, weights ? geo->channels_out : 1, &macs) ||
        __builtin_mul_overflow(macs, x->dim[0] > 0 ? x->dim[0] : 1, &macs) ||
        macs > (weights ? MAX_MACS : MLC_MAX_ELEMENTS))
        return mlc_error_at(g->diag, node, "the windows visit too many elements");
    return true;
}

mlc_shape mlc_window_shape(const mlc_window *window, int64_t batch) {
    mlc_shape s = {.rank = window->geometry.nd + 2, .dim = {batch, window->geometry.channels_out}};
    for (int d = 0; d < window->geometry.nd; d++)
        s.dim[d + 2] = window->geometry.out[d];
    return s;
}

/* Row-major coordinates of flat index i. */
static void unflatten(const int64_t dim[3], int64_t i, int64_t out[3]) {
    for (int d = 2; d >= 0; d--) {
        out[d] = i % dim[d];
        i /= dim[d];
    }
}

/* Input coordinates, not yet compared with the input's size. */
static void locate(const mlc_window *window, int64_t position, int64_t tap, int64_t at[3]) {
    const mlc_conv_geometry *geo = &window->geometry;
    int64_t o[3], t[3];
    unflatten(geo->out, position, o);
    unflatten(geo->kernel, tap, t);
    for (int d = 0; d < 3; d++)
        at[d] = o[d] * geo->stride[d] + t[d] * geo->dilation[d] - geo->pad_begin[d];
}

int64_t mlc_window_at(const mlc_window *window, int64_t position, int64_t tap) {
    const int64_t *in = window->geometry.in;
    int64_t at[3], flat = 0;
    locate(window, position, tap, at);
    for (int d = 0; d < 3; d++) {
        if (at[d] < 0 || at[d] >= in[d])
            return -1;
        flat = flat * in[d] + at[d];
    }
    return flat;
}

bool mlc_window_padded(const mlc_window *window, int64_t position, int64_t tap) {
    int64_t at[3];
    locate(window, position, tap, at);
    for (int d = 0; d < 3; d++)
        if (at[d] >= window->geometry.in[d] + window->pad_end[d])
            return false;
    return true;
}

double mlc_window_convolve(const mlc_window *window, const mlc_tensor *x, double x_zero, const mlc_tensor *w,
                           double w_zero, int64_t batch, int64_t channel, int64_t position) {
    const mlc_conv_geometry *geo = &window->geometry;
    const int64_t depth = geo->channels_in / geo->group;
    const int64_t first = channel / (geo->channels_out / geo->group) * depth;
    const int64_t x_first = (batch * geo->channels_in + first) * window->pixels,
                  w_first = channel * depth * window->taps;
    const double *x_floats = mlc_dtype_is_float(x->dtype) ? x->f : NULL,
                 *w_floats = mlc_dtype_is_float(w->dtype) ? w->f : NULL;
    int64_t begin[3], tap = 0;
    double sum = 0;
    locate(window, position, 0, begin);
    for (int64_t i = 0; i < geo->kernel[0]; i++)
        for (int64_t j = 0; j < geo->kernel[1]; j++)
            for (int64_t k = 0; k < geo->kernel[2]; k++, tap++) {
                const int64_t a = begin[0] + i * geo->dilation[0], b = begin[1] + j * geo->dilation[1],
                              c = begin[2] + k * geo->dilation[2];
                if (a < 0 || a >= geo->in[0] || b < 0 || b >= geo->in[1] || c < 0 || c >= geo->in[2])
                    continue;
                int64_t from = x_first + (a * geo->in[1] + b) * geo->in[2] + c, by = w_first + tap;
                for (int64_t n = 0; n < depth; n++, from += window->pixels, by += window->taps)
                    sum += ((x_floats ? x_floats[from] : mlc_tensor_real(x, from)) - x_zero) *
                           ((w_floats ? w_floats[by] : mlc_tensor_real(w, by)) - w_zero);
            }
    return sum;
}

/* Elements [first, first + n) of x as `shape`. */
static mlc_value *part(mlc_quant *q, mlc_value *x, int64_t first, const mlc_shape *shape) {
    const int64_t n = mlc_shape_elements(shape);
    int64_t *index = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++)
        index[i] = first + i;
    return mlc_q_gather(q, &x, 1, index, 0, shape);
}

mlc_value *mlc_q_window_convolve(mlc_quant *q, const mlc_window *window, mlc_value *x, const mlc_tensor *w,
                                 const double *bias, int64_t batch) {
    const mlc_conv_geometry *geo = &window->geometry;
    const mlc_shape out = mlc_window_shape(window, 1), all = mlc_window_shape(window, batch);
    if (batch == 1)
        return mlc_q_conv(q, x, w, bias, geo, &out);
    mlc_shape in = {.rank = geo->nd + 2, .dim = {1, geo->channels_in}};
    for (int d = 0; d < geo->nd; d++)
        in.dim[d + 2] = geo->in[d];
    const int64_t size = mlc_shape_elements(&in), total = mlc_shape_elements(&all);
    mlc_value **y = MLC_NEW_ARRAY(q->arena, batch, mlc_value *);
    for (int64_t i = 0; i < batch; i++) {
        mlc_value *image = part(q, x, i * size, &in);
        y[i] = image ? mlc_q_conv(q, image, w, bias, geo, &out) : NULL;
        if (!y[i])
            return NULL;
    }
    int64_t *index = MLC_NEW_ARRAY(q->arena, total, int64_t);
    for (int64_t i = 0; i < total; i++)
        index[i] = i;
    return mlc_q_gather(q, y, (int)batch, index, 0, &all);
}
