/* Less and Equal give 0 or 1; Where chooses by such a value. */
#include "Int.h"
#include "IntLower.h"

static bool less_interval(mlc_graph *g, mlc_node *node) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        mlc_wide a = mlc_int_operand(node, 0, i), b = mlc_int_operand(node, 1, i);
        mlc_wide r = {a.hi < b.lo, a.lo < b.hi}, d = {a.lo - b.hi, a.hi - b.lo};
        if (r.lo != r.hi && (!mlc_int_fits(d.lo) || !mlc_int_fits(d.hi)))
            return mlc_int_overflow(g, node, i, "the difference of the operands", d);
        if (!mlc_int_bound(g, node, i, r))
            return false;
    }
    return true;
}

static void less_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        out[i] = in[0][mlc_int_index(node, 0, i)] < in[1][mlc_int_index(node, 1, i)];
}

/* True when the interval leaves one value. */
static bool decided(const mlc_node *node, int64_t i) {
    return node->out[0]->lo[i] == node->out[0]->hi[i];
}

static void *less_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    if (decided(node, i))
        return mlc_l_const(l, node->out[0]->lo[i]);
    LLVMValueRef a = mlc_int_lower_operand(l, node, 0, i), b = mlc_int_lower_operand(l, node, 1, i);
    return mlc_l_is_negative(l, mlc_l_sub(l, a, b));
}

static bool equal_interval(mlc_graph *g, mlc_node *node) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        mlc_wide a = mlc_int_operand(node, 0, i), b = mlc_int_operand(node, 1, i);
        bool always = a.lo == a.hi && b.lo == b.hi && a.lo == b.lo, ever = a.lo <= b.hi && b.lo <= a.hi;
        if (!mlc_int_bound(g, node, i, (mlc_wide){always, ever}))
            return false;
    }
    return true;
}

static void equal_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        out[i] = in[0][mlc_int_index(node, 0, i)] == in[1][mlc_int_index(node, 1, i)];
}

/* Of d and -d one is negative, unless d is 0. */
static void *equal_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    if (decided(node, i))
        return mlc_l_const(l, node->out[0]->lo[i]);
    LLVMValueRef a = mlc_int_lower_operand(l, node, 0, i), b = mlc_int_lower_operand(l, node, 1, i);
    LLVMValueRef d = mlc_l_xor(l, a, b);
    LLVMValueRef differ = mlc_l_is_negative(l, mlc_l_or(l, d, mlc_l_sub(l, mlc_l_const(l, 0), d)));
    return mlc_l_xor(l, differ, mlc_l_const(l, 1));
}

static bool where_interval(mlc_graph *g, mlc_node *node) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        mlc_wide c = mlc_int_operand(node, 0, i), a = mlc_int_operand(node, 1, i),
                 b = mlc_int_operand(node, 2, i);
        if (c.lo < 0 || c.hi > 1)
            return mlc_error_at(g->diag, node,
                                "the condition of element %lld may be in [%lld, %lld], expected 0 or 1",
                                (long long)i, (long long)c.lo, (long long)c.hi);
        mlc_wide r = c.lo == 1   ? a
                     : c.hi == 0 ? b
                                 : (mlc_wide){mlc_int_min(a.lo, b.lo), mlc_int_max(a.hi, b.hi)};
        if (!mlc_int_bound(g, node, i, r))
            return false;
    }
    return true;
}

static void where_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        out[i] = in[0][mlc_int_index(node, 0, i)] ? in[1][mlc_int_index(node, 1, i)]
                                                  : in[2][mlc_int_index(node, 2, i)];
}

static void *where_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    mlc_wide range = mlc_int_operand(node, 0, i);
    if (range.lo == 1)
        return mlc_int_lower_operand(l, node, 1, i);
    if (range.hi == 0)
        return mlc_int_lower_operand(l, node, 2, i);
    LLVMValueRef c = mlc_int_lower_operand(l, node, 0, i);
    if (node->in[1]->constant && node->in[2]->constant)
        return mlc_int_choose_const(l, c, (int64_t)mlc_int_operand(node, 1, i).lo,
                                    (int64_t)mlc_int_operand(node, 2, i).lo);
    LLVMValueRef mask = mlc_l_sign_mask(l, mlc_l_sub(l, mlc_l_const(l, 0), c));
    LLVMValueRef a = mlc_int_lower_operand(l, node, 1, i), b = mlc_int_lower_operand(l, node, 2, i);
    return mlc_l_select(l, mask, a, b);
}

static int64_t compare_cost(const mlc_node *node) {
    (void)node;
    return 8;
}

static mlc_node *less_generate(mlc_graph *g, mlc_rng *rng) {
    return mlc_int_generate_broadcast(g, rng, "Less", 2);
}

static mlc_node *equal_generate(mlc_graph *g, mlc_rng *rng) {
    return mlc_int_generate_broadcast(g, rng, "Equal", 2);
}

static mlc_node *where_generate(mlc_graph *g, mlc_rng *rng) {
    mlc_shape shape = mlc_int_random_shape(rng, 16);
    mlc_value *in[3];
    for (int k = 0; k < 3; k++) {
        mlc_shape s = mlc_int_random_operand_shape(rng, &shape);
        if (k && mlc_int_chance(rng, 3))
            in[k] = mlc_int_random_constant(g, rng, &s);
        else
            in[k] = mlc_int_random_input(g, rng, &s, k ? INT64_MIN : 0, k ? INT64_MAX : 1);
    }
    return mlc_int_settle(g, mlc_int_random_node(g, "Where", in, 3), 0);
}

#define COMPARISON(op, inputs, text)                                                                    \
    .domain = "mlc", .since = 1, .doc = text, .min_in = inputs, .max_in = inputs, .min_out = 1,         \
    .max_out = 1, .check = mlc_int_check_broadcast, .interval = op##_interval, .eval_int = op##_eval,   \
    .lower = op##_lower, .reads = mlc_int_reads_broadcast, .cost = compare_cost, .elementwise = inputs, \
    .generate = op##_generate

MLC_OPS(IntCompare, {.name = "Less", COMPARISON(less, 2, "1 where a < b, else 0")},
        {.name = "Equal", COMPARISON(equal, 2, "1 where a = b, else 0")},
        {.name = "Where", COMPARISON(where, 3, "a where the condition is 1, b where it is 0")});
