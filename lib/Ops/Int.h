#ifndef MLC_OPS_INT_H
#define MLC_OPS_INT_H

#include "mlc/op.h"
#include "mlc/rng.h"

/* What the integer ops (lib/Ops/Int*.c) share. */

/* Holds any sum or product of a few int64. */
__extension__ typedef __int128 mlc_i128;

typedef struct mlc_wide {
    mlc_i128 lo, hi;
} mlc_wide;

static inline bool mlc_int_fits(mlc_i128 x) {
    return x >= INT64_MIN && x <= INT64_MAX;
}
static inline mlc_i128 mlc_int_min(mlc_i128 a, mlc_i128 b) {
    return a < b ? a : b;
}
static inline mlc_i128 mlc_int_max(mlc_i128 a, mlc_i128 b) {
    return a > b ? a : b;
}

/* --- check --- */

/* What every integer node must satisfy: arity, known attributes of the right
 * kind, int64 inputs of known shape, one output. To be called first. */
bool mlc_int_check(mlc_graph *g, mlc_node *node);
/* The output has exactly this shape, or gets it. */
bool mlc_int_shape(mlc_graph *g, mlc_node *node, const mlc_shape *shape);
/* The output has as many elements as `shape`, or gets that shape. */
bool mlc_int_reshape(mlc_graph *g, mlc_node *node, const mlc_shape *shape);
/* The output has the shape of input 0. */
bool mlc_int_same_shape(mlc_graph *g, mlc_node *node);
/* Input k is a constant. */
bool mlc_int_constant(mlc_graph *g, mlc_node *node, int k);
/* Attribute `name`, 0 where missing, lies in [lo, hi]. */
bool mlc_int_attr(mlc_graph *g, mlc_node *node, const char *name, int64_t lo, int64_t hi);
/* Row checks: as many inputs as the op has; the output's shape is their broadcast. */
bool mlc_int_check_broadcast(mlc_graph *g, mlc_node *node);
/* One input; the output has its shape. */
bool mlc_int_check_unary(mlc_graph *g, mlc_node *node);

/* --- interval --- */

int64_t mlc_int_elements(const mlc_value *v);
/* Interval of element i; a constant's is its value. */
mlc_wide mlc_int_range(const mlc_value *v, int64_t i);
/* Interval of the element of input k that is broadcast to element i of the output. */
mlc_wide mlc_int_operand(const mlc_node *node, int k, int64_t i);
/* Exact range of products: the extremes are at corners. */
mlc_wide mlc_int_product(mlc_wide a, mlc_wide b);
/* Sets the interval of output element i; reports one that does not fit int64. */
bool mlc_int_bound(mlc_graph *g, mlc_node *node, int64_t i, mlc_wide r);
/* Reports that `what`, an intermediate of output element i, may leave int64. */
bool mlc_int_overflow(mlc_graph *g, mlc_node *node, int64_t i, const char *what, mlc_wide r);

/*
 * Range of a sum of terms, and of all sums of any part of the terms: an
 * accumulator in whatever order stays in [low, high]. mlc_int_sum_add returns
 * false as soon as a partial sum may leave int64; the range is then what was
 * reached. Terms are products of two int64 at most.
 */
typedef struct mlc_int_sum {
    mlc_wide total, partial;
} mlc_int_sum;
bool mlc_int_sum_add(mlc_int_sum *s, mlc_wide term);

/* --- evaluation, lowering, reads --- */

/* Index into input k of the element broadcast to element i of the output. */
int64_t mlc_int_index(const mlc_node *node, int k, int64_t i);
/* For rows whose inputs broadcast: how often an element of input k is used. */
int64_t mlc_int_reads_broadcast(const mlc_node *node, int k);
/* How often the most frequent number of [first, first + count) occurs in
 * index[0..n); at least 1. */
int64_t mlc_int_multiplicity(const int64_t *index, int64_t n, int64_t first, int64_t count);

/* --- generate (IntRandom.c) --- */

/* A shape of rank 0..3 with at most `max` elements. */
mlc_shape mlc_int_random_shape(mlc_rng *rng, int64_t max);
/* The shape or one that broadcasts to it. */
mlc_shape mlc_int_random_operand_shape(mlc_rng *rng, const mlc_shape *shape);
mlc_shape mlc_int_vector(int64_t n);
/* A new graph input with random intervals inside [lo, hi]. */
mlc_value *mlc_int_random_input(mlc_graph *g, mlc_rng *rng, const mlc_shape *shape, int64_t lo, int64_t hi);
mlc_value *mlc_int_random_constant(mlc_graph *g, mlc_rng *rng, const mlc_shape *shape);
mlc_value *mlc_int_new_constant(mlc_graph *g, const int64_t *x, const mlc_shape *shape);
/* Any int64, extremes and powers of two more often than chance has them. */
int64_t mlc_int_random_number(mlc_rng *rng);
/* True once in n. */
bool mlc_int_chance(mlc_rng *rng, int n);
/* Appends a node without shape and interval. */
mlc_node *mlc_int_random_node(mlc_graph *g, const char *op, mlc_value *const *in, int n_in);
/* Checks the node and computes its interval; as long as that fails, halves the
 * numbers of that input whose index bit is set in `shrinkable` and which has the
 * largest ones. With all of them 0 the node must be valid. Returns the node. */
mlc_node *mlc_int_settle(mlc_graph *g, mlc_node *node, unsigned shrinkable);
/* Puts outputs of a settled node into common words at random (IntPacking.h). Returns the node. */
mlc_node *mlc_int_random_packing(mlc_graph *g, mlc_node *node, mlc_rng *rng);
/* Row generators of element-wise ops: inputs that broadcast, any of them but one a constant. */
mlc_node *mlc_int_generate_broadcast(mlc_graph *g, mlc_rng *rng, const char *op, int n_in);
mlc_node *mlc_int_generate_unary(mlc_graph *g, mlc_rng *rng, const char *op, int64_t lo, int64_t hi);

#endif
