#ifndef MLC_CODEGEN_DENSELANES_H
#define MLC_CODEGEN_DENSELANES_H

#include "Dense.h"

/* How the inputs of a dense layer are cut into chunks, and its outputs put into lanes. */

typedef __int128 mlc_dense_wide;

const mlc_dense_range *mlc_dense_inputs(mlc_lower *l, const mlc_dense *d);
/* Distance between the least and the largest sum over inputs [first, last) of output n. */
mlc_dense_wide mlc_dense_spread(const mlc_dense *d, int64_t n, int64_t first, int64_t last);
/* The least of these sums. */
mlc_dense_wide mlc_dense_lowest(const mlc_dense *d, int64_t n, int64_t first, int64_t last);
int mlc_dense_bits(mlc_dense_wide x);

/* Chooses lanes and chunks by what one output costs, in multiplications, which is returned. */
double mlc_dense_choose_lanes(mlc_lower *l, mlc_dense *d);
/* The same for outputs that are limited in groups. Changes nothing and returns false where they are not, or
 * cost more than `most`. */
bool mlc_dense_clamp(mlc_lower *l, mlc_dense *d, double most);

#endif
