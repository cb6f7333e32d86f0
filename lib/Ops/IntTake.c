/* Take: rows of a constant table, chosen by values: out[i*row + j] = table[index[i]*row + j]. */
#include "Int.h"
#include "IntLower.h"

static int64_t row_of(const mlc_node *node) {
    return mlc_attr_int(node, "row", 1);
}

static bool take_check(mlc_graph *g, mlc_node *node) {
    if (!mlc_int_check(g, node) || !mlc_int_constant(g, node, 0))
        return false;
    int64_t row = row_of(node), n = mlc_int_elements(node->in[0]), count = mlc_int_elements(node->in[1]);
    if (row < 1 || n < row || n % row)
        return mlc_error_at(g->diag, node, "the table has %lld elements, which are not rows of %lld",
                            (long long)n, (long long)row);
    if (count > MLC_MAX_ELEMENTS / row)
        return mlc_error_at(g->diag, node, "the result is too large");
    mlc_shape shape = row == 1 ? node->in[1]->shape : (mlc_shape){.rank = 2, .dim = {count, row}};
    return mlc_int_reshape(g, node, &shape);
}

static bool take_interval(mlc_graph *g, mlc_node *node) {
    const int64_t *table = node->in[0]->constant->i;
    int64_t row = row_of(node), rows = mlc_int_elements(node->in[0]) / row;
    mlc_wide before = {0, -1};
    for (int64_t i = 0, count = mlc_int_elements(node->in[1]); i < count; i++) {
        mlc_wide at = mlc_int_range(node->in[1], i);
        if (at.lo < 0 || at.hi >= rows)
            return mlc_error_at(g->diag, node, "index %lld may be in [%lld, %lld]; the table has %lld rows",
                                (long long)i, (long long)at.lo, (long long)at.hi, (long long)rows);
        for (int64_t j = 0; j < row; j++) {
            mlc_wide r = {INT64_MAX, INT64_MIN};
            if (at.lo == before.lo && at.hi == before.hi) /* usual: all indices have one range */
                r = mlc_int_range(node->out[0], (i - 1) * row + j);
            else
                for (int64_t k = (int64_t)at.lo; k <= at.hi; k++) {
                    r.lo = mlc_int_min(r.lo, table[k * row + j]);
                    r.hi = mlc_int_max(r.hi, table[k * row + j]);
                }
            if (!mlc_int_bound(g, node, i * row + j, r))
                return false;
        }
        before = at;
    }
    return true;
}

static void take_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    int64_t row = row_of(node), count = mlc_int_elements(node->in[1]);
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < row; j++)
            out[i * row + j] = in[0][in[1][i] * row + j];
}

static void *take_lower(mlc_lower *l, const mlc_node *node, int64_t index) {
    int64_t row = row_of(node);
    LLVMValueRef at = mlc_l_mul_const(l, mlc_l_input(l, node->in[1], index / row), row);
    at = mlc_l_add(l, at, mlc_l_const(l, index % row));
    return mlc_l_table(l, node->in[0]->constant->i, mlc_int_elements(node->in[0]), at);
}

static int64_t take_reads(const mlc_node *node, int k) {
    return k == 0 ? mlc_int_elements(node->out[0]) : row_of(node);
}

static int64_t take_cost(const mlc_node *node) {
    (void)node;
    return 9;
}

static mlc_node *take_generate(mlc_graph *g, mlc_rng *rng) {
    int64_t row = mlc_rng_range(rng, 1, 5), rows = mlc_rng_range(rng, 1, 40);
    mlc_shape table = {.rank = 2, .dim = {rows, row}}, index = mlc_int_random_shape(rng, 12);
    mlc_value *in[2] = {mlc_int_random_constant(g, rng, &table),
                        mlc_int_random_input(g, rng, &index, 0, rows - 1)};
    mlc_node *node = mlc_int_random_node(g, "Take", in, 2);
    mlc_attr_set_int(g, node, "row", row);
    return mlc_int_settle(g, node, 0);
}

MLC_OPS(IntTake, {.domain = "mlc",
                  .name = "Take",
                  .since = 1,
                  .doc = "rows of a constant table, chosen by index values",
                  .min_in = 2,
                  .max_in = 2,
                  .min_out = 1,
                  .max_out = 1,
                  .attrs = (const mlc_attr_spec[]){{"row", MLC_ATTR_INT}, {0}},
                  .check = take_check,
                  .interval = take_interval,
                  .eval_int = take_eval,
                  .lower = take_lower,
                  .reads = take_reads,
                  .cost = take_cost,
                  .generate = take_generate});
