/* Sqrt: the square root of x >= 0, rounded down. */
#include "Int.h"
#include "IntLower.h"

/* By bisection. */
static int64_t root(int64_t x) {
    int64_t lo = 0, hi = 3037000499; /* the root of INT64_MAX */
    while (lo < hi) {
        int64_t middle = (lo + hi + 1) / 2;
        if (middle <= x / middle)
            lo = middle;
        else
            hi = middle - 1;
    }
    return lo;
}

static bool sqrt_interval(mlc_graph *g, mlc_node *node) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        mlc_wide x = mlc_int_range(node->in[0], i);
        if (x.lo < 0)
            return mlc_error_at(g->diag, node, "element %lld may be %lld; a square root needs 0 or more",
                                (long long)i, (long long)x.lo);
        if (!mlc_int_bound(g, node, i, (mlc_wide){root((int64_t)x.lo), root((int64_t)x.hi)}))
            return false;
    }
    return true;
}

static void sqrt_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        out[i] = root(in[0][i]);
}

/*
 * Digit by digit, from the highest power of four below the interval's end: the
 * bit 2^k belongs to the root where rest >= result + 2^k. All numbers stay below
 * 2^63. No mask meets a constant: see mlc_int_choose_const.
 */
static void *sqrt_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    int64_t most = (int64_t)mlc_int_range(node->in[0], i).hi;
    int top = 0;
    while ((int64_t)1 << top <= most / 4)
        top += 2;
    LLVMValueRef rest = mlc_l_input(l, node->in[0], i), result = NULL;
    for (int k = top; k >= 0; k -= 2) {
        LLVMValueRef bit = mlc_l_const(l, (int64_t)1 << k);
        LLVMValueRef trial = result ? mlc_l_add(l, result, bit) : bit;
        LLVMValueRef less = mlc_l_sub(l, rest, trial);
        LLVMValueRef no = mlc_l_is_negative(l, less), missed = mlc_l_shl(l, no, k);
        LLVMValueRef back = result ? mlc_l_and(l, trial, mlc_l_sub(l, mlc_l_const(l, 0), no)) : missed;
        LLVMValueRef digit = mlc_l_sub(l, bit, missed);
        rest = mlc_l_add(l, less, back);
        result = result ? mlc_l_add(l, mlc_l_lshr(l, result, 1), digit) : digit;
    }
    return result;
}

static int64_t sqrt_cost(const mlc_node *node) {
    int64_t steps = 1, most = 0;
    for (int64_t i = 0, n = mlc_int_elements(node->in[0]); i < n; i++)
        most = (int64_t)mlc_int_max(most, mlc_int_range(node->in[0], i).hi);
    for (; most >= 4; most /= 4)
        steps++;
    return 14 * steps;
}

static mlc_node *sqrt_generate(mlc_graph *g, mlc_rng *rng) {
    mlc_shape shape = mlc_int_random_shape(rng, 4);
    mlc_value *x = mlc_int_random_input(g, rng, &shape, 0, INT64_MAX);
    return mlc_int_settle(g, mlc_int_random_node(g, "Sqrt", &x, 1), 0);
}

MLC_OPS(IntSqrt, {.domain = "mlc",
                  .name = "Sqrt",
                  .since = 1,
                  .doc = "square root of x >= 0, rounded down",
                  .min_in = 1,
                  .max_in = 1,
                  .min_out = 1,
                  .max_out = 1,
                  .check = mlc_int_check_unary,
                  .interval = sqrt_interval,
                  .eval_int = sqrt_eval,
                  .lower = sqrt_lower,
                  .cost = sqrt_cost,
                  .elementwise = 1,
                  .generate = sqrt_generate});
