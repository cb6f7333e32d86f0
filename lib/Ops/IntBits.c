/* BitAnd BitOr BitXor of two's complement numbers. */
#include "Int.h"
#include "IntLower.h"

/* The least n such that a and b lie in [-2^n, 2^n). */
static int width(mlc_wide a, mlc_wide b) {
    mlc_i128 most = mlc_int_max(mlc_int_max(a.hi, b.hi), mlc_int_max(-1 - a.lo, -1 - b.lo));
    int n = 0;
    for (; most > 0; most /= 2)
        n++;
    return n;
}

/* The results share the width of the operands, and are negative only where the signs allow it. */
static mlc_wide range_and(mlc_wide a, mlc_wide b) {
    mlc_i128 power = (mlc_i128)1 << width(a, b);
    mlc_wide r = {-power, power - 1};
    if (a.lo >= 0)
        r = (mlc_wide){0, a.hi};
    if (b.lo >= 0)
        r = (mlc_wide){0, mlc_int_min(r.hi, b.hi)};
    return r;
}

/* a | b = ~(~a & ~b) */
static mlc_wide range_or(mlc_wide a, mlc_wide b) {
    mlc_wide r = range_and((mlc_wide){-1 - a.hi, -1 - a.lo}, (mlc_wide){-1 - b.hi, -1 - b.lo});
    r = (mlc_wide){-1 - r.hi, -1 - r.lo};
    if (a.lo >= 0 && b.lo >= 0)
        r.lo = mlc_int_max(a.lo, b.lo);
    return r;
}

static mlc_wide range_xor(mlc_wide a, mlc_wide b) {
    mlc_i128 power = (mlc_i128)1 << width(a, b);
    mlc_wide r = {-power, power - 1};
    bool a_fixed = a.lo >= 0 || a.hi < 0, b_fixed = b.lo >= 0 || b.hi < 0;
    if (!a_fixed || !b_fixed)
        return r;
    if ((a.lo >= 0) == (b.lo >= 0))
        r.lo = 0;
    else
        r.hi = -1;
    return r;
}

static bool interval_of_pairs(mlc_graph *g, mlc_node *node, mlc_wide (*combine)(mlc_wide a, mlc_wide b)) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        if (!mlc_int_bound(g, node, i, combine(mlc_int_operand(node, 0, i), mlc_int_operand(node, 1, i))))
            return false;
    return true;
}

static bool and_interval(mlc_graph *g, mlc_node *node) {
    return interval_of_pairs(g, node, range_and);
}

static bool or_interval(mlc_graph *g, mlc_node *node) {
    return interval_of_pairs(g, node, range_or);
}

static bool xor_interval(mlc_graph *g, mlc_node *node) {
    return interval_of_pairs(g, node, range_xor);
}

static void and_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        out[i] = in[0][mlc_int_index(node, 0, i)] & in[1][mlc_int_index(node, 1, i)];
}

static void or_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        out[i] = in[0][mlc_int_index(node, 0, i)] | in[1][mlc_int_index(node, 1, i)];
}

static void xor_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        out[i] = in[0][mlc_int_index(node, 0, i)] ^ in[1][mlc_int_index(node, 1, i)];
}

static void *and_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    return mlc_int_lower_binary(l, node, i, mlc_l_and);
}

static void *or_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    return mlc_int_lower_binary(l, node, i, mlc_l_or);
}

static void *xor_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    return mlc_int_lower_binary(l, node, i, mlc_l_xor);
}

static mlc_node *and_generate(mlc_graph *g, mlc_rng *rng) {
    return mlc_int_generate_broadcast(g, rng, "BitAnd", 2);
}

static mlc_node *or_generate(mlc_graph *g, mlc_rng *rng) {
    return mlc_int_generate_broadcast(g, rng, "BitOr", 2);
}

static mlc_node *xor_generate(mlc_graph *g, mlc_rng *rng) {
    return mlc_int_generate_broadcast(g, rng, "BitXor", 2);
}

#define BITWISE(op, text)                                                                                    \
    .domain = "mlc", .since = 1, .doc = text, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,          \
    .check = mlc_int_check_broadcast, .interval = op##_interval, .eval_int = op##_eval, .lower = op##_lower, \
    .reads = mlc_int_reads_broadcast, .elementwise = 2, .generate = op##_generate

MLC_OPS(IntBits, {.name = "BitAnd", BITWISE(and, "a & b, bit by bit")},
        {.name = "BitOr", BITWISE(or, "a | b, bit by bit")},
        {.name = "BitXor", BITWISE(xor, "a ^ b, bit by bit")});
