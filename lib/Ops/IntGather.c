/* Gather: out[i] is element index[i] of all inputs written one after the other. All
 * movement of data (Reshape, Transpose, Slice, Concat, Pad...) is this. */
#include "Int.h"
#include "IntLower.h"

static const mlc_value *index_of(const mlc_node *node) {
    return node->in[node->n_in - 1];
}

static bool gather_check(mlc_graph *g, mlc_node *node) {
    if (!mlc_int_check(g, node) || !mlc_int_constant(g, node, node->n_in - 1))
        return false;
    int64_t total = 0;
    for (int k = 0; k + 1 < node->n_in; k++)
        total += mlc_int_elements(node->in[k]);
    const mlc_value *index = index_of(node);
    for (int64_t i = 0, n = mlc_int_elements(index); i < n; i++)
        if (index->constant->i[i] < 0 || index->constant->i[i] >= total)
            return mlc_error_at(g->diag, node,
                                "index %lld of element %lld is outside the %lld elements of the inputs",
                                (long long)index->constant->i[i], (long long)i, (long long)total);
    return mlc_int_reshape(g, node, &index->shape);
}

/* The input that holds element `at` of all inputs, and the element's index in it. */
static int locate(const mlc_node *node, int64_t at, int64_t *element) {
    int k = 0;
    for (; at >= mlc_int_elements(node->in[k]); k++)
        at -= mlc_int_elements(node->in[k]);
    *element = at;
    return k;
}

static bool gather_interval(mlc_graph *g, mlc_node *node) {
    const int64_t *index = index_of(node)->constant->i;
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        int64_t element;
        int k = locate(node, index[i], &element);
        if (!mlc_int_bound(g, node, i, mlc_int_range(node->in[k], element)))
            return false;
    }
    return true;
}

static void gather_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    const int64_t *index = in[node->n_in - 1];
    int64_t first = 0;
    for (int k = 0; k + 1 < node->n_in; k++) {
        int64_t end = first + mlc_int_elements(node->in[k]);
        for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
            if (index[i] >= first && index[i] < end)
                out[i] = in[k][index[i] - first];
        first = end;
    }
}

static void *gather_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    int64_t element;
    int k = locate(node, index_of(node)->constant->i[i], &element);
    return mlc_l_input(l, node->in[k], element);
}

bool mlc_is_reshape(const mlc_node *node) {
    if (node->op != mlc_iop("Gather") || node->n_in != 2)
        return false;
    const mlc_tensor *index = index_of(node)->constant;
    int64_t n = mlc_shape_elements(&index->shape);
    for (int64_t i = 0; i < n; i++)
        if (index->i[i] != i)
            return false;
    return mlc_int_elements(node->in[0]) == n;
}

static int64_t gather_reads(const mlc_node *node, int k) {
    if (k == node->n_in - 1)
        return 1;
    int64_t first = 0;
    for (int j = 0; j < k; j++)
        first += mlc_int_elements(node->in[j]);
    const mlc_value *index = index_of(node);
    return mlc_int_multiplicity(index->constant->i, mlc_int_elements(index), first,
                                mlc_int_elements(node->in[k]));
}

static int64_t gather_cost(const mlc_node *node) {
    (void)node;
    return 2;
}

static mlc_node *gather_generate(mlc_graph *g, mlc_rng *rng) {
    mlc_value *in[5];
    int n = (int)mlc_rng_range(rng, 1, 4);
    int64_t total = 0;
    for (int k = 0; k < n; k++) {
        mlc_shape s = mlc_int_random_shape(rng, 12);
        in[k] = k && mlc_int_chance(rng, 5) ? mlc_int_random_constant(g, rng, &s)
                                            : mlc_int_random_input(g, rng, &s, INT64_MIN, INT64_MAX);
        total += mlc_shape_elements(&s);
    }
    mlc_shape shape = mlc_int_random_shape(rng, 24);
    int64_t count = mlc_shape_elements(&shape), *index = MLC_NEW_ARRAY(g->arena, count, int64_t);
    bool once = mlc_int_chance(rng, 2); /* each element at most once where there are enough */
    for (int64_t i = 0, start = mlc_rng_range(rng, 0, total - 1); i < count; i++)
        index[i] = once ? (start + i) % total : mlc_rng_range(rng, 0, total - 1);
    in[n] = mlc_int_new_constant(g, index, &shape);
    return mlc_int_settle(g, mlc_int_random_node(g, "Gather", in, n + 1), 0);
}

MLC_OPS(IntGather,
        {.domain = "mlc",
         .name = "Gather",
         .since = 1,
         .doc = "elements of the inputs, written one after the other, at constant indices (last input)",
         .min_in = 2,
         .max_in = -1,
         .min_out = 1,
         .max_out = 1,
         .check = gather_check,
         .interval = gather_interval,
         .eval_int = gather_eval,
         .lower = gather_lower,
         .reads = gather_reads,
         .cost = gather_cost,
         .generate = gather_generate});
