#ifndef MLC_OPS_REDUCTION_H
#define MLC_OPS_REDUCTION_H

#include "mlc/quantize.h"

/*
 * A reduction over some axes: `outer` groups of `inner` elements each, groups in
 * the order of the output's elements.
 */
typedef struct mlc_groups {
    int64_t outer, inner;
    mlc_shape kept, reduced; /* the dimensions in order */
    int64_t kept_stride[MLC_MAX_RANK], reduced_stride[MLC_MAX_RANK];
} mlc_groups;

/* The groups of a Reduce node, after infer has passed. */
mlc_groups mlc_reduce_groups(const mlc_node *node, const mlc_shape *from);

mlc_groups mlc_group(const mlc_shape *from, const int *axes, int n_axes);
/* Flat index into the input of the first element of group o. */
int64_t mlc_group_start(const mlc_groups *r, int64_t o);
/* Distance of element j of a group from its first. */
int64_t mlc_group_offset(const mlc_groups *r, int64_t j);

/* The shape that is left: reduced axes are 1, or gone. */
mlc_shape mlc_reduced_shape(const mlc_shape *from, const int *axes, int n_axes, bool keepdims);

/* The index array that mlc_q_reduce takes: outer rows of inner elements. With
 * `reverse` the elements of each group come last first. */
int64_t *mlc_group_index(mlc_arena *arena, const mlc_groups *r, bool reverse);

#endif
