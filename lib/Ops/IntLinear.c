/* Linear: y[m,n] = bias[n] + sum over k of w[n,k] * x[m,k]. */
#include "Int.h"
#include "IntLower.h"
#include "IntPairs.h"

static int64_t inner(const mlc_node *node) {
    return node->in[1]->shape.dim[1];
}

static int64_t outer(const mlc_node *node) {
    return node->in[1]->shape.dim[0];
}

static bool linear_check(mlc_graph *g, mlc_node *node) {
    if (!mlc_int_check(g, node) || !mlc_int_constant(g, node, 1) || !mlc_int_constant(g, node, 2))
        return false;
    const mlc_shape *w = &node->in[1]->shape, *bias = &node->in[2]->shape;
    if (w->rank != 2 || w->dim[0] < 1 || w->dim[1] < 1)
        return mlc_error_at(g->diag, node, "the weights have shape %s, expected [N,K]",
                            mlc_shape_str(g->arena, w));
    int64_t n = outer(node), k = inner(node), elements = mlc_int_elements(node->in[0]);
    if (bias->rank != 1 || bias->dim[0] != n)
        return mlc_error_at(g->diag, node, "the bias has shape %s, expected [%lld]",
                            mlc_shape_str(g->arena, bias), (long long)n);
    if (elements % k)
        return mlc_error_at(g->diag, node, "the input has %lld elements, which is no multiple of %lld",
                            (long long)elements, (long long)k);
    mlc_shape shape = {.rank = 2, .dim = {elements / k, n}};
    if (mlc_shape_elements(&shape) > MLC_MAX_ELEMENTS)
        return mlc_error_at(g->diag, node, "the result is too large");
    return mlc_int_reshape(g, node, &shape) && mlc_int_packing_check(g, node);
}

static bool linear_interval(mlc_graph *g, mlc_node *node) {
    const int64_t *w = node->in[1]->constant->i, *bias = node->in[2]->constant->i;
    int64_t N = outer(node), K = inner(node), M = mlc_int_elements(node->in[0]) / K;
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) {
            mlc_int_sum sum = {0};
            bool fits = mlc_int_sum_add(&sum, (mlc_wide){bias[n], bias[n]});
            for (int64_t k = 0; k < K && fits; k++) {
                mlc_wide c = {w[n * K + k], w[n * K + k]};
                fits = mlc_int_sum_add(&sum, mlc_int_product(c, mlc_int_range(node->in[0], m * K + k)));
            }
            if (!fits)
                return mlc_int_overflow(g, node, m * N + n, "the accumulator", sum.partial);
            if (!mlc_int_bound(g, node, m * N + n, sum.total))
                return false;
        }
    return mlc_int_packing_fits(g, node);
}

static void linear_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    int64_t N = outer(node), K = inner(node), M = mlc_int_elements(node->in[0]) / K;
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) {
            int64_t sum = in[2][n];
            for (int64_t k = 0; k < K; k++)
                sum += in[1][n * K + k] * in[0][m * K + k];
            out[m * N + n] = sum;
        }
}

static void *linear_lower(mlc_lower *l, const mlc_node *node, int64_t index) {
    const int64_t *w = node->in[1]->constant->i, *bias = node->in[2]->constant->i;
    int64_t N = outer(node), K = inner(node), m = index / N;
    if (N == 1 && mlc_int_pairs_lower(l, node, index))
        return NULL;
    mlc_int_block block = mlc_int_block_of(node, index - m * N, N, N, m * N, 1);
    int64_t c[MLC_INT_WORDS * MLC_INT_LANES];
    const int64_t *starts;
    int64_t n_chunks = mlc_int_chunks(node, &starts);
    for (int64_t chunk = 0; chunk < n_chunks; chunk++) {
        for (int64_t k = mlc_int_chunk_begin(node, chunk); k < mlc_int_chunk_begin(node, chunk + 1); k++) {
            for (int j = 0; j < block.n; j++)
                c[j] = w[block.channel[j] * K + k];
            mlc_int_block_add(l, &block, node->in[0], m * K + k, c);
        }
        for (int j = 0; j < block.n && n_chunks > 1; j++)
            c[j] = mlc_int_chunk_start(node, m, block.channel[j], chunk);
        if (n_chunks > 1)
            mlc_int_block_end_chunk(l, &block, c);
    }
    for (int j = 0; j < block.n; j++)
        c[j] = bias[block.channel[j]];
    mlc_int_block_close(l, &block, c);
    mlc_int_block_finish(l, &block);
    return NULL;
}

static int64_t linear_order(const mlc_node *node, int64_t step) {
    int64_t N = outer(node);
    return step / N * N + mlc_int_packing_order(node, step % N);
}

static int64_t linear_reads(const mlc_node *node, int k) {
    return k == 0 ? outer(node) : 1;
}

/* Small ones, or such that products with x are up to some size. */
static mlc_value *byte_weights(mlc_graph *g, mlc_rng *rng, const mlc_value *x, const mlc_shape *shape) {
    int64_t most = mlc_int_chance(rng, 2) ? 127 : mlc_rng_range(rng, 1, 9), n = mlc_shape_elements(shape),
            product = mlc_int_chance(rng, 3) ? (int64_t)1 << mlc_rng_range(rng, 20, 32) : 0;
    int64_t *w = MLC_NEW_ARRAY(g->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++) {
        int64_t limit = product ? product / (x->hi[i % shape->dim[1]] + 1) : most;
        w[i] = mlc_rng_range(rng, -limit, limit);
    }
    return mlc_int_new_constant(g, w, shape);
}

static mlc_node *linear_generate(mlc_graph *g, mlc_rng *rng) {
    int64_t M = mlc_rng_range(rng, 1, 2), N = mlc_rng_range(rng, 1, 9), K = mlc_rng_range(rng, 1, 16);
    static const int64_t limits[] = {255, 255, 255, 4095, 100000};
    bool bytes = mlc_int_chance(rng, 4); /* many lanes, in several blocks and chunks, or pairs of inputs */
    int64_t most = limits[mlc_rng_range(rng, 0, 4)];
    if (bytes)
        N = mlc_int_chance(rng, 3) ? 1 : mlc_rng_range(rng, 1, 40), K = mlc_rng_range(rng, 1, 80);
    mlc_shape x = {.rank = 2, .dim = {M, K}}, w = {.rank = 2, .dim = {N, K}}, bias = mlc_int_vector(N);
    if (mlc_int_chance(rng, 3))
        x = mlc_int_vector(M * K);
    mlc_value *v = mlc_int_random_input(g, rng, &x, bytes ? 0 : INT64_MIN, bytes ? most : INT64_MAX);
    mlc_value *in[3] = {v, bytes ? byte_weights(g, rng, v, &w) : mlc_int_random_constant(g, rng, &w),
                        mlc_int_random_constant(g, rng, &bias)};
    return mlc_int_random_packing(g, mlc_int_settle(g, mlc_int_random_node(g, "Linear", in, 3), 7), rng);
}

MLC_OPS(IntLinear,
        {.domain = "mlc",
         .name = "Linear",
         .since = 1,
         .doc = "y[m,n] = bias[n] + sum of w[n,k] * x[m,k]; inputs x, w [N,K], bias [N]",
         .min_in = 3,
         .max_in = 3,
         .min_out = 1,
         .max_out = 1,
         .attrs =
             (const mlc_attr_spec[]){MLC_INT_PACKING_ATTRS, MLC_INT_CHUNKS_ATTR, {"roll", MLC_ATTR_INT}, {0}},
         .check = linear_check,
         .interval = linear_interval,
         .eval_int = linear_eval,
         .lower = linear_lower,
         .block = true,
         .order = linear_order,
         .reads = linear_reads,
         .cost = mlc_int_cost_weights,
         .generate = linear_generate});
