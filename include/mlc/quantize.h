#ifndef MLC_QUANTIZE_H
#define MLC_QUANTIZE_H

#include "mlc/op.h"
#include "mlc/spatial.h"

/*
 * SHAPED -> INTEGER. The pass walks the shaped graph in order and calls each
 * op's quantize, which builds integer values with the functions below and binds
 * them to the node's outputs with mlc_q_bind. Every builder appends integer
 * nodes, runs their interval functions, and carries the error bound forward:
 *
 *   value->err[i] >= |(q_i - zero)*scale - real_i|   for every input in the declared range.
 *
 * Builders return NULL after reporting. Values made by builders have zero = 0
 * unless stated; only graph inputs and outputs may have another.
 */
/* A value that `quantize` limits where the real-valued model does not.
 * The certified bounds hold for every sample on which `limited` equals `full`. */
typedef struct mlc_saturation {
    const char *origin;              /* the node of the model, "name (Op)" */
    const mlc_value *full, *limited; /* INTEGER values of one shape and scale */
} mlc_saturation;

struct mlc_quant {
    mlc_graph *from; /* SHAPED */
    mlc_graph *to;   /* INTEGER, being built */
    mlc_arena *arena;
    mlc_diag *diag;
    const mlc_node *node;         /* being rewritten; names and diagnostics come from it */
    mlc_value **map;              /* by id of `from`'s values; NULL: not bound yet */
    const struct mlc_form **form; /* by id: exact form (form.h), NULL: none. A value may have both */
    bool quantizes;               /* the model quantizes values itself: forms are of use */
    /* Observed range of each value of `from` on the calibration data, by id; NULL without data. */
    int n_seen; /* values of `from` when samples were seen; scaled weights came later */
    double *seen_lo, *seen_hi;
    struct mlc_seen **seen, *seen_all;    /* the same for each element, and for all; NULL without data */
    const struct mlc_seen **integer_seen; /* of the elements of values of `to`, by id */
    int n_integer_seen;
    const struct mlc_dot *dots; /* the precision of each dot product of the model */
    int n_dots;
    int dot_bits; /* of the dot products made of `node`: 32, or fewer */
    const struct mlc_calibration *data; /* samples to round the weights of narrow products by; NULL: none */
    struct mlc_pairs *pairs;            /* of products that may be equalized */
    struct mlc_run *run;                /* this integer graph on the samples */
    mlc_saturation *saturation;
    int n_saturations, cap_saturations;
};

/* The integer value of a shaped value. Constants are converted when asked for:
 * integers and BOOL exactly with scale 1, floats with the scale that keeps 31 bits. */
mlc_value *mlc_q_value(mlc_quant *q, const mlc_value *v);
bool mlc_q_bind(mlc_quant *q, const mlc_value *v, mlc_value *integer);

/* An integer node of `op` with one output, checked and with its interval; scale
 * and err of the result are left to the caller (scale 1, err NULL = exact). */
mlc_value *mlc_q_node(mlc_quant *q, const char *op, mlc_value *const *in, int n_in, const mlc_shape *shape,
                      const mlc_attr *attrs, int n_attrs);
/* A constant tensor of int64 with scale 1. */
mlc_value *mlc_q_constant(mlc_quant *q, const int64_t *x, const mlc_shape *shape);
mlc_value *mlc_q_scalar(mlc_quant *q, int64_t x);

/* Bounds of the real value that element i stands for: interval widened by err. */
double mlc_q_real_lo(const mlc_value *v, int64_t i);
double mlc_q_real_hi(const mlc_value *v, int64_t i);
double mlc_q_err(const mlc_value *v, int64_t i); /* 0 where err is NULL */
double mlc_q_max_abs(const mlc_value *v);        /* largest |real| over all elements */

/* The same numbers with another scale, rounded to nearest: exact when from/to is
 * an integer, otherwise err grows by half a unit plus the multiplier's error. */
mlc_value *mlc_q_rescale(mlc_quant *q, mlc_value *v, double scale);
/* Chooses the scale: a power of two such that the value keeps at most `bits`
 * bits (sign included) over its proven interval. Does nothing when it fits. */
mlc_value *mlc_q_narrow(mlc_quant *q, mlc_value *v, int bits);
/* min(max(v, lo), hi) with real bounds rounded outwards to the scale of v. */
mlc_value *mlc_q_clamp(mlc_quant *q, mlc_value *v, double lo, double hi);
/* Nothing but the error of v, of which the real-valued model is known to be in [lo, hi]: at
 * most the distance from there to the other end of its interval. */
void mlc_q_bounded(mlc_quant *q, mlc_value *v, double lo, double hi);
/* mlc_q_clamp where the real-valued model has no such limit: noted for reports. */
mlc_value *mlc_q_saturate(mlc_quant *q, mlc_value *v, double lo, double hi);
/* Narrows to the working precision: 31 bits, more where the range is so wide that
 * they would be coarser than 2^-17. Every builder that multiplies ends with it. */
mlc_value *mlc_q_settle(mlc_quant *q, mlc_value *v);
/* A constant of real numbers; the scale is a power of two that keeps `bits` bits,
 * or fewer where that is exact. */
mlc_value *mlc_q_real_constant(mlc_quant *q, const double *x, const mlc_shape *shape, int bits);

/* y[m,n] = bias[n] + sum_k w[n,k]*x[m,k]: x viewed as [M,K], result shape given.
 * bias may be NULL. Weights are real; their scale is chosen so that accumulators
 * provably fit. The result is narrowed to the working precision. */
mlc_value *mlc_q_linear(mlc_quant *q, mlc_value *x, int64_t M, int64_t K, int64_t N, const double *w,
                        const double *bias, const mlc_shape *shape);

/* Convolution of x [1,channels_in,in...] with real weights [channels_out,channels_in/group,kernel...]
 * and `bias` of channels_out elements or NULL; the result has `shape`. */
mlc_value *mlc_q_conv(mlc_quant *q, mlc_value *x, const mlc_tensor *w, const double *bias,
                      const mlc_conv_geometry *geometry, const mlc_shape *shape);

/* Element-wise with broadcasting; operands are aligned to one scale first where needed. */
mlc_value *mlc_q_add(mlc_quant *q, mlc_value *a, mlc_value *b);
mlc_value *mlc_q_sub(mlc_quant *q, mlc_value *a, mlc_value *b);
mlc_value *mlc_q_mul(mlc_quant *q, mlc_value *a, mlc_value *b);
mlc_value *mlc_q_max(mlc_quant *q, mlc_value *a, mlc_value *b);
mlc_value *mlc_q_min(mlc_quant *q, mlc_value *a, mlc_value *b);
mlc_value *mlc_q_neg(mlc_quant *q, mlc_value *a);
mlc_value *mlc_q_abs(mlc_quant *q, mlc_value *a);
/* a / b for 0 < b proven; the quotient gets a scale that keeps the working precision. */
mlc_value *mlc_q_div(mlc_quant *q, mlc_value *a, mlc_value *b);
/* The same with all its bits: to be limited to what is known of the quotient, and then settled.
 * The real-valued model's is known to be in [-most, most], which says how much an error of b matters. */
mlc_value *mlc_q_quotient(mlc_quant *q, mlc_value *a, mlc_value *b, double most);
/* v, which stands for `of`, settled; before that it saturates at a margin around what
 * calibration has seen of `of`, where its proven range is useless beside that. */
mlc_value *mlc_q_settle_seen(mlc_quant *q, const mlc_value *of, mlc_value *v);
/* Multiplication and addition by real constants (n = 1 or the elements of a
 * tensor of `shape` that broadcasts to v): mul folds into the scale when n = 1. */
mlc_value *mlc_q_mul_real(mlc_quant *q, mlc_value *v, const double *c, const mlc_shape *shape);
mlc_value *mlc_q_add_real(mlc_quant *q, mlc_value *v, const double *c, const mlc_shape *shape);

/* 0/1 results (scale 1). Comparisons of inexact values follow the integers. */
mlc_value *mlc_q_less(mlc_quant *q, mlc_value *a, mlc_value *b); /* a < b */
mlc_value *mlc_q_less_equal(mlc_quant *q, mlc_value *a, mlc_value *b);
mlc_value *mlc_q_equal(mlc_quant *q, mlc_value *a, mlc_value *b);
mlc_value *mlc_q_where(mlc_quant *q, mlc_value *c, mlc_value *a, mlc_value *b);

/* A continuous real function, element-wise, by table with linear interpolation.
 * `fn` is evaluated on the real interval; the error of the table is measured at
 * a dense sampling plus the bound `curvature` = max |f''| where given (> 0).
 * `lipschitz` bounds |f'| on the interval. */
typedef double (*mlc_real_fn)(double x, const void *user);
mlc_value *mlc_q_function(mlc_quant *q, mlc_value *v, mlc_real_fn fn, const void *user, double lipschitz);
/* The same for a function whose values are all in [lo, hi]: its error is never more than that. */
mlc_value *mlc_q_bounded_function(mlc_quant *q, mlc_value *v, mlc_real_fn fn, const void *user,
                                  double lipschitz, double lo, double hi);

/* out.flat[i] = concat(in...).flat[index[i]]; index -1 is `fill` (a real). All
 * data movement (Reshape, Transpose, Slice, Concat, Pad, Expand, ...) is this. */
mlc_value *mlc_q_gather(mlc_quant *q, mlc_value *const *in, int n_in, const int64_t *index, double fill,
                        const mlc_shape *shape);
mlc_value *mlc_q_reshape(mlc_quant *q, mlc_value *v, const mlc_shape *shape);

/* Reductions over groups of elements: out[i] over x.flat[index[i*n + j]], j < n; -1 is skipped. */
typedef enum mlc_reduce { MLC_REDUCE_SUM, MLC_REDUCE_MAX, MLC_REDUCE_MIN, MLC_REDUCE_ARGMAX } mlc_reduce;
mlc_value *mlc_q_reduce(mlc_quant *q, mlc_reduce kind, mlc_value *v, const int64_t *index, int64_t n,
                        const mlc_shape *shape);

#endif
