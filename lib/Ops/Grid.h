#ifndef MLC_OPS_GRID_H
#define MLC_OPS_GRID_H

#include "Real.h"

/*
 * What the quantization ops share. A tensor q of an integer type stands for
 * (q - zero) * scale, where scale and zero point are one for the whole tensor,
 * one for each index of an axis, or one for each block of indices of an axis.
 */

/* `x` rounded to float: the operators are specified in float arithmetic. */
static inline double mlc_f32(double x) {
    return mlc_dtype_round(MLC_FLOAT, x);
}

/* round-half-even(x) + zero, saturated to integer type t. NaN gives 0. */
int64_t mlc_to_grid(mlc_dtype t, double x, int64_t zero);

/* Element k of an optional zero point: 0 where it is omitted, the single one where it has but one. */
int64_t mlc_grid_zero(const mlc_tensor *zero, int64_t k);
/* Likewise for a scale. */
double mlc_grid_scale(const mlc_tensor *scale, int64_t k);

/* Where in scale and zero point the parameters of element i of a tensor of shape
 * x are. `block` 0: no blocks. */
int64_t mlc_grid_index(const mlc_shape *scale, const mlc_shape *x, int axis, int64_t block, int64_t i);

/* Checks inputs `scale` and `zero` (an index the node may not have) against each
 * other, and that they have one element or, if `many` is not 0, that many. */
bool mlc_grid_check(mlc_graph *g, const mlc_node *node, int scale, int zero, int64_t many);

/* Input k of a node; NULL when omitted. */
const mlc_value *mlc_input(const mlc_node *node, int k);
const mlc_tensor *mlc_operand(const mlc_node *node, const mlc_tensor *const *in, int k);

/* --- builders --- */

/* Scales and zero points as arrays of a shape that broadcasts to the tensor's. */
typedef struct mlc_grid {
    mlc_shape shape;
    const double *scale;
    const int64_t *zero; /* NULL: all 0 */
} mlc_grid;

/* The grid of inputs `scale` and `zero` for a tensor of shape x, which must be
 * constant: NULL axis information (axis -1) means one element. Reports. */
bool mlc_q_grid(mlc_quant *q, const mlc_node *node, int scale, int zero, const mlc_shape *x, int axis,
                int64_t block, mlc_grid *grid);

/* q -> (q - zero) * scale. */
mlc_value *mlc_q_from_grid(mlc_quant *q, mlc_value *v, const mlc_grid *grid);
/* q -> q - zero, an integer. */
mlc_value *mlc_q_centered(mlc_quant *q, mlc_value *v, const mlc_grid *grid);
/* x -> saturate(round(x / scale) + zero), of type t. */
mlc_value *mlc_q_to_grid(mlc_quant *q, mlc_value *v, const mlc_grid *grid, mlc_dtype t);

#endif
