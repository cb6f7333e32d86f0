#ifndef MLC_OPS_ELEMENTWISE_H
#define MLC_OPS_ELEMENTWISE_H

#include "mlc/quantize.h"

#include <string.h>

/*
 * Help for eval functions: element-wise loops with broadcasting, and walks along
 * an axis. All of these rely on infer having passed; none of them allocates.
 */

typedef double (*mlc_real1)(double);
typedef double (*mlc_real2)(double, double);
typedef int64_t (*mlc_int1)(int64_t);
typedef int64_t (*mlc_int2)(int64_t, int64_t);

/* `x` reduced to the width of integer type t: two's complement wrap, sign or zero
 * extended; BOOL: x != 0; 64-bit types: x. */
int64_t mlc_wrap(mlc_dtype t, int64_t x);

/* a + b, a - b, a * b modulo 2^64. */
int64_t mlc_wrap_add(int64_t a, int64_t b);
int64_t mlc_wrap_sub(int64_t a, int64_t b);
int64_t mlc_wrap_mul(int64_t a, int64_t b);

/* `x` as an integer of type t: truncated toward zero, saturated, NaN is 0; BOOL: x != 0. */
int64_t mlc_real_to_int(mlc_dtype t, double x);

/*
 * out[i] = fn(in[i]), for tensors of equal element count. The type of `in` decides:
 * a float input uses `real`, an integer or BOOL input `integer`, whose result is
 * wrapped to out's type; where `integer` is NULL, `real` is used on the converted
 * element. A real result for an integer output is converted with mlc_real_to_int.
 */
void mlc_eval_unary(const mlc_tensor *in, mlc_tensor *out, mlc_real1 real, mlc_int1 integer);

/* The same for a function with parameters, as mlc_q_function takes it; always real. */
void mlc_eval_function(const mlc_tensor *in, mlc_tensor *out, mlc_real_fn fn, const void *user);

/* out = fn(a, b) with a and b broadcast to out's shape; types as in mlc_eval_unary,
 * where the integer function needs both inputs to be integers. Comparisons return
 * 0 or 1. `out` may be `a` when the shapes are equal. */
void mlc_eval_binary(const mlc_tensor *a, const mlc_tensor *b, mlc_tensor *out, mlc_real2 real,
                     mlc_int2 integer);

/* A tensor seen as [outer, n, inner] around an axis: element (o, j, i) is at
 * (o * n + j) * inner + i. */
typedef struct mlc_axis_view {
    int64_t outer, n, inner;
} mlc_axis_view;
mlc_axis_view mlc_view_axis(const mlc_shape *s, int axis);

static inline int64_t mlc_view_at(const mlc_axis_view *v, int64_t o, int64_t j, int64_t i) {
    return (o * v->n + j) * v->inner + i;
}

/*
 * Walks the flat indices of up to three tensors that are broadcast to `shape`:
 *
 *   mlc_walk w;
 *   mlc_walk_begin(&w, &out->shape, n, shapes);
 *   for (int64_t i = 0; i < total; i++, mlc_walk_next(&w))
 *       out[i] = fn(a[w.at[0]], b[w.at[1]]);
 */
enum { MLC_WALK_MAX = 3 };
typedef struct mlc_walk {
    mlc_shape shape;
    int n;
    int64_t position[MLC_MAX_RANK];
    int64_t stride[MLC_WALK_MAX][MLC_MAX_RANK];
    int64_t at[MLC_WALK_MAX];
} mlc_walk;
void mlc_walk_begin(mlc_walk *w, const mlc_shape *shape, int n, const mlc_shape *const *from);
void mlc_walk_next(mlc_walk *w);

/* The position of flat index i in each dimension, and back. */
void mlc_unflatten(const mlc_shape *s, int64_t i, int64_t position[MLC_MAX_RANK]);
int64_t mlc_flatten(const mlc_shape *s, const int64_t position[MLC_MAX_RANK]);

_Static_assert(sizeof(double) == sizeof(int64_t) && sizeof(char *) == sizeof(int64_t),
               "elements of all types are moved as 8 bytes");

/* out[o] = in[i] for tensors of one dtype, whatever it is. */
static inline void mlc_move(mlc_tensor *out, int64_t o, const mlc_tensor *in, int64_t i) {
    memcpy(&out->i[o], &in->i[i], sizeof(int64_t));
}

/* out[o .. o+n) = in[i .. i+n). */
static inline void mlc_move_n(mlc_tensor *out, int64_t o, const mlc_tensor *in, int64_t i, int64_t n) {
    if (n > 0)
        memcpy(&out->i[o], &in->i[i], (size_t)n * sizeof(int64_t));
}

#endif
