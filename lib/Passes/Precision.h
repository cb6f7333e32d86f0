#ifndef MLC_PRECISION_H
#define MLC_PRECISION_H

/*
 * Dot products of 8 or 16 bits: what they share with the calibration and with the
 * choice of a precision for each of them.
 */
#include "mlc/pass.h"

typedef struct mlc_range {
    double lo, hi; /* lo > hi: nothing is known */
} mlc_range;

/* What was observed of an element, or of a whole tensor. */
typedef struct mlc_seen {
    mlc_range all;
    mlc_range ends; /* of an 8-bit grid: `all` but for what lies far out */
    double mean;
} mlc_seen;

/* A node of the model whose products are with constants: Gemm, MatMul, Conv. */
typedef struct mlc_dot {
    const mlc_node *node;
    int bits; /* 8, 16 or 32 */
} mlc_dot;

/* Fills in q->seen_lo, q->seen_hi, q->seen and q->seen_all. */
void mlc_q_observe(mlc_quant *q, const mlc_calibration *data);
/* Narrows the ends of the inputs of all dot products; mlc_q_observe comes first. */
void mlc_q_choose_ends(mlc_quant *q, const mlc_calibration *data);
/* Rescales what lies between two products and a Relu; changes q->from and what was seen. */
void mlc_q_equalize(mlc_quant *q);
/* What was observed of the elements of an integer value; NULL: nothing. */
const mlc_seen *mlc_q_seen(const mlc_quant *q, const mlc_value *v);
void mlc_q_set_seen(mlc_quant *q, const mlc_value *v, const mlc_seen *seen);
/* out.flat[i] = concat(in...).flat[index[i]]: what was observed follows. */
void mlc_q_gather_seen(mlc_quant *q, const mlc_value *out, mlc_value *const *in, int n_in,
                       const int64_t *index);

/* All dot products of the model in order, at `bits`. */
mlc_dot *mlc_q_dots(const mlc_graph *g, mlc_arena *arena, int bits, int *n);
/* The one that is not constant. */
const mlc_value *mlc_q_dot_input(const mlc_node *node);
/* 32 for every other node. */
int mlc_q_bits_of(const mlc_quant *q, const mlc_node *node);

/* One attempt of the pass with these precisions; sets context->origin. NULL after reporting. */
mlc_graph *mlc_q_attempt(const mlc_quant *prepared, mlc_pass_context *context, const mlc_dot *dots,
                         int n_dots);
/* The precision of every dot product, by --precision; auto tries on the calibration
 * data. Reports and returns false when that is not possible. */
bool mlc_q_choose_precision(const mlc_quant *prepared, mlc_pass_context *context, mlc_dot **dots, int *n);

/* One dot product of a builder: taps in the order of the weights. */
typedef struct mlc_taps {
    const double *w;
    int64_t n;
    const int64_t *x; /* flat input index of each tap, -1 for padding; NULL: x0 + k */
    int64_t x0;
} mlc_taps;

static inline int64_t mlc_tap(const mlc_taps *t, int64_t k) {
    return t->x ? t->x[k] : t->x0 + k;
}

/* Input indices of every output's taps, in the order of one filter's weights. */
mlc_taps *mlc_q_conv_taps(mlc_quant *q, const mlc_conv_geometry *c, const double *w);

/* mlc_q_linear and mlc_q_conv for 8 or 16 bits. */
mlc_value *mlc_q_linear_narrow(mlc_quant *q, mlc_value *x, int64_t M, int64_t K, int64_t N, const double *w,
                               const double *bias, const mlc_shape *shape);
mlc_value *mlc_q_conv_narrow(mlc_quant *q, mlc_value *x, const mlc_tensor *w, const double *bias,
                             const mlc_conv_geometry *geometry, const mlc_shape *shape);

#endif
