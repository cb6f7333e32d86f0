#ifndef MLC_OPS_PRODUCT_H
#define MLC_OPS_PRODUCT_H

#include "mlc/quantize.h"

/*
 * A product of matrices, broadcast over leading dimensions as numpy's matmul does:
 * y[i,m,n] = sum over k of a[i,m,k] * b[i,k,n]. What Gemm and all kinds of MatMul share.
 */
typedef struct mlc_product {
    int64_t batch, M, K, N;
    mlc_shape batch_shape, a_batch, b_batch;
    bool trans_a, trans_b; /* a is stored as [K,M], b as [N,K] */
} mlc_product;

/* The product of `a` and `b`, which may be vectors, and the shape of its result.
 * Reports shapes that do not fit; with g NULL, after infer has passed, it cannot fail. */
bool mlc_product_of(mlc_graph *g, const mlc_node *node, const mlc_shape *a, const mlc_shape *b, bool trans_a,
                    bool trans_b, mlc_product *p, mlc_shape *shape);

/* Flat index of a[i,m,k] and b[i,k,n]. */
int64_t mlc_product_a(const mlc_product *p, int64_t i, int64_t m, int64_t k);
int64_t mlc_product_b(const mlc_product *p, int64_t i, int64_t k, int64_t n);

/* One element of (a - a_zero) * (b - b_zero). Exact for 8- and 16-bit integers. */
double mlc_product_sum(const mlc_product *p, const mlc_tensor *a, double a_zero, const mlc_tensor *b,
                       double b_zero, int64_t i, int64_t m, int64_t n);

/* y = alpha * a * b, for tensors of one dtype; alpha is for float types only. */
void mlc_product_eval(const mlc_product *p, double alpha, const mlc_tensor *a, const mlc_tensor *b,
                      mlc_tensor *y);

/* The same of integer values, plus `bias` of N elements or NULL; the result has `shape`. */
mlc_value *mlc_q_product(mlc_quant *q, const mlc_product *p, double alpha, const mlc_value *a,
                         const mlc_value *b, const double *bias, const mlc_shape *shape);

/* The product of a value and a constant, and of two values. */
mlc_value *mlc_q_product_right(mlc_quant *q, const mlc_product *p, double alpha, mlc_value *a,
                               const mlc_tensor *b, const double *bias, const mlc_shape *shape);
mlc_value *mlc_q_product_both(mlc_quant *q, const mlc_product *p, mlc_value *a, mlc_value *b,
                              const mlc_shape *shape);

/* The exact product of integer values (scale 1), constant or not. */
mlc_value *mlc_q_integer_product(mlc_quant *q, const mlc_product *p, mlc_value *a, mlc_value *b,
                                 const mlc_shape *shape);

#endif
