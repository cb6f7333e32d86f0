#ifndef MLC_QUANT_H
#define MLC_QUANT_H

/* What the builders of quantize.h share; nothing outside lib/Passes needs it. */
#include "mlc/pass.h"

__extension__ typedef __int128 mlc_int128;

enum {
    MLC_WORK_BITS = 31,        /* of a value that later nodes read, magnitude */
    MLC_WIDE_BITS = 46,        /* at most, where the range is wide */
    MLC_WORK_FRACTION = 17,    /* resolution that justifies more than MLC_WORK_BITS */
    MLC_ACCUMULATOR_BITS = 62, /* of products and sums: one bit below int64 for rounding addends */
    MLC_WEIGHT_BITS = 30,      /* of a weight: a signed 32-bit immediate */
};

int64_t mlc_q_elements(const mlc_value *v);
/* Largest |q| of the proven interval. */
int64_t mlc_q_magnitude(const mlc_value *v);
/* Bits of the magnitude: 0 for 0. */
int mlc_q_bits(uint64_t x);
/* err array of v, made when it is not there yet. */
double *mlc_q_err_array(mlc_quant *q, mlc_value *v);
/* Brings two values to one scale with room for a sum or difference in 62 bits.
 * Narrows where needed. */
bool mlc_q_align(mlc_quant *q, mlc_value **a, mlc_value **b);
/* An integer node with broadcasting inputs a and b. */
mlc_value *mlc_q_binary(mlc_quant *q, const char *op, mlc_value *a, mlc_value *b);
/* v shifted left by `bits`: the same numbers at a finer scale, exactly. */
mlc_value *mlc_q_shift_left(mlc_quant *q, mlc_value *v, int bits);
mlc_value *mlc_q_shift_right(mlc_quant *q, mlc_value *v, int bits);
/* Notes that `limited` is v within bounds that the real-valued model does not have. */
mlc_value *mlc_q_limited(mlc_quant *q, mlc_value *v, mlc_value *limited);
/* mlc_q_saturate with integer bounds. */
mlc_value *mlc_q_saturate_to(mlc_quant *q, mlc_value *v, int64_t lo, int64_t hi);
/* Attributes of the integer op Conv: strides, dilations, pads, group. */
enum { MLC_CONV_ATTRS = 4 };
mlc_attr *mlc_q_conv_attrs(mlc_quant *q, const mlc_conv_geometry *c);
/* saturate(half-even(float(x / scale)) + zero) to [lo, hi]. */
typedef struct mlc_input_grid {
    double scale;
    int64_t zero, lo, hi;
} mlc_input_grid;
/* The format that `spec` (--input-format) gives for a float input; *given: it gives
 * one. Reports and returns false on what cannot be read or names no float input. */
bool mlc_input_format(mlc_graph *graph, const char *spec, const mlc_value *input, mlc_input_grid *g,
                      bool *given);
/* The grid to which all readers of a float input quantize it; false: there is no such one. */
bool mlc_find_input_grid(const mlc_graph *graph, const mlc_value *input, mlc_input_grid *g);

/* Calls the node's quantize at its precision and limits the results to the margin
 * around what was seen. False, perhaps without a report, where that fails. */
bool mlc_q_rewrite(mlc_quant *q, const mlc_node *node);

/* Whether constants differ so much in size that mlc_q_mul_unequal is in place. */
bool mlc_q_unequal(const double *c, int64_t n);
/* v * c with a scale of its own for each constant. */
mlc_value *mlc_q_mul_unequal(mlc_quant *q, mlc_value *v, const double *c, const mlc_shape *shape);

#endif
