/* Element-wise arithmetic: Add Sub Mul Max Min (broadcasting), Abs Neg. */
#include "Int.h"
#include "IntLower.h"

static bool interval_of_pairs(mlc_graph *g, mlc_node *node, mlc_wide (*combine)(mlc_wide a, mlc_wide b)) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        if (!mlc_int_bound(g, node, i, combine(mlc_int_operand(node, 0, i), mlc_int_operand(node, 1, i))))
            return false;
    return true;
}

/* --- Add, Sub, Mul --- */

static mlc_wide range_add(mlc_wide a, mlc_wide b) {
    return (mlc_wide){a.lo + b.lo, a.hi + b.hi};
}

static bool add_interval(mlc_graph *g, mlc_node *node) {
    return interval_of_pairs(g, node, range_add);
}

static void add_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        out[i] = in[0][mlc_int_index(node, 0, i)] + in[1][mlc_int_index(node, 1, i)];
}

static void *add_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    return mlc_int_lower_binary(l, node, i, mlc_l_add);
}

static mlc_node *add_generate(mlc_graph *g, mlc_rng *rng) {
    return mlc_int_generate_broadcast(g, rng, "Add", 2);
}

static mlc_wide range_sub(mlc_wide a, mlc_wide b) {
    return (mlc_wide){a.lo - b.hi, a.hi - b.lo};
}

static bool sub_interval(mlc_graph *g, mlc_node *node) {
    return interval_of_pairs(g, node, range_sub);
}

static void sub_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        out[i] = in[0][mlc_int_index(node, 0, i)] - in[1][mlc_int_index(node, 1, i)];
}

static void *sub_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    return mlc_int_lower_binary(l, node, i, mlc_l_sub);
}

static mlc_node *sub_generate(mlc_graph *g, mlc_rng *rng) {
    return mlc_int_generate_broadcast(g, rng, "Sub", 2);
}

/* A square is never negative: the corner products alone would not say so. */
static mlc_wide range_square(mlc_wide a) {
    mlc_wide r = {mlc_int_min(a.lo * a.lo, a.hi * a.hi), mlc_int_max(a.lo * a.lo, a.hi * a.hi)};
    if (a.lo <= 0 && a.hi >= 0)
        r.lo = 0;
    return r;
}

static bool mul_interval(mlc_graph *g, mlc_node *node) {
    if (node->in[0] != node->in[1])
        return interval_of_pairs(g, node, mlc_int_product);
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        if (!mlc_int_bound(g, node, i, range_square(mlc_int_range(node->in[0], i))))
            return false;
    return true;
}

static void mul_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        out[i] = in[0][mlc_int_index(node, 0, i)] * in[1][mlc_int_index(node, 1, i)];
}

static void *mul_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    LLVMValueRef a = mlc_int_lower_operand(l, node, 0, i);
    return mlc_l_mul(l, a, node->in[1] == node->in[0] ? a : mlc_int_lower_operand(l, node, 1, i));
}

static mlc_node *mul_generate(mlc_graph *g, mlc_rng *rng) {
    if (!mlc_int_chance(rng, 5))
        return mlc_int_generate_broadcast(g, rng, "Mul", 2);
    mlc_shape shape = mlc_int_random_shape(rng, 16);
    mlc_value *x = mlc_int_random_input(g, rng, &shape, INT64_MIN, INT64_MAX), *in[2] = {x, x};
    return mlc_int_settle(g, mlc_int_random_node(g, "Mul", in, 2), 1);
}

/* --- Max, Min --- */

/* Where the intervals do not decide, lower takes the difference, either way round. */
static bool difference_fits(mlc_graph *g, mlc_node *node, int64_t i) {
    mlc_wide a = mlc_int_operand(node, 0, i), b = mlc_int_operand(node, 1, i), d = range_sub(b, a);
    if (a.lo >= b.hi || b.lo >= a.hi || (mlc_int_fits(-d.lo) && mlc_int_fits(d.lo) && mlc_int_fits(d.hi)))
        return true;
    return mlc_int_overflow(g, node, i, "the difference of the operands", d);
}

static mlc_wide range_max(mlc_wide a, mlc_wide b) {
    return (mlc_wide){mlc_int_max(a.lo, b.lo), mlc_int_max(a.hi, b.hi)};
}

static mlc_wide range_min(mlc_wide a, mlc_wide b) {
    return (mlc_wide){mlc_int_min(a.lo, b.lo), mlc_int_min(a.hi, b.hi)};
}

static bool extreme_interval(mlc_graph *g, mlc_node *node, mlc_wide (*combine)(mlc_wide a, mlc_wide b)) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        if (!difference_fits(g, node, i))
            return false;
    return interval_of_pairs(g, node, combine);
}

static bool max_interval(mlc_graph *g, mlc_node *node) {
    return extreme_interval(g, node, range_max);
}

static bool min_interval(mlc_graph *g, mlc_node *node) {
    return extreme_interval(g, node, range_min);
}

static void max_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        int64_t a = in[0][mlc_int_index(node, 0, i)], b = in[1][mlc_int_index(node, 1, i)];
        out[i] = a > b ? a : b;
    }
}

static void min_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        int64_t a = in[0][mlc_int_index(node, 0, i)], b = in[1][mlc_int_index(node, 1, i)];
        out[i] = a < b ? a : b;
    }
}

static void *max_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    mlc_wide a = mlc_int_operand(node, 0, i), b = mlc_int_operand(node, 1, i);
    if (a.lo >= b.hi)
        return mlc_int_lower_operand(l, node, 0, i);
    if (b.lo >= a.hi)
        return mlc_int_lower_operand(l, node, 1, i);
    return mlc_int_lower_binary(l, node, i, mlc_l_max);
}

static void *min_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    mlc_wide a = mlc_int_operand(node, 0, i), b = mlc_int_operand(node, 1, i);
    if (a.hi <= b.lo)
        return mlc_int_lower_operand(l, node, 0, i);
    if (b.hi <= a.lo)
        return mlc_int_lower_operand(l, node, 1, i);
    return mlc_int_lower_binary(l, node, i, mlc_l_min);
}

static mlc_node *max_generate(mlc_graph *g, mlc_rng *rng) {
    return mlc_int_generate_broadcast(g, rng, "Max", 2);
}

static mlc_node *min_generate(mlc_graph *g, mlc_rng *rng) {
    return mlc_int_generate_broadcast(g, rng, "Min", 2);
}

/* --- Abs, Neg --- */

static bool abs_interval(mlc_graph *g, mlc_node *node) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        mlc_wide x = mlc_int_range(node->in[0], i);
        mlc_wide r = {x.lo > 0 ? x.lo : x.hi < 0 ? -x.hi : 0, mlc_int_max(-x.lo, x.hi)};
        if (!mlc_int_bound(g, node, i, r))
            return false;
    }
    return true;
}

static void abs_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        out[i] = in[0][i] < 0 ? -in[0][i] : in[0][i];
}

static void *abs_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    mlc_wide range = mlc_int_range(node->in[0], i);
    LLVMValueRef x = mlc_l_input(l, node->in[0], i);
    if (range.lo >= 0)
        return x;
    if (range.hi <= 0)
        return mlc_l_mul_const(l, x, -1);
    LLVMValueRef mask = mlc_l_sign_mask(l, x);
    return mlc_l_sub(l, mlc_l_xor(l, x, mask), mask);
}

static mlc_node *abs_generate(mlc_graph *g, mlc_rng *rng) {
    return mlc_int_generate_unary(g, rng, "Abs", INT64_MIN, INT64_MAX);
}

static bool neg_interval(mlc_graph *g, mlc_node *node) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        mlc_wide x = mlc_int_range(node->in[0], i);
        if (!mlc_int_bound(g, node, i, (mlc_wide){-x.hi, -x.lo}))
            return false;
    }
    return true;
}

static void neg_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        out[i] = -in[0][i];
}

static void *neg_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    return mlc_l_mul_const(l, mlc_l_input(l, node->in[0], i), -1);
}

static mlc_node *neg_generate(mlc_graph *g, mlc_rng *rng) {
    return mlc_int_generate_unary(g, rng, "Neg", INT64_MIN, INT64_MAX);
}

static int64_t extreme_cost(const mlc_node *node) {
    (void)node;
    return 8;
}

#define BINARY(op, text, cost_fn)                                                                            \
    .domain = "mlc", .since = 1, .doc = text, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,          \
    .check = mlc_int_check_broadcast, .interval = op##_interval, .eval_int = op##_eval, .lower = op##_lower, \
    .reads = mlc_int_reads_broadcast, .cost = cost_fn, .elementwise = 2, .generate = op##_generate
#define UNARY(op, text)                                                                                  \
    .domain = "mlc", .since = 1, .doc = text, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,      \
    .check = mlc_int_check_unary, .interval = op##_interval, .eval_int = op##_eval, .lower = op##_lower, \
    .elementwise = 1, .generate = op##_generate

MLC_OPS(IntArith, {.name = "Add", BINARY(add, "a + b", NULL)}, {.name = "Sub", BINARY(sub, "a - b", NULL)},
        {.name = "Mul", BINARY(mul, "a * b", NULL)},
        {.name = "Max", BINARY(max, "the larger of a and b", extreme_cost)},
        {.name = "Min", BINARY(min, "the smaller of a and b", extreme_cost)},
        {.name = "Abs", UNARY(abs, "|x|")}, {.name = "Neg", UNARY(neg, "-x")});
