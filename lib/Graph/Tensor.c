#include "mlc/graph.h"

#include <assert.h>

mlc_tensor *mlc_tensor_create(mlc_arena *arena, mlc_dtype dtype, const mlc_shape *shape) {
    mlc_tensor *t = MLC_NEW(arena, mlc_tensor);
    t->dtype = dtype;
    t->shape = *shape;
    int64_t n = mlc_shape_elements(shape);
    if (mlc_dtype_is_float(dtype)) {
        t->f = MLC_NEW_ARRAY(arena, n, double);
    } else if (dtype == MLC_STRING) {
        t->s = MLC_NEW_ARRAY(arena, n, const char *);
        for (int64_t i = 0; i < n; i++)
            t->s[i] = "";
    } else {
        t->i = MLC_NEW_ARRAY(arena, n, int64_t);
    }
    return t;
}

mlc_tensor *mlc_tensor_scalar_f(mlc_arena *arena, double x) {
    mlc_tensor *t = mlc_tensor_create(arena, MLC_FLOAT, &(mlc_shape){0});
    t->f[0] = mlc_dtype_round(MLC_FLOAT, x);
    return t;
}

mlc_tensor *mlc_tensor_scalar_i(mlc_arena *arena, int64_t x) {
    mlc_tensor *t = mlc_tensor_create(arena, MLC_INT64, &(mlc_shape){0});
    t->i[0] = x;
    return t;
}

double mlc_tensor_real(const mlc_tensor *t, int64_t i) {
    assert(t->dtype != MLC_STRING);
    return mlc_dtype_is_float(t->dtype) ? t->f[i] : (double)t->i[i];
}
