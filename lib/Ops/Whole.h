#ifndef MLC_OPS_WHOLE_H
#define MLC_OPS_WHOLE_H

#include "mlc/quantize.h"

/* Builders for values of ONNX's integer types (scale 1, exact), and for rounding to whole numbers. */

/* v wrapped to the width of integer type t as two's complement does; v itself
 * where its interval fits the type. */
mlc_value *mlc_q_wrap(mlc_quant *q, mlc_value *v, mlc_dtype t);

/* The integer op `op` of two values (Add, Sub, Mul, ...), in full: an overflow of int64 is reported. */
mlc_value *mlc_q_exact(mlc_quant *q, const char *op, mlc_value *a, mlc_value *b);

/* a / b truncated toward zero. Reports where b is not proved to keep away from 0. */
mlc_value *mlc_q_truncated(mlc_quant *q, mlc_value *a, mlc_value *b);

typedef enum mlc_rounding { MLC_ROUND_FLOOR, MLC_ROUND_CEIL, MLC_ROUND_HALF_EVEN } mlc_rounding;

/* v rounded to whole numbers, with scale 1 or a power of two above. Exact for
 * exact values; the error of others includes the steps they may cross. */
mlc_value *mlc_q_round(mlc_quant *q, mlc_value *v, mlc_rounding mode);

#endif
