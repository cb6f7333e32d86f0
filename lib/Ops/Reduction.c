#include "Reduction.h"

#include "Elementwise.h"

mlc_groups mlc_group(const mlc_shape *from, const int *axes, int n_axes) {
    mlc_groups r = {.outer = 1, .inner = 1};
    int64_t strides[MLC_MAX_RANK];
    bool gone[MLC_MAX_RANK] = {0};
    mlc_shape_strides(from, strides);
    for (int k = 0; k < n_axes; k++)
        gone[axes[k]] = true;
    for (int d = 0; d < from->rank; d++) {
        if (gone[d]) {
            r.reduced_stride[r.reduced.rank] = strides[d];
            r.reduced.dim[r.reduced.rank++] = from->dim[d];
        } else {
            r.kept_stride[r.kept.rank] = strides[d];
            r.kept.dim[r.kept.rank++] = from->dim[d];
        }
    }
    r.outer = mlc_shape_elements(&r.kept);
    r.inner = mlc_shape_elements(&r.reduced);
    return r;
}

static int64_t at(const mlc_shape *s, const int64_t *strides, int64_t i) {
    int64_t flat = 0;
    for (int d = s->rank - 1; d >= 0; d--) {
        flat += i % s->dim[d] * strides[d];
        i /= s->dim[d];
    }
    return flat;
}

int64_t mlc_group_start(const mlc_groups *r, int64_t o) {
    return at(&r->kept, r->kept_stride, o);
}

int64_t mlc_group_offset(const mlc_groups *r, int64_t j) {
    return at(&r->reduced, r->reduced_stride, j);
}

mlc_shape mlc_reduced_shape(const mlc_shape *from, const int *axes, int n_axes, bool keepdims) {
    mlc_shape shape = {0};
    for (int d = 0; d < from->rank; d++) {
        bool gone = false;
        for (int k = 0; k < n_axes; k++)
            gone |= axes[k] == d;
        if (!gone || keepdims)
            shape.dim[shape.rank++] = gone ? 1 : from->dim[d];
    }
    return shape;
}

int64_t *mlc_group_index(mlc_arena *arena, const mlc_groups *r, bool reverse) {
    int64_t *index = mlc_arena_array(arena, (size_t)r->outer, (size_t)r->inner * sizeof *index);
    for (int64_t o = 0; o < r->outer; o++) {
        int64_t start = mlc_group_start(r, o);
        for (int64_t j = 0; j < r->inner; j++)
            index[o * r->inner + (reverse ? r->inner - 1 - j : j)] = start + mlc_group_offset(r, j);
    }
    return index;
}
