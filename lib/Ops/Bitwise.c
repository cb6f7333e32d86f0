#include "Elementwise.h"
#include "Movement.h"
#include "Real.h"

static bool infer(mlc_graph *g, mlc_node *node) {
    for (int k = 0; k < node->n_in; k++) {
        mlc_dtype t = node->in[k]->dtype;
        if (!mlc_dtype_is_integer(t) || t == MLC_BOOL)
            return mlc_error_at(g->diag, node, "input %d, '%s', is %s and must be an integer", k,
                                mlc_escape(node->in[k]->name), mlc_dtype_name(t));
    }
    return mlc_infer_broadcast(g, node);
}

static bool infer_shift(mlc_graph *g, mlc_node *node) {
    const char *direction = mlc_attr_string(node, "direction", "");
    if (strcmp(direction, "LEFT") && strcmp(direction, "RIGHT"))
        return mlc_error_at(g->diag, node, "direction '%s' is not LEFT or RIGHT", mlc_escape(direction));
    return infer(g, node);
}

static int64_t and_int(int64_t a, int64_t b) {
    return a & b;
}
static int64_t or_int(int64_t a, int64_t b) {
    return a | b;
}
static int64_t xor_int(int64_t a, int64_t b) {
    return a ^ b;
}
static int64_t not_int(int64_t a) {
    return ~a;
}
static int64_t left_int(int64_t a, int64_t b) {
    return b < 0 || b > 63 ? 0 : (int64_t)((uint64_t)a << b);
}
/* Arithmetic; by as many bits as there are, or a negative number, only signs remain. */
static int64_t right_int(int64_t a, int64_t b) {
    int bits = b < 0 || b > 63 ? 63 : (int)b;
    return a < 0 ? ~(~a >> bits) : a >> bits;
}
static int64_t right_uint64(int64_t a, int64_t b) {
    return b < 0 || b > 63 ? 0 : (int64_t)((uint64_t)a >> b);
}

static void eval_and(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_binary(in[0], in[1], out[0], NULL, and_int);
}
static void eval_or(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_binary(in[0], in[1], out[0], NULL, or_int);
}
static void eval_xor(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_binary(in[0], in[1], out[0], NULL, xor_int);
}
static void eval_not(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_unary(in[0], out[0], NULL, not_int);
}

static bool to_left(const mlc_node *node) {
    return !strcmp(mlc_attr_string(node, "direction", ""), "LEFT");
}
static void eval_shift(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    mlc_int2 right = out[0]->dtype == MLC_UINT64 ? right_uint64 : right_int;
    mlc_eval_binary(in[0], in[1], out[0], NULL, to_left(node) ? left_int : right);
}

/* An integer node on two values; an inexact operand can change any bit. */
static mlc_value *binary(mlc_quant *q, const char *op, mlc_value *a, mlc_value *b) {
    mlc_value *v = a && b ? mlc_q_node(q, op, (mlc_value *[]){a, b}, 2, NULL, NULL, 0) : NULL;
    if (!v || (!a->err && !b->err))
        return v;
    int64_t n = mlc_shape_elements(&v->shape);
    v->err = MLC_NEW_ARRAY(q->arena, n, double);
    for (int64_t i = 0; i < n; i++) {
        int64_t ia = mlc_shape_broadcast_index(&a->shape, &v->shape, i),
                ib = mlc_shape_broadcast_index(&b->shape, &v->shape, i);
        if (mlc_q_err(a, ia) > 0 || mlc_q_err(b, ib) > 0)
            v->err[i] = (double)v->hi[i] - (double)v->lo[i];
    }
    return v;
}

static bool quantize(mlc_quant *q, const mlc_node *node, const char *op) {
    mlc_value *a = mlc_q_value(q, node->in[0]), *b = mlc_q_value(q, node->in[1]);
    return mlc_q_result(q, node, binary(q, op, a, b));
}
static bool quantize_and(mlc_quant *q, const mlc_node *node) {
    return quantize(q, node, "BitAnd");
}
static bool quantize_or(mlc_quant *q, const mlc_node *node) {
    return quantize(q, node, "BitOr");
}
static bool quantize_xor(mlc_quant *q, const mlc_node *node) {
    return quantize(q, node, "BitXor");
}

/* ~x is -1 - x for signed and max - x for unsigned types. */
static bool quantize_not(mlc_quant *q, const mlc_node *node) {
    int64_t lo, hi;
    mlc_dtype t = node->in[0]->dtype;
    mlc_dtype_range(t, &lo, &hi);
    if (t == MLC_UINT64)
        return mlc_error_at(q->diag, node, "the complement of a uint64 does not fit int64");
    mlc_value *ones = mlc_q_scalar(q, lo < 0 ? -1 : hi);
    return mlc_q_result(q, node, binary(q, "Sub", ones, mlc_q_value(q, node->in[0])));
}

/*
 * x << s. Only the bits that stay are shifted, so that the product is below 2^bits;
 * flipping the sign bit and subtracting it again makes it a signed number.
 */
static mlc_value *shift_left(mlc_quant *q, const mlc_node *node, mlc_value *x) {
    int64_t lo, hi;
    const mlc_tensor *s = node->in[1]->constant;
    mlc_dtype t = node->out[0]->dtype;
    mlc_dtype_range(t, &lo, &hi);
    if (!s || t == MLC_INT64 || t == MLC_UINT64) {
        mlc_error_at(q->diag, node, "shifting left needs a type of at most 32 bits, and constants in '%s'",
                     mlc_escape(node->in[1]->name));
        return NULL;
    }
    int64_t n = mlc_shape_elements(&s->shape), ones = hi - lo;
    int64_t *power = MLC_NEW_ARRAY(q->arena, n, int64_t), *keep = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++) {
        bool gone = s->i[i] < 0 || s->i[i] > 31;
        keep[i] = gone ? 0 : ones >> s->i[i];
        power[i] = keep[i] ? (int64_t)1 << s->i[i] : 0;
    }
    x = binary(q, "BitAnd", x, mlc_q_constant(q, keep, &s->shape));
    x = binary(q, "Mul", x, mlc_q_constant(q, power, &s->shape));
    if (lo == 0)
        return x;
    mlc_value *sign = mlc_q_scalar(q, -lo);
    return binary(q, "Sub", binary(q, "BitXor", x, sign), sign);
}

/* Shift counts, where every count out of range is 63. */
static mlc_value *shift_counts(mlc_quant *q, const mlc_node *node) {
    const mlc_tensor *s = node->in[1]->constant;
    if (!s) {
        mlc_value *v = mlc_q_value(q, node->in[1]);
        if (v && mlc_q_min_real(v) < 0) {
            mlc_value *zero = mlc_q_scalar(q, 0), *all = mlc_q_scalar(q, 63);
            mlc_value *below = mlc_q_less(q, v, zero);
            v = below ? mlc_q_where(q, below, all, v) : NULL;
        }
        return v ? mlc_q_clamp(q, v, 0, 63) : NULL;
    }
    int64_t n = mlc_shape_elements(&s->shape), *count = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++)
        count[i] = s->i[i] < 0 || s->i[i] > 63 ? 63 : s->i[i];
    return mlc_q_constant(q, count, &s->shape);
}

static bool quantize_shift(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    if (x && to_left(node))
        return mlc_q_result(q, node, shift_left(q, node, x));
    return mlc_q_result(q, node, x ? binary(q, "ShiftRight", x, shift_counts(q, node)) : NULL);
}

#define ROW(NAME, N_IN, DOC, EVAL, QUANTIZE) \
    {                                        \
        .domain = "",                        \
        .name = "Bitwise" NAME,              \
        .since = 18,                         \
        .doc = DOC,                          \
        .min_in = N_IN,                      \
        .max_in = N_IN,                      \
        .min_out = 1,                        \
        .max_out = 1,                        \
        .infer = infer,                      \
        .eval = EVAL,                        \
        .quantize = QUANTIZE,                \
    }

MLC_OPS(Bitwise, ROW("And", 2, "Both bits are set.", eval_and, quantize_and),
        ROW("Or", 2, "At least one bit is set.", eval_or, quantize_or),
        ROW("Xor", 2, "Exactly one bit is set.", eval_xor, quantize_xor),
        ROW("Not", 1, "All bits flipped.", eval_not, quantize_not),
        {.domain = "",
         .name = "BitShift",
         .since = 11,
         .doc = "Moves bits to the left or right.",
         .limits = "to the left: at most 32-bit types, by constants",
         .min_in = 2,
         .max_in = 2,
         .min_out = 1,
         .max_out = 1,
         .attrs = (const mlc_attr_spec[]){{"direction", MLC_ATTR_STRING}, {0}},
         .infer = infer_shift,
         .eval = eval_shift,
         .quantize = quantize_shift});
