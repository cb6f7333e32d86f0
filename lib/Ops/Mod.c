#include "Elementwise.h"
#include "Real.h"
#include "Whole.h"

#include <math.h>

static bool like_c(const mlc_node *node) {
    return mlc_attr_int(node, "fmod", 0) != 0;
}

static bool infer(mlc_graph *g, mlc_node *node) {
    if (mlc_dtype_is_float(node->in[0]->dtype) && !like_c(node))
        return mlc_error_at(g->diag, node, "float inputs need attribute fmod = 1");
    return mlc_infer_broadcast(g, node);
}

/* The remainder with the sign of the dividend, as in C. A division by zero, which ONNX leaves undefined,
 * gives 0. */
static int64_t remainder_c(int64_t a, int64_t b) {
    return b == 0 || b == -1 ? 0 : a % b;
}

/* The remainder with the sign of the divisor, as in Python. */
static int64_t remainder_python(int64_t a, int64_t b) {
    const int64_t r = remainder_c(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    mlc_eval_binary(in[0], in[1], out[0], fmod, like_c(node) ? remainder_c : remainder_python);
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    if (mlc_dtype_is_float(node->in[0]->dtype))
        return mlc_error_at(q->diag, node, "the remainder of float inputs is not supported");
    mlc_value *a = mlc_q_value(q, node->in[0]), *b = mlc_q_value(q, node->in[1]);
    mlc_value *quotient = a && b ? mlc_q_truncated(q, a, b) : NULL;
    mlc_value *product = quotient ? mlc_q_exact(q, "Mul", quotient, b) : NULL;
    mlc_value *r = product ? mlc_q_exact(q, "Sub", a, product) : NULL;
    /* Its interval follows from the divisor's, not from that of the difference. */
    const double most = b ? fmax(mlc_q_max_abs(b) - 1, 0) : 0;
    r = r ? mlc_q_clamp(q, r, -most, most) : NULL;
    if (!r || like_c(node))
        return mlc_q_result(q, node, r);

    /* Where the signs differ, b is added: r*b < 0. */
    mlc_value *sign = mlc_q_exact(q, "Mul", r, b), *zero = mlc_q_scalar(q, 0);
    mlc_value *differ = sign ? mlc_q_less(q, sign, zero) : NULL;
    mlc_value *addend = differ ? mlc_q_where(q, differ, b, zero) : NULL;
    r = addend ? mlc_q_exact(q, "Add", r, addend) : NULL;
    const double lo = mlc_q_min_real(b) > 0 ? 0 : -most, hi = mlc_q_min_real(b) > 0 ? most : 0;
    return mlc_q_result(q, node, r ? mlc_q_clamp(q, r, lo, hi) : NULL);
}

MLC_OPS(Mod, {.domain = "",
              .name = "Mod",
              .since = 10,
              .doc = "Remainder, with the sign of the divisor or, with fmod = 1, of the dividend",
              .limits = "integers; the divisor must be proved to keep away from 0",
              .min_in = 2,
              .max_in = 2,
              .min_out = 1,
              .max_out = 1,
              .attrs = (const mlc_attr_spec[]){{"fmod", MLC_ATTR_INT}, {0}},
              .infer = infer,
              .eval = eval,
              .quantize = quantize});
