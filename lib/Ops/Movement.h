#ifndef MLC_OPS_MOVEMENT_H
#define MLC_OPS_MOVEMENT_H

#include "mlc/quantize.h"

/*
 * What the ops that move data share: reading small integer tensors in infer, and
 * one quantize for all of them.
 */

/* Reports unless input k is there and is INT32 or INT64. */
bool mlc_infer_integer(mlc_graph *g, mlc_node *node, int k);

/* Whether a number from an attribute names a type of numbers that mlc has. */
bool mlc_dtype_is_number(int64_t dtype);

/* Reports input k being missing or a string: the op computes with its elements. */
bool mlc_infer_number(mlc_graph *g, mlc_node *node, int k);

/* Input k as a constant vector (or scalar) of INT32 or INT64; NULL after reporting. */
const mlc_tensor *mlc_infer_ints(mlc_graph *g, mlc_node *node, int k);

/* Input k must be a constant of one INT32 or INT64 element. */
bool mlc_infer_int(mlc_graph *g, mlc_node *node, int k, int64_t *x);

/* Reports unless inputs a and b have one dtype. */
bool mlc_infer_same_dtype(mlc_graph *g, mlc_node *node, int a, int b);

/* An index in [-n, n-1], where a negative one counts from the end, as one in [0, n-1];
 * n > 0. One outside is moved to the nearest end, which is what the integer model does. */
int64_t mlc_wrap_index(int64_t index, int64_t n);

/* Reports an element of constant input k outside [-n, n-1], and n = 0. Input k may
 * be missing its value: then only n is looked at. */
bool mlc_infer_indices(mlc_graph *g, mlc_node *node, int k, int64_t n);

/* Whether the node has input k, and output k. */
bool mlc_has_in(const mlc_node *node, int k);
bool mlc_has_out(const mlc_node *node, int k);

/*
 * Quantizes a node whose outputs hold nothing but elements of its data inputs and
 * `fill`. The op's own eval says which: it is run on integer tensors that number
 * the elements of those inputs from 1 on, so that 0, which eval must write where
 * there is no element, stands for `fill`. The n_control inputs from `control` on
 * say where things go and must be constant; otherwise this is reported.
 */
bool mlc_quantize_movement(mlc_quant *q, const mlc_node *node, int control, int n_control, double fill);

/* The same where input 0 is the only data, and without fill; ready to be used as a row's quantize. */
bool mlc_quantize_move(mlc_quant *q, const mlc_node *node);

/* Quantizes a node whose outputs are whole numbers that depend on nothing but
 * shapes and constants, by evaluating it. */
bool mlc_quantize_static(mlc_quant *q, const mlc_node *node);

/* Binds output 0 to the elements of input 0 in their order. */
bool mlc_quantize_reshape(mlc_quant *q, const mlc_node *node);

/* mlc_wrap_index of each element of an integer value. NULL after reporting. */
mlc_value *mlc_q_wrap_index(mlc_quant *q, mlc_value *index, int64_t n);

/* out[i*row + j] = table[index[i]*row + j]; every index is in the table. `table` is
 * a constant of the shaped graph, whose elements are taken in the order `order` (NULL:
 * as they are); the result has `shape`. NULL after reporting. */
mlc_value *mlc_q_take(mlc_quant *q, const mlc_value *table, const int64_t *order, mlc_value *index,
                      int64_t row, const mlc_shape *shape);

#endif
