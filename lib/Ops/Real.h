#ifndef MLC_OPS_REAL_H
#define MLC_OPS_REAL_H

#include "Elementwise.h"

/* Help for the ops of real arithmetic: activations, functions, normalizations. */

/* Input k must be of a float type: reported otherwise. An omitted input passes. */
bool mlc_need_float(mlc_graph *g, const mlc_node *node, int k);
/* One float input, output 0 like it. Ready to be used as a row's infer. */
bool mlc_infer_real(mlc_graph *g, mlc_node *node);

/* Binds output 0 to `v`; false when v is NULL, after a builder has reported. */
bool mlc_q_result(mlc_quant *q, const mlc_node *node, mlc_value *v);

/* Smallest and largest real value of any element. */
double mlc_q_min_real(const mlc_value *v);
double mlc_q_max_real(const mlc_value *v);

/* Adds `amount` to the error bound of every element of a value that nothing reads yet. */
void mlc_q_widen(mlc_quant *q, mlc_value *v, double amount);

/* v times, plus, and clamped to real scalars. */
mlc_value *mlc_q_scale_by(mlc_quant *q, mlc_value *v, double c);
mlc_value *mlc_q_shift_by(mlc_quant *q, mlc_value *v, double c);
mlc_value *mlc_q_at_least(mlc_quant *q, mlc_value *v, double c);
mlc_value *mlc_q_at_most(mlc_quant *q, mlc_value *v, double c);

/* v, whose real values are known to lie in [-most, most]: clamped, and no error exceeds that range. */
mlc_value *mlc_q_within(mlc_quant *q, mlc_value *v, double most);

/* A lower bound of a value of the shaped graph, from its interval and from the model's structure. */
double mlc_q_least(const mlc_quant *q, const mlc_value *v);

/* Whether v is x - max(x), and so never positive, as its interval does not tell. */
bool mlc_minus_maximum(const mlc_value *v);

/*
 * The divisor b, which stands for v: where v stayed far above what is proved of it in
 * all of the calibration data, it saturates somewhat below what was seen. Otherwise b.
 */
mlc_value *mlc_q_divisor(mlc_quant *q, const mlc_value *v, mlc_value *b);

/* a / b of reals, where b is proved to be at least `least` > 0, or where b's
 * interval excludes 0; reported otherwise. */
mlc_value *mlc_q_divide(mlc_quant *q, mlc_value *a, mlc_value *b, double least);
/* The same where the quotient is known to lie in [-most, most], and where it is all of
 * value `of`, of which calibration may have seen the range: its digits stay. */
mlc_value *mlc_q_divide_within(mlc_quant *q, mlc_value *a, mlc_value *b, double least, double most);
mlc_value *mlc_q_divide_seen(mlc_quant *q, const mlc_value *of, mlc_value *a, mlc_value *b, double least);
/* The sign of each element, 1 or -1, as a constant: NULL where an interval (with its
 * error) does not exclude 0. */
mlc_value *mlc_q_signs(mlc_quant *q, const mlc_value *v);
/* v times such signs. */
mlc_value *mlc_q_times_sign(mlc_quant *q, mlc_value *v, mlc_value *sign);

/* Square root of a value that is never negative; negative parts of the interval
 * (an artefact of its error bound) count as 0. */
mlc_value *mlc_q_sqrt(mlc_quant *q, mlc_value *v);

/* Softmax of x along the axis of `view`. */
mlc_value *mlc_q_softmax(mlc_quant *q, mlc_value *x, mlc_axis_view view);

/*
 * The n numbers x of a mask, a constant that `node` adds to `other` or puts in place of
 * its elements. Where nothing but Softmax reads the result and the least of the numbers,
 * -inf for one, puts elements out of sight of all others, as exp of the distance is 0, it
 * is replaced by one near enough for fixed point. Otherwise x itself.
 */
const double *mlc_q_mask(mlc_quant *q, const mlc_node *node, const double *x, int64_t n,
                         const mlc_value *other);

/* The reals of a constant float or integer tensor; arena-allocated. */
const double *mlc_reals(mlc_arena *arena, const mlc_tensor *t);

#endif
