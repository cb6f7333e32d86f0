#include "mlc/graph.h"
#include "mlc/str.h"

#include <assert.h>
#include <inttypes.h>

int64_t mlc_shape_elements(const mlc_shape *s) {
    /* Saturates, so that a caller can compare with MLC_MAX_ELEMENTS. */
    int64_t n = 1;
    for (int k = 0; k < s->rank; k++)
        if (s->dim[k] <= 0)
            return 0;
    for (int k = 0; k < s->rank; k++)
        if (__builtin_mul_overflow(n, s->dim[k], &n))
            return INT64_MAX;
    return n;
}

bool mlc_shape_equal(const mlc_shape *a, const mlc_shape *b) {
    if (a->rank != b->rank)
        return false;
    for (int k = 0; k < a->rank; k++)
        if (a->dim[k] != b->dim[k])
            return false;
    return true;
}

void mlc_shape_strides(const mlc_shape *s, int64_t strides[MLC_MAX_RANK]) {
    int64_t stride = 1;
    for (int k = s->rank - 1; k >= 0; k--) {
        strides[k] = stride;
        if (__builtin_mul_overflow(stride, s->dim[k], &stride))
            stride = INT64_MAX;
    }
}

bool mlc_shape_broadcast(const mlc_shape *a, const mlc_shape *b, mlc_shape *out) {
    mlc_shape result = {.rank = a->rank > b->rank ? a->rank : b->rank};
    for (int k = 1; k <= result.rank; k++) {
        int64_t x = k <= a->rank ? a->dim[a->rank - k] : 1;
        int64_t y = k <= b->rank ? b->dim[b->rank - k] : 1;
        if (x != y && x != 1 && y != 1)
            return false;
        result.dim[result.rank - k] = x == 1 ? y : x;
    }
    *out = result;
    return true;
}

int64_t mlc_shape_broadcast_index(const mlc_shape *from, const mlc_shape *to, int64_t i) {
    assert(from->rank <= to->rank);
    if (mlc_shape_equal(from, to))
        return i;
    int64_t index = 0, stride = 1;
    for (int k = 1; k <= from->rank; k++) {
        int64_t n = to->dim[to->rank - k], own = from->dim[from->rank - k];
        if (own != 1)
            index += i % n * stride;
        i /= n;
        stride *= own;
    }
    return index;
}

const char *mlc_shape_str(mlc_arena *arena, const mlc_shape *s) {
    mlc_str text = {.arena = arena};
    mlc_str_char(&text, '[');
    for (int k = 0; k < s->rank; k++)
        mlc_str_printf(&text, "%s%" PRId64, k ? "," : "", s->dim[k]);
    mlc_str_char(&text, ']');
    return text.data;
}
