/* Divide: a / b for b >= 1, truncated towards zero. */
#include "Int.h"
#include "IntLower.h"

/* Monotone in each operand while the other stands still: extremes are at corners. */
static bool divide_interval(mlc_graph *g, mlc_node *node) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        mlc_wide a = mlc_int_operand(node, 0, i), b = mlc_int_operand(node, 1, i);
        if (b.lo < 1)
            return mlc_error_at(g->diag, node,
                                "the divisor of element %lld may be %lld; it must be at least 1",
                                (long long)i, (long long)b.lo);
        mlc_wide r = {mlc_int_min(a.lo / b.lo, a.lo / b.hi), mlc_int_max(a.hi / b.lo, a.hi / b.hi)};
        if (!mlc_int_bound(g, node, i, r))
            return false;
    }
    return true;
}

static void divide_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        out[i] = in[0][mlc_int_index(node, 0, i)] / in[1][mlc_int_index(node, 1, i)];
}

/* BPF divides unsigned numbers: the sign is taken off and put back. The absolute
 * value of INT64_MIN is right as an unsigned number. */
static void *divide_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    mlc_wide range = mlc_int_operand(node, 0, i);
    LLVMValueRef a = mlc_int_lower_operand(l, node, 0, i), b = mlc_int_lower_operand(l, node, 1, i);
    if (range.lo >= 0)
        return mlc_l_udiv(l, a, b);
    LLVMValueRef mask = mlc_l_sign_mask(l, a);
    LLVMValueRef quotient = mlc_l_udiv(l, mlc_l_sub(l, mlc_l_xor(l, a, mask), mask), b);
    return mlc_l_sub(l, mlc_l_xor(l, quotient, mask), mask);
}

static int64_t divide_cost(const mlc_node *node) {
    (void)node;
    return 11;
}

static mlc_node *divide_generate(mlc_graph *g, mlc_rng *rng) {
    mlc_shape shape = mlc_int_random_shape(rng, 16), a = mlc_int_random_operand_shape(rng, &shape),
              b = mlc_int_random_operand_shape(rng, &shape);
    mlc_value *in[2] = {mlc_int_random_input(g, rng, &a, INT64_MIN, INT64_MAX), NULL};
    if (mlc_int_chance(rng, 4)) {
        int64_t n = mlc_shape_elements(&b), *divisor = MLC_NEW_ARRAY(g->arena, n, int64_t);
        for (int64_t i = 0; i < n; i++) {
            int64_t x = mlc_int_random_number(rng);
            divisor[i] = x < 1 ? mlc_rng_range(rng, 1, 9) : x;
        }
        in[1] = mlc_int_new_constant(g, divisor, &b);
    } else {
        in[1] = mlc_int_random_input(g, rng, &b, 1, INT64_MAX);
    }
    return mlc_int_settle(g, mlc_int_random_node(g, "Divide", in, 2), 0);
}

MLC_OPS(IntDivide, {.domain = "mlc",
                    .name = "Divide",
                    .since = 1,
                    .doc = "a / b truncated towards zero; b is at least 1",
                    .min_in = 2,
                    .max_in = 2,
                    .min_out = 1,
                    .max_out = 1,
                    .check = mlc_int_check_broadcast,
                    .interval = divide_interval,
                    .eval_int = divide_eval,
                    .lower = divide_lower,
                    .reads = mlc_int_reads_broadcast,
                    .cost = divide_cost,
                    .elementwise = 2,
                    .generate = divide_generate});
