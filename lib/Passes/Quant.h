#ifndef MLC_QUANT_H
#define MLC_QUANT_H

/* What the builders of quantize.h share; nothing outside lib/Passes needs it. */
#include "mlc/quantize.h"

__extension__ typedef __int128 mlc_int128;

enum {
    MLC_WORK_BITS = 31,  /* of a value that later nodes read, magnitude */
    MLC_WIDE_BITS = 46,  /* at most, where the range is wide */
    MLC_WORK_FRACTION = 17, /* resolution that justifies more than MLC_WORK_BITS */
    MLC_ACCUMULATOR_BITS = 62, /* of products and sums: one bit below int64 for rounding addends */
    MLC_WEIGHT_BITS = 30, /* of a weight: a signed 32-bit immediate */
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

#endif
