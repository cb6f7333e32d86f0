/* ShiftRight by a value, and BitLength: what normalisation needs. */
#include "Int.h"
#include "IntLower.h"

/* x * 2^-s, rounded down; monotone in x, and in s for each x. */
static bool shift_interval(mlc_graph *g, mlc_node *node) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        mlc_wide x = mlc_int_operand(node, 0, i), s = mlc_int_operand(node, 1, i);
        if (s.lo < 0 || s.hi > 63)
            return mlc_error_at(g->diag, node,
                                "element %lld may be shifted by [%lld, %lld], expected 0 to 63", (long long)i,
                                (long long)s.lo, (long long)s.hi);
        mlc_wide r = {mlc_int_min(x.lo >> (int)s.lo, x.lo >> (int)s.hi),
                      mlc_int_max(x.hi >> (int)s.lo, x.hi >> (int)s.hi)};
        if (!mlc_int_bound(g, node, i, r))
            return false;
    }
    return true;
}

static void shift_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        int64_t x = in[0][mlc_int_index(node, 0, i)];
        uint64_t power = (uint64_t)1 << in[1][mlc_int_index(node, 1, i)];
        /* For negative x, -1 - x is its complement, and floor(x / p) = -1 - floor((-1 - x) / p). */
        out[i] = x < 0 ? -1 - (int64_t)((uint64_t)(-1 - x) / power) : (int64_t)((uint64_t)x / power);
    }
}

static void *shift_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    mlc_wide s = mlc_int_operand(node, 1, i);
    LLVMValueRef x = mlc_int_lower_operand(l, node, 0, i);
    if (s.lo == s.hi)
        return mlc_l_ashr(l, x, (int)s.lo);
    return mlc_l_ashr_var(l, x, mlc_int_lower_operand(l, node, 1, i));
}

static mlc_node *shift_generate(mlc_graph *g, mlc_rng *rng) {
    mlc_shape shape = mlc_int_random_shape(rng, 16), x = mlc_int_random_operand_shape(rng, &shape),
              s = mlc_int_random_operand_shape(rng, &shape);
    mlc_value *in[2] = {mlc_int_random_input(g, rng, &x, INT64_MIN, INT64_MAX),
                        mlc_int_random_input(g, rng, &s, 0, 63)};
    return mlc_int_settle(g, mlc_int_random_node(g, "ShiftRight", in, 2), 0);
}

static int bit_length(int64_t x) {
    int n = 0;
    for (; x; x /= 2)
        n++;
    return n;
}

static bool length_interval(mlc_graph *g, mlc_node *node) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        mlc_wide x = mlc_int_range(node->in[0], i);
        if (x.lo < 0)
            return mlc_error_at(g->diag, node, "element %lld may be %lld; a bit length needs 0 or more",
                                (long long)i, (long long)x.lo);
        if (!mlc_int_bound(g, node, i, (mlc_wide){bit_length((int64_t)x.lo), bit_length((int64_t)x.hi)}))
            return false;
    }
    return true;
}

static void length_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        out[i] = bit_length(in[0][i]);
}

/* Bisection: where x has more than k bits, k are counted and shifted out. */
static void *length_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    int bits = (int)node->out[0]->hi[i], log2 = 5;
    LLVMValueRef zero = mlc_l_const(l, 0), count = zero;
    if (!bits)
        return zero;
    LLVMValueRef x = mlc_l_input(l, node->in[0], i);
    while (log2 >= 0 && 1 << log2 >= bits)
        log2--;
    for (; log2 >= 0; log2--) {
        LLVMValueRef high = mlc_l_lshr(l, x, 1 << log2);
        LLVMValueRef out = mlc_l_shl(l, mlc_l_is_negative(l, mlc_l_sub(l, zero, high)), log2);
        count = mlc_l_add(l, count, out);
        x = mlc_l_ashr_var(l, x, out);
    }
    return mlc_l_add(l, count, x); /* one bit is left */
}

static int64_t length_cost(const mlc_node *node) {
    (void)node;
    return 50;
}

static mlc_node *length_generate(mlc_graph *g, mlc_rng *rng) {
    return mlc_int_generate_unary(g, rng, "BitLength", 0, INT64_MAX);
}

MLC_OPS(IntShift,
        {.domain = "mlc",
         .name = "ShiftRight",
         .since = 1,
         .doc = "x >> s for s in 0 to 63, rounding down",
         .min_in = 2,
         .max_in = 2,
         .min_out = 1,
         .max_out = 1,
         .check = mlc_int_check_broadcast,
         .interval = shift_interval,
         .eval_int = shift_eval,
         .lower = shift_lower,
         .reads = mlc_int_reads_broadcast,
         .elementwise = 2,
         .generate = shift_generate},
        {.domain = "mlc",
         .name = "BitLength",
         .since = 1,
         .doc = "number of bits of x >= 0; 0 for 0",
         .min_in = 1,
         .max_in = 1,
         .min_out = 1,
         .max_out = 1,
         .check = mlc_int_check_unary,
         .interval = length_interval,
         .eval_int = length_eval,
         .lower = length_lower,
         .cost = length_cost,
         .elementwise = 1,
         .generate = length_generate});
