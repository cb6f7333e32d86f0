#include "Elementwise.h"
#include "Movement.h"
#include "Real.h"

#include <ctype.h>
#include <math.h>

static double same_real(double x) {
    return x;
}
static int64_t same_int(int64_t x) {
    return x;
}

static bool infer_to(mlc_graph *g, mlc_node *node, int64_t to) {
    if (!mlc_infer_number(g, node, 0))
        return false;
    if (!mlc_dtype_is_number(to))
        return mlc_error_at(g->diag, node, "a cast to ONNX type %lld is not supported", (long long)to);
    return mlc_infer_set(g, node, 0, (mlc_dtype)to, &node->in[0]->shape);
}

/* Version 1 names the type: "FLOAT". */
static bool infer_cast_1(mlc_graph *g, mlc_node *node) {
    char name[16] = "";
    const char *to = mlc_attr_string(node, "to", "");
    for (size_t i = 0; to[i] && i < sizeof name - 1; i++)
        name[i] = (char)tolower((unsigned char)to[i]);
    mlc_dtype dtype = mlc_dtype_from_name(name);
    if (dtype == MLC_UNDEFINED)
        return mlc_error_at(g->diag, node, "'%s' is not a type", mlc_escape(to));
    return infer_to(g, node, dtype);
}

static bool infer_cast(mlc_graph *g, mlc_node *node) {
    if (!mlc_attr_find(node, "to"))
        return mlc_error_at(g->diag, node, "attribute 'to' is missing");
    return infer_to(g, node, mlc_attr_int(node, "to", 0));
}

static bool infer_cast_like(mlc_graph *g, mlc_node *node) {
    return infer_to(g, node, node->in[1]->dtype);
}

/* Real numbers are truncated toward zero. Out of range, which ONNX leaves undefined,
 * types of fewer than 32 bits keep the low bits, as its reference does, and others
 * saturate. */
static bool keeps_low_bits(mlc_dtype to) {
    int64_t lo, hi;
    mlc_dtype_range(to, &lo, &hi);
    return hi <= UINT16_MAX;
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_dtype to = out[0]->dtype;
    if (!mlc_dtype_is_float(in[0]->dtype) || mlc_dtype_is_float(to) || to == MLC_BOOL ||
        !keeps_low_bits(to)) {
        mlc_eval_unary(in[0], out[0], same_real, same_int);
        return;
    }
    int64_t n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++)
        out[0]->i[i] = mlc_wrap(to, mlc_real_to_int(MLC_INT64, in[0]->f[i]));
}

/* v == 0 ? 0 : 1 */
static mlc_value *to_bool(mlc_quant *q, mlc_value *v) {
    mlc_value *zero = mlc_q_scalar(q, 0), *one = mlc_q_scalar(q, 1);
    mlc_value *is_zero = zero ? mlc_q_equal(q, v, zero) : NULL;
    return is_zero && one ? mlc_q_sub(q, one, is_zero) : NULL;
}

static mlc_value *shift_down(mlc_quant *q, mlc_value *v, int bits) {
    mlc_value *shift = mlc_q_scalar(q, bits);
    return shift ? mlc_q_node(q, "ShiftRight", (mlc_value *[]){v, shift}, 2, NULL, NULL, 0) : NULL;
}

/*
 * Real to whole numbers, toward zero: the scale is made a power of two, 2^-bits,
 * and the fraction bits are dropped, rounding down; negative numbers are moved up
 * by nearly one before. A value within its error of a whole number may be off by one.
 */
static mlc_value *truncate_real(mlc_quant *q, mlc_value *v) {
    enum { ROOM = 60, FRACTION = 24 };
    int exponent, range;
    if (frexp(v->scale, &exponent) != 0.5) {
        frexp(mlc_q_max_abs(v), &range);
        v = mlc_q_rescale(q, v, ldexp(1, -(range + FRACTION <= ROOM ? FRACTION : ROOM - range)));
    }
    v = v ? mlc_q_narrow(q, v, ROOM) : NULL;
    if (!v)
        return NULL;
    frexp(v->scale, &exponent);
    int bits = 1 - exponent;
    int64_t n = mlc_shape_elements(&v->shape);
    mlc_value *whole = v;
    if (bits < 0) {
        whole = mlc_q_rescale(q, v, 1);
    } else if (bits > ROOM) { /* all smaller than 1 */
        whole = mlc_q_constant(q, MLC_NEW_ARRAY(q->arena, n, int64_t), &v->shape);
    } else if (bits > 0) {
        mlc_value *limit = mlc_q_scalar(q, ((int64_t)1 << bits) - 1), *zero = mlc_q_scalar(q, 0);
        bool negative = mlc_q_min_real(v) < 0;
        mlc_value *below =
            negative ? mlc_q_node(q, "Less", (mlc_value *[]){v, zero}, 2, NULL, NULL, 0) : NULL;
        if (below)
            below = mlc_q_node(q, "Mul", (mlc_value *[]){below, limit}, 2, NULL, NULL, 0);
        if (below)
            whole = mlc_q_node(q, "Add", (mlc_value *[]){v, below}, 2, NULL, NULL, 0);
        whole = whole && (below || !negative) ? shift_down(q, whole, bits) : NULL;
    }
    if (whole && whole != v && v->err) {
        whole->err = MLC_NEW_ARRAY(q->arena, n, double);
        for (int64_t i = 0; i < n; i++)
            whole->err[i] = v->err[i] > 0 ? floor(v->err[i]) + 1 : 0;
    }
    return whole;
}

/* Whole numbers to a type that may be narrower: its low bits, as two's complement. */
static mlc_value *wrap(mlc_quant *q, mlc_value *v, mlc_dtype to) {
    int64_t lo, hi, n = mlc_shape_elements(&v->shape);
    bool fits = true;
    mlc_dtype_range(to, &lo, &hi);
    for (int64_t i = 0; i < n; i++)
        fits &= v->lo[i] >= lo && v->hi[i] <= hi;
    if (fits)
        return v;
    if (to == MLC_UINT64) {
        mlc_error_at(q->diag, q->node, "a number that may be negative cannot be cast to uint64");
        return NULL;
    }
    /* hi - lo is 2^bits - 1; subtracting `lo` before and adding it after keeps the sign. */
    mlc_value *mask = mlc_q_scalar(q, hi - lo), *offset = mlc_q_scalar(q, lo);
    mlc_value *x = mlc_q_node(q, "Sub", (mlc_value *[]){v, offset}, 2, NULL, NULL, 0);
    x = x ? mlc_q_node(q, "BitAnd", (mlc_value *[]){x, mask}, 2, NULL, NULL, 0) : NULL;
    x = x ? mlc_q_node(q, "Add", (mlc_value *[]){x, offset}, 2, NULL, NULL, 0) : NULL;
    if (x && v->err) {
        x->err = MLC_NEW_ARRAY(q->arena, n, double);
        for (int64_t i = 0; i < n; i++)
            x->err[i] = v->err[i] > 0 ? (double)(hi - lo) : 0;
    }
    return x;
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    mlc_dtype from = node->in[0]->dtype, to = node->out[0]->dtype;
    mlc_value *v = mlc_q_value(q, node->in[0]);
    if (v && to == MLC_BOOL && from != MLC_BOOL) {
        v = to_bool(q, v);
    } else if (v && mlc_dtype_is_float(from) && !mlc_dtype_is_float(to)) {
        int64_t lo, hi;
        mlc_dtype_range(to, &lo, &hi);
        v = truncate_real(q, v);
        if (v && keeps_low_bits(to))
            v = wrap(q, v, to);
        else
            v = v ? mlc_q_clamp(q, v, (double)lo, (double)hi) : NULL;
    } else if (v && !mlc_dtype_is_float(to)) {
        v = wrap(q, v, to);
    }
    return mlc_q_result(q, node, v);
}

#define CAST(SINCE, UNTIL, INFER, ...)                      \
    {                                                       \
        .domain = "",                                       \
        .name = "Cast",                                     \
        .since = SINCE,                                     \
        .until = UNTIL,                                     \
        .doc = "Converts to another type.",                 \
        .limits = "not to or from strings",                 \
        .min_in = 1,                                        \
        .max_in = 1,                                        \
        .min_out = 1,                                       \
        .max_out = 1,                                       \
        .attrs = (const mlc_attr_spec[]){__VA_ARGS__, {0}}, \
        .infer = INFER,                                     \
        .eval = eval,                                       \
        .quantize = quantize,                               \
    }

MLC_OPS(Cast, CAST(1, 5, infer_cast_1, {"to", MLC_ATTR_STRING}),
        CAST(6, 18, infer_cast, {"to", MLC_ATTR_INT}),
        CAST(19, 0, infer_cast, {"to", MLC_ATTR_INT}, {"saturate", MLC_ATTR_INT},
             {"round_mode", MLC_ATTR_STRING}),
        {.domain = "",
         .name = "CastLike",
         .since = 15,
         .doc = "Converts to the type of another tensor.",
         .limits = "not to or from strings",
         .min_in = 2,
         .max_in = 2,
         .min_out = 1,
         .max_out = 1,
         .attrs = (const mlc_attr_spec[]){{"saturate", MLC_ATTR_INT}, {"round_mode", MLC_ATTR_STRING}, {0}},
         .infer = infer_cast_like,
         .eval = eval,
         .quantize = quantize});
