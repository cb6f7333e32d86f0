#ifndef MLC_NARROW_H
#define MLC_NARROW_H

/* What the builders of dot products of 16 bits and less share. */
#include "Precision.h"
#include "Quant.h"

/* real = q * step + offset, for lo <= q <= hi. */
typedef struct mlc_grid {
    double step, offset;
    int64_t lo, hi;
} mlc_grid;

/* An input on its grids: integers, and what they mean, one grid for each class of elements. */
typedef struct mlc_operand {
    mlc_value *x;
    mlc_grid *grids;
    double *centres; /* of each class: where its integers usually are */
    double *spans;   /* of each class: from its lowest to its highest integer */
} mlc_operand;

/* Nodes behind which a value still lies on the grid that it was put on. */
bool mlc_q_keeps_grid(const mlc_node *node);
/* The grid of all narrow products that read v; false where anything else reads it too. */
bool mlc_q_readers_grid(const mlc_quant *q, const mlc_value *v, mlc_grid *found);
/* Whether v is only read by products that put it on grids of what was seen. */
bool mlc_q_only_on_grids(const mlc_quant *q, const mlc_value *v);
/* x on the grids that `dot` is to have, element i on that of class[i]; with `offsets`, real 0 need
 * not be on it. */
bool mlc_q_put_on_grid(mlc_quant *q, mlc_value *x, const int64_t *class, int64_t n_classes,
                       const mlc_dot *dot, bool offsets, mlc_operand *out);
/* (x * multiplier + addend) >> shift. */
mlc_value *mlc_q_scaled(mlc_quant *q, mlc_value *x, const int64_t *multiplier, const int64_t *addend,
                        int shift, const mlc_shape *shape);

/* A product of `x` on its grids with weights in units of these. */
typedef struct mlc_narrow {
    const char *op;
    const mlc_dot *dot;
    mlc_value *x;
    mlc_shape w_shape, shape;
    int64_t channels, taps;     /* outputs with weights of their own; weights of each */
    double *w, *bias;           /* [channels,taps], [channels] */
    double *centre, *span;      /* [channels,taps]: of the input that the weight is for */
    mlc_taps *all;              /* of each element of the result */
    bool whole;                 /* the result is what the node of the model has */
    int64_t rows;               /* elements of each channel: */
    int64_t by_channel, by_row; /* c * by_channel + row * by_row */
    const mlc_attr *attrs;
    int n_attrs;
    /* Of the weights as they are used, w = q * step. */
    double *step; /* [channels] */
    int64_t *q;   /* [channels,taps] */
} mlc_narrow;

static inline int64_t mlc_narrow_element(const mlc_narrow *p, int64_t channel, int64_t row) {
    return channel * p->by_channel + row * p->by_row;
}

/*
 * Moments of the inputs of a channel's taps as the integer model has them on the
 * samples, and of them with what the real model has for the channel.
 */
typedef struct mlc_moments {
    double *mean, *covariance; /* [taps], [taps,taps] */
    /* Of the channel; NULL where the model has no such value. */
    double *with;  /* [taps]: covariance of the taps with the result */
    double result; /* its mean */
} mlc_moments;

/* Moments of channel c; those of the inputs are taken over from `m` where the channel
 * before had the same. False where samples or patience do not suffice. */
bool mlc_q_moments(mlc_quant *q, const mlc_narrow *p, int64_t c, mlc_moments *m);

/*
 * Weights of channel c, rounded: such that the outputs on the samples are what they
 * should be, and sum |q| * span < 2^room. Where `free`, the step follows.
 */
void mlc_q_round_weights(mlc_arena *arena, const mlc_dot *dot, int64_t c, const double *w, const double *span,
                         int64_t n, const mlc_moments *m, bool free, double *step, int64_t *q);

#endif
