#ifndef MLC_OPS_FORM_H
#define MLC_OPS_FORM_H

#include "Grid.h"
#include "Product.h"

#include "mlc/form.h"

/* How ops hand exact forms on (form.h). All return false, without a report, where
 * there is no form: the op's own quantize then does what it can. */

/* A node computed element by element, from one form and constants, or from two forms. */
bool mlc_form_elementwise(mlc_quant *q, const mlc_node *node);
/* Data movement: elements of the inputs in another order, or 0. */
bool mlc_form_movement(mlc_quant *q, const mlc_node *node);
bool mlc_form_concat(mlc_quant *q, const mlc_node *node);
/* Dot products of quantized tensors. */
bool mlc_form_matmul(mlc_quant *q, const mlc_node *node);
bool mlc_form_gemm(mlc_quant *q, const mlc_node *node);
bool mlc_form_conv(mlc_quant *q, const mlc_node *node);
/* Largest, and sum or mean, of windows or along axes. */
bool mlc_form_pool(mlc_quant *q, const mlc_node *node);
bool mlc_form_reduce(mlc_quant *q, const mlc_node *node);
bool mlc_form_dequantize(mlc_quant *q, const mlc_node *node);

/* The form `f` behind a node: input `at` of it, with constants for all others. */
mlc_form *mlc_form_through(mlc_quant *q, const mlc_node *node, int at, const mlc_form *f);

/* x broadcast to `shape`. */
mlc_value *mlc_form_spread(mlc_quant *q, mlc_value *x, const mlc_shape *shape);
/* One element of a tensor, as [1]. */
const mlc_tensor *mlc_form_element(mlc_quant *q, const mlc_tensor *t, int64_t i);

/* Binds `v`, of integer type, to the step function that `f` is. */
bool mlc_form_bind_step(mlc_quant *q, const mlc_value *v, const mlc_form *f);

/* The elements x.flat[index[i]] as `shape`, err kept. */
mlc_value *mlc_form_take(mlc_quant *q, mlc_value *x, const int64_t *index, const mlc_shape *shape);

/*
 * Weights as integers: w[i] = number[i] * scale[i / row], each exactly what float
 * arithmetic makes of the product. One scale for all where there is one.
 * False: the weights do not lie on grids of at most 255 steps on either side.
 */
bool mlc_form_weights(mlc_arena *arena, const double *w, int64_t n, int64_t row, int64_t *number,
                      double *scale);

/* x as [batch*M, K], in the order of the result's rows. */
mlc_value *mlc_form_rows(mlc_quant *q, const mlc_product *p, mlc_value *x);

/* y[m,n] = bias[n] + sum over k of w[n*K+k] * x[m,k], all integers. Errors of x, in its units, carry over. */
mlc_value *mlc_q_integer_linear(mlc_quant *q, mlc_value *x, const int64_t *w, const int64_t *bias, int64_t N,
                                int64_t K, const mlc_shape *shape);
/* A convolution of integers; what lies outside of x counts as `padding`. */
mlc_value *mlc_q_integer_conv(mlc_quant *q, mlc_value *x, int64_t padding, const int64_t *w,
                              const mlc_shape *w_shape, const int64_t *bias,
                              const mlc_conv_geometry *geometry, const mlc_shape *shape);

#endif
