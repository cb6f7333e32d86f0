/* MatMul: a [B,M,K] times b [B,K,N]. */
#include "Int.h"
#include "IntLower.h"

static bool matmul_check(mlc_graph *g, mlc_node *node) {
    if (!mlc_int_check(g, node))
        return false;
    const mlc_shape *a = &node->in[0]->shape, *b = &node->in[1]->shape;
    if (a->rank != 3 || b->rank != 3 || a->dim[0] != b->dim[0] || a->dim[2] != b->dim[1])
        return mlc_error_at(g->diag, node, "shapes %s and %s, expected [B,M,K] and [B,K,N]",
                            mlc_shape_str(g->arena, a), mlc_shape_str(g->arena, b));
    mlc_shape shape = {.rank = 3, .dim = {a->dim[0], a->dim[1], b->dim[2]}};
    return mlc_int_reshape(g, node, &shape);
}

static bool matmul_interval(mlc_graph *g, mlc_node *node) {
    const int64_t *a = node->in[0]->shape.dim, *b = node->in[1]->shape.dim;
    int64_t M = a[1], K = a[2], N = b[2];
    for (int64_t row = 0; row < a[0] * M; row++)
        for (int64_t n = 0; n < N; n++) {
            mlc_int_sum sum = {0};
            bool fits = true;
            for (int64_t k = 0; k < K && fits; k++)
                fits = mlc_int_sum_add(
                    &sum, mlc_int_product(mlc_int_range(node->in[0], row * K + k),
                                          mlc_int_range(node->in[1], (row / M * K + k) * N + n)));
            if (!fits)
                return mlc_int_overflow(g, node, row * N + n, "the accumulator", sum.partial);
            if (!mlc_int_bound(g, node, row * N + n, sum.total))
                return false;
        }
    return true;
}

static void matmul_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    const int64_t *a = node->in[0]->shape.dim, *b = node->in[1]->shape.dim;
    int64_t B = a[0], M = a[1], K = a[2], N = b[2];
    for (int64_t batch = 0; batch < B; batch++)
        for (int64_t m = 0; m < M; m++)
            for (int64_t n = 0; n < N; n++) {
                int64_t sum = 0;
                for (int64_t k = 0; k < K; k++)
                    sum += in[0][batch * M * K + m * K + k] * in[1][batch * K * N + k * N + n];
                out[batch * M * N + m * N + n] = sum;
            }
}

static void *matmul_lower(mlc_lower *l, const mlc_node *node, int64_t index) {
    int64_t M = node->in[0]->shape.dim[1], K = node->in[0]->shape.dim[2], N = node->in[1]->shape.dim[2];
    int64_t row = index / N;
    mlc_int_block block = mlc_int_block_of(node, index - row * N, N, N, row * N, 1);
    const int64_t zero[MLC_INT_WORDS] = {0};
    for (int64_t k = 0; k < K; k++) {
        LLVMValueRef a = mlc_l_input(l, node->in[0], row * K + k);
        for (int j = 0; j < block.n; j++) {
            int64_t n = block.out[j] - row * N;
            LLVMValueRef b = mlc_l_input(l, node->in[1], (row / M * K + k) * N + n);
            mlc_int_block_add_term(l, &block, j, mlc_l_mul(l, a, b));
        }
    }
    mlc_int_block_close(l, &block, zero);
    mlc_int_block_finish(l, &block);
    return NULL;
}

static int64_t matmul_reads(const mlc_node *node, int k) {
    int64_t uses = k == 0 ? node->in[1]->shape.dim[2] : node->in[0]->shape.dim[1];
    return uses > 1 ? uses : 1;
}

static int64_t matmul_cost(const mlc_node *node) {
    return 1 + 4 * node->in[0]->shape.dim[2];
}

static mlc_node *matmul_generate(mlc_graph *g, mlc_rng *rng) {
    int64_t B = mlc_rng_range(rng, 1, 2), M = mlc_rng_range(rng, 1, 4), K = mlc_rng_range(rng, 1, 6),
            N = mlc_rng_range(rng, 1, 6);
    mlc_shape a = {.rank = 3, .dim = {B, M, K}}, b = {.rank = 3, .dim = {B, K, N}};
    mlc_value *in[2] = {mlc_int_random_input(g, rng, &a, INT64_MIN, INT64_MAX), NULL};
    in[1] = mlc_int_chance(rng, 4) ? mlc_int_random_constant(g, rng, &b)
                                   : mlc_int_random_input(g, rng, &b, INT64_MIN, INT64_MAX);
    return mlc_int_settle(g, mlc_int_random_node(g, "MatMul", in, 2), 3);
}

MLC_OPS(IntMatMul, {.domain = "mlc",
                    .name = "MatMul",
                    .since = 1,
                    .doc = "product of the matrices a [B,M,K] and b [B,K,N]",
                    .min_in = 2,
                    .max_in = 2,
                    .min_out = 1,
                    .max_out = 1,
                    .check = matmul_check,
                    .interval = matmul_interval,
                    .eval_int = matmul_eval,
                    .lower = matmul_lower,
                    .block = true,
                    .reads = matmul_reads,
                    .cost = matmul_cost,
                    .generate = matmul_generate});
