/* Rescale: y = (x * multiplier + addend) >> shift, rounding down. */
#include "Int.h"
#include "IntLower.h"

static bool rescale_check(mlc_graph *g, mlc_node *node) {
    if (!mlc_int_check(g, node) || !mlc_int_constant(g, node, 1) || !mlc_int_constant(g, node, 2) ||
        !mlc_int_attr(g, node, "shift", 0, 62))
        return false;
    for (int k = 1; k <= 2; k++) {
        const mlc_shape *x = &node->in[0]->shape, *c = &node->in[k]->shape;
        mlc_shape both;
        if (!mlc_shape_broadcast(x, c, &both) || !mlc_shape_equal(x, &both))
            return mlc_error_at(g->diag, node, "input %d has shape %s, which does not broadcast to %s", k,
                                mlc_shape_str(g->arena, c), mlc_shape_str(g->arena, x));
    }
    return mlc_int_same_shape(g, node);
}

static bool rescale_interval(mlc_graph *g, mlc_node *node) {
    int shift = (int)mlc_attr_int(node, "shift", 0);
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        mlc_wide r = mlc_int_product(mlc_int_range(node->in[0], i), mlc_int_operand(node, 1, i));
        if (!mlc_int_fits(r.lo) || !mlc_int_fits(r.hi))
            return mlc_int_overflow(g, node, i, "the product", r);
        mlc_wide c = mlc_int_operand(node, 2, i);
        r = (mlc_wide){r.lo + c.lo, r.hi + c.hi};
        if (!mlc_int_fits(r.lo) || !mlc_int_fits(r.hi))
            return mlc_int_overflow(g, node, i, "the sum", r);
        if (!mlc_int_bound(g, node, i, (mlc_wide){r.lo >> shift, r.hi >> shift}))
            return false;
    }
    return true;
}

/* Division by 2^shift, rounding down, without relying on shifts of negative numbers. */
static int64_t floor_divide(int64_t x, int64_t power) {
    return x / power - (x % power < 0);
}

static void rescale_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    int64_t power = (int64_t)1 << mlc_attr_int(node, "shift", 0);
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        out[i] = floor_divide(in[0][i] * in[1][mlc_int_index(node, 1, i)] + in[2][mlc_int_index(node, 2, i)],
                              power);
}

static bool is_immediate(mlc_i128 c) {
    return c >= INT32_MIN && c <= INT32_MAX;
}

/* Whether x * multiplier + addend of element i is (x + *c) * multiplier, with an addend that no instruction
 * holds. */
static bool adds_in_front(const mlc_node *node, int64_t i, int64_t *c) {
    mlc_wide m = mlc_int_operand(node, 1, i), a = mlc_int_operand(node, 2, i);
    if (m.lo != m.hi || a.lo != a.hi || is_immediate(a.lo) || m.lo < 2 || a.lo % m.lo)
        return false;
    *c = (int64_t)(a.lo / m.lo);
    return true;
}

static void *rescale_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    LLVMValueRef x = mlc_l_input(l, node->in[0], i), sum = NULL;
    int64_t front;
    if (adds_in_front(node, i, &front))
        sum = mlc_l_add_immediate(l, x, front);
    LLVMValueRef y = mlc_l_mul(l, sum ? sum : x, mlc_int_lower_operand(l, node, 1, i));
    mlc_wide c = mlc_int_operand(node, 2, i);
    bool immediate = c.lo != c.hi || is_immediate(c.lo);
    if (!sum)
        y = mlc_l_add(l, y,
                      immediate ? mlc_int_lower_operand(l, node, 2, i) : mlc_l_pooled(l, (int64_t)c.lo));
    return mlc_l_ashr(l, y, (int)mlc_attr_int(node, "shift", 0));
}

static int64_t rescale_reads(const mlc_node *node, int k) {
    return k == 0 ? 1 : mlc_int_reads_broadcast(node, k);
}

static int64_t rescale_cost(const mlc_node *node) {
    int64_t front;
    return mlc_int_elements(node->out[0]) > 0 && adds_in_front(node, 0, &front) ? 5 : 7;
}

/* A grid for inputs of some width: the addend is a multiple of the multiplier. */
static mlc_node *generate_grid(mlc_graph *g, mlc_rng *rng) {
    static const int64_t ends[] = {INT8_MAX, INT16_MAX, INT32_MAX, INT32_MAX, (int64_t)1 << 40};
    int64_t hi = ends[mlc_rng_range(rng, 0, 4)], lo = mlc_int_chance(rng, 4) ? 0 : -hi - 1,
            multiplier = mlc_rng_range(rng, 1, 1 << 20), half = mlc_rng_range(rng, 0, 1 << 24);
    mlc_shape shape = mlc_int_random_shape(rng, 16), scalar = {0};
    int64_t *m = MLC_NEW(g->arena, int64_t), *a = MLC_NEW(g->arena, int64_t);
    *m = multiplier;
    *a = (half - lo) * multiplier;
    mlc_value *in[3] = {mlc_int_random_input(g, rng, &shape, lo, hi), mlc_int_new_constant(g, m, &scalar),
                        mlc_int_new_constant(g, a, &scalar)};
    mlc_node *node = mlc_int_random_node(g, "Rescale", in, 3);
    mlc_attr_set_int(g, node, "shift", mlc_rng_range(rng, 0, 50));
    return mlc_int_settle(g, node, 7);
}

static mlc_node *rescale_generate(mlc_graph *g, mlc_rng *rng) {
    if (mlc_int_chance(rng, 4))
        return generate_grid(g, rng);
    mlc_shape shape = mlc_int_random_shape(rng, 16), multiplier = mlc_int_random_operand_shape(rng, &shape),
              addend = mlc_int_random_operand_shape(rng, &shape);
    mlc_value *in[3] = {mlc_int_random_input(g, rng, &shape, INT64_MIN, INT64_MAX),
                        mlc_int_random_constant(g, rng, &multiplier),
                        mlc_int_random_constant(g, rng, &addend)};
    mlc_node *node = mlc_int_random_node(g, "Rescale", in, 3);
    int64_t shift = mlc_rng_range(rng, 0, mlc_int_chance(rng, 8) ? 62 : 12);
    if (shift)
        mlc_attr_set_int(g, node, "shift", shift);
    return mlc_int_settle(g, node, 7);
}

MLC_OPS(IntRescale,
        {.domain = "mlc",
         .name = "Rescale",
         .since = 1,
         .doc = "(x * multiplier + addend) >> shift, rounding down; constant multiplier and addend",
         .min_in = 3,
         .max_in = 3,
         .min_out = 1,
         .max_out = 1,
         .attrs = (const mlc_attr_spec[]){{"shift", MLC_ATTR_INT}, {0}},
         .check = rescale_check,
         .interval = rescale_interval,
         .eval_int = rescale_eval,
         .lower = rescale_lower,
         .reads = rescale_reads,
         .cost = rescale_cost,
         .elementwise = 3,
         .generate = rescale_generate});
