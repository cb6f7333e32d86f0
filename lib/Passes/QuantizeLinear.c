/*
 * Builders of quantize.h: dot products with constant weights. The scale of the
 * weights is the finest power of two with which every accumulator provably stays
 * within 62 bits over the proven intervals of the inputs.
 */
#include "Precision.h"
#include "Quant.h"

#include <math.h>
#include <string.h>

typedef mlc_taps taps;

static int64_t tap(const taps *t, int64_t k) {
    return mlc_tap(t, k);
}

static double magnitude(const mlc_value *x, int64_t i) {
    return fmax(fabs((double)x->lo[i]), fabs((double)x->hi[i]));
}

/* sum |w_k| * max|q_k|: the accumulator's bound in units of scale(x) * 1. */
static double gain(const mlc_value *x, const taps *t) {
    double g = 0;
    for (int64_t k = 0; k < t->n; k++)
        if (tap(t, k) >= 0)
            g += fabs(t->w[k]) * magnitude(x, tap(t, k));
    return g;
}

/* |sum Wq q - sum w x| <= sum |Wq*s - w| |q|*scale + sum |w| err. */
static double dot_error(const mlc_value *x, const taps *t, double weight_scale) {
    double e = 0;
    for (int64_t k = 0; k < t->n; k++) {
        int64_t i = tap(t, k);
        if (i < 0)
            continue;
        double rounded = rint(t->w[k] / weight_scale) * weight_scale;
        e += fabs(rounded - t->w[k]) * magnitude(x, i) * x->scale + fabs(t->w[k]) * mlc_q_err(x, i);
    }
    return e;
}

typedef struct scales {
    double weight, result; /* of the weights and of the accumulator */
} scales;

static bool finite_weights(mlc_quant *q, const double *w, int64_t n, double *max) {
    *max = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(w[i]))
            return mlc_error_at(q->diag, q->node, "weight %lld is not a finite number", (long long)i);
        *max = fmax(*max, fabs(w[i]));
    }
    return true;
}

/*
 * Fraction bits of the weights: as many as an immediate and the accumulator allow.
 * `worst` is the largest gain plus bias, `taps` the length of the dot product
 * (each weight's rounding adds half a unit times its input).
 */
static int weight_fraction(double worst, double max_weight, double max_input, int64_t n_taps) {
    int f = 0, exponent = 0;
    if (max_weight > 0) {
        frexp(max_weight, &exponent);
        f = MLC_WEIGHT_BITS - exponent;
    }
    if (f > 60)
        f = 60;
    while (f > -60 && ldexp(worst, f) + 0.5 * (double)n_taps * max_input + 1 > 0x1p62)
        f--;
    return f;
}

static int64_t *rounded(mlc_quant *q, const double *w, int64_t n, double scale) {
    int64_t *r = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    for (int64_t i = 0; i < n; i++)
        r[i] = (int64_t)rint(w[i] / scale);
    return r;
}

static double max_magnitude(const mlc_value *x) {
    return (double)mlc_q_magnitude(x);
}

enum { LEAST_WEIGHT_BITS = 16 };

/* Chooses the scales; gives bits of the input to the weights when these would be left with too few. */
static bool choose(mlc_quant *q, mlc_value **x, const taps *all, int64_t n, const double *bias,
                   int64_t per_bias, double max_weight, scales *s) {
    for (int attempt = 0; attempt < 2; attempt++) {
        double worst = 0;
        for (int64_t o = 0; o < n; o++) {
            double g = gain(*x, &all[o]) + (bias ? fabs(bias[o / per_bias]) / (*x)->scale : 0);
            if (g > worst)
                worst = g;
        }
        int f = weight_fraction(worst, max_weight, max_magnitude(*x), n ? all[0].n : 0), exponent = 0;
        if (max_weight > 0)
            frexp(max_weight, &exponent);
        int missing = LEAST_WEIGHT_BITS - (f + exponent);
        if (missing > 0 && attempt == 0 && max_weight > 0) {
            *x = mlc_q_narrow(q, *x, mlc_q_bits((uint64_t)mlc_q_magnitude(*x)) - missing);
            if (!*x)
                return false;
            continue;
        }
        s->weight = ldexp(1, -f);
        s->result = s->weight * (*x)->scale;
        return true;
    }
    return false;
}

static mlc_value *finish(mlc_quant *q, mlc_value *r, mlc_value *x, const taps *all, const double *bias,
                         int64_t per_bias, const scales *s) {
    if (!r)
        return NULL;
    r->scale = s->result;
    double *err = mlc_q_err_array(q, r);
    for (int64_t o = 0; o < mlc_q_elements(r); o++) {
        err[o] = dot_error(x, &all[o], s->weight);
        if (bias)
            err[o] += fabs(rint(bias[o / per_bias] / s->result) * s->result - bias[o / per_bias]);
    }
    return mlc_q_settle(q, r);
}

/* Features of very different sizes have weights of very different sizes, and the
 * smallest weights would lose their digits beside the largest. */
enum { BALANCE_BITS = 6, MOST_BALANCE = 30 };

/* x with feature k shifted right by as many bits as weights w[.,k] are smaller than the
 * largest, and *w with these shifted left: the same products, with errors in proportion. */
static mlc_value *balanced(mlc_quant *q, mlc_value *x, int64_t M, int64_t K, int64_t N, double max_weight,
                           const double **w) {
    int64_t *shift = MLC_NEW_ARRAY(q->arena, K + 1, int64_t), most = 0;
    for (int64_t k = 0; k < K; k++) {
        double column = 0;
        for (int64_t n = 0; n < N; n++)
            column = fmax(column, fabs((*w)[n * K + k]));
        int s = 0;
        if (column > 0)
            frexp(max_weight / column, &s);
        shift[k] = s > BALANCE_BITS ? s - 1 < MOST_BALANCE ? s - 1 : MOST_BALANCE : 0;
        if (shift[k] > most)
            most = shift[k];
    }
    if (most == 0)
        return x;
    /* Bits that x does not have cannot be shifted out. */
    int spare = MLC_WORK_BITS - mlc_q_bits((uint64_t)mlc_q_magnitude(x));
    if (spare > most)
        spare = (int)most;
    x = spare > 0 ? mlc_q_shift_left(q, x, spare) : mlc_q_narrow(q, x, MLC_ACCUMULATOR_BITS - 1);
    if (!x)
        return NULL;
    mlc_shape each = {.rank = 1, .dim = {M * K}};
    int64_t *half = MLC_NEW_ARRAY(q->arena, M * K + 1, int64_t),
            *all = MLC_NEW_ARRAY(q->arena, M * K + 1, int64_t);
    for (int64_t i = 0; i < M * K; i++) {
        all[i] = shift[i % K];
        half[i] = all[i] ? (int64_t)1 << (all[i] - 1) : 0;
    }
    double scale = x->scale, *err = MLC_NEW_ARRAY(q->arena, M * K + 1, double);
    for (int64_t i = 0; i < M * K; i++)
        err[i] = ldexp(mlc_q_err(x, i), -(int)all[i]) + (all[i] ? 0.5 * scale : 0);
    x = mlc_q_reshape(q, x, &each);
    x = x ? mlc_q_binary(q, "Add", x, mlc_q_constant(q, half, &each)) : NULL;
    x = x ? mlc_q_binary(q, "ShiftRight", x, mlc_q_constant(q, all, &each)) : NULL;
    if (!x)
        return NULL;
    x->scale = scale;
    x->err = err;
    double *scaled = MLC_NEW_ARRAY(q->arena, N * K + 1, double);
    for (int64_t i = 0; i < N * K; i++)
        scaled[i] = ldexp((*w)[i], (int)shift[i % K]);
    *w = scaled;
    return x;
}

mlc_value *mlc_q_linear(mlc_quant *q, mlc_value *x, int64_t M, int64_t K, int64_t N, const double *w,
                        const double *bias, const mlc_shape *shape) {
    double max_weight;
    if (!x || !finite_weights(q, w, N * K, &max_weight))
        return NULL;
    if (bias) {
        double ignored;
        if (!finite_weights(q, bias, N, &ignored))
            return NULL;
    }
    if (q->dot_bits < 32)
        return mlc_q_linear_narrow(q, x, M, K, N, w, bias, shape);
    if (!(x = balanced(q, x, M, K, N, max_weight, &w)))
        return NULL;
    taps *all = MLC_NEW_ARRAY(q->arena, M * N + 1, taps);
    double *row_bias = NULL;
    if (bias)
        row_bias = MLC_NEW_ARRAY(q->arena, M * N + 1, double);
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) {
            all[m * N + n] = (taps){.w = w + n * K, .n = K, .x0 = m * K};
            if (bias)
                row_bias[m * N + n] = bias[n];
        }
    scales s;
    if (!choose(q, &x, all, M * N, row_bias, 1, max_weight, &s))
        return NULL;

    mlc_shape w_shape = {.rank = 2, .dim = {N, K}}, b_shape = {.rank = 1, .dim = {N}};
    double *zeros = MLC_NEW_ARRAY(q->arena, N + 1, double);
    mlc_value *in[3] = {x, mlc_q_constant(q, rounded(q, w, N * K, s.weight), &w_shape),
                        mlc_q_constant(q, rounded(q, bias ? bias : zeros, N, s.result), &b_shape)};
    mlc_value *r = mlc_q_node(q, "Linear", in, 3, shape, NULL, 0);
    return finish(q, r, x, all, row_bias, 1, &s);
}

taps *mlc_q_conv_taps(mlc_quant *q, const mlc_conv_geometry *c, const double *w) {
    int64_t out = c->out[0] * c->out[1] * c->out[2], in = c->in[0] * c->in[1] * c->in[2];
    int64_t channels = c->channels_in / c->group, per_group = c->channels_out / c->group;
    int64_t taps_n = channels * c->kernel[0] * c->kernel[1] * c->kernel[2];
    taps *all = MLC_NEW_ARRAY(q->arena, c->channels_out * out + 1, taps);
    for (int64_t g = 0; g < c->group; g++)
        for (int64_t p = 0; p < out; p++) {
            int64_t at[3] = {p / (c->out[1] * c->out[2]), p / c->out[2] % c->out[1], p % c->out[2]};
            int64_t *x = MLC_NEW_ARRAY(q->arena, taps_n + 1, int64_t), t = 0;
            for (int64_t ch = 0; ch < channels; ch++)
                for (int64_t k = 0; k < c->kernel[0] * c->kernel[1] * c->kernel[2]; k++) {
                    int64_t tap_at[3] = {k / (c->kernel[1] * c->kernel[2]), k / c->kernel[2] % c->kernel[1],
                                         k % c->kernel[2]};
                    int64_t flat = 0;
                    bool inside = true;
                    for (int d = 0; d < 3; d++) {
                        int64_t pos = at[d] * c->stride[d] + tap_at[d] * c->dilation[d] - c->pad_begin[d];
                        inside = inside && pos >= 0 && pos < c->in[d];
                        flat = flat * c->in[d] + pos;
                    }
                    x[t++] = inside ? (g * channels + ch) * in + flat : -1;
                }
            for (int64_t o = 0; o < per_group; o++) {
                int64_t channel = g * per_group + o;
                all[channel * out + p] = (taps){.w = w + channel * taps_n, .n = taps_n, .x = x};
            }
        }
    return all;
}

mlc_attr *mlc_q_conv_attrs(mlc_quant *q, const mlc_conv_geometry *c) {
    const mlc_attr source[MLC_CONV_ATTRS] = {
        {.name = "strides", .kind = MLC_ATTR_INTS, .n = c->nd, .ints = c->stride},
        {.name = "dilations", .kind = MLC_ATTR_INTS, .n = c->nd, .ints = c->dilation},
        {.name = "pads", .kind = MLC_ATTR_INTS, .n = c->nd, .ints = c->pad_begin},
        {.name = "group", .kind = MLC_ATTR_INT, .i = c->group},
    };
    mlc_attr *attrs = MLC_NEW_ARRAY(q->arena, MLC_CONV_ATTRS, mlc_attr);
    for (int a = 0; a < MLC_CONV_ATTRS; a++) {
        attrs[a] = source[a];
        if (source[a].kind != MLC_ATTR_INTS)
            continue;
        int64_t *copy = MLC_NEW_ARRAY(q->arena, 3, int64_t);
        memcpy(copy, source[a].ints, 3 * sizeof *copy);
        attrs[a].ints = copy;
    }
    return attrs;
}

mlc_value *mlc_q_conv(mlc_quant *q, mlc_value *x, const mlc_tensor *w, const double *bias,
                      const mlc_conv_geometry *c, const mlc_shape *shape) {
    int64_t n = mlc_shape_elements(&w->shape), out = c->out[0] * c->out[1] * c->out[2];
    double max_weight;
    if (!x || !finite_weights(q, w->f, n, &max_weight))
        return NULL;
    if (bias) {
        double ignored;
        if (!finite_weights(q, bias, c->channels_out, &ignored))
            return NULL;
    }
    if (q->dot_bits < 32)
        return mlc_q_conv_narrow(q, x, w, bias, c, shape);
    taps *all = mlc_q_conv_taps(q, c, w->f);
    scales s;
    if (!choose(q, &x, all, c->channels_out * out, bias, out, max_weight, &s))
        return NULL;

    mlc_shape b_shape = {.rank = 1, .dim = {c->channels_out}};
    double *zeros = MLC_NEW_ARRAY(q->arena, c->channels_out + 1, double);
    mlc_value *in[3] = {
        x, mlc_q_constant(q, rounded(q, w->f, n, s.weight), &w->shape),
        mlc_q_constant(q, rounded(q, bias ? bias : zeros, c->channels_out, s.result), &b_shape)};
    mlc_value *r = mlc_q_node(q, "Conv", in, 3, shape, mlc_q_conv_attrs(q, c), MLC_CONV_ATTRS);
    return finish(q, r, x, all, bias, out, &s);
}
