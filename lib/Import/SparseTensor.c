#include "Import.h"

/* Bounds the memory that a few bytes of a sparse tensor can ask for. */
enum { MAX_DENSE = 1 << 22 };

/* The flat index of the k-th given element, or -1. `indices` is [n] of flat
 * indices or [n,rank] of coordinates. */
static int64_t sparse_index(const mlc_tensor *indices, int64_t k, const mlc_shape *shape) {
    if (indices->shape.rank == 1) {
        int64_t flat = indices->i[k];
        return flat >= 0 && flat < mlc_shape_elements(shape) ? flat : -1;
    }
    int64_t flat = 0;
    for (int d = 0; d < shape->rank; d++) {
        int64_t c = indices->i[k * shape->rank + d];
        if (c < 0 || c >= shape->dim[d])
            return -1;
        flat = flat * shape->dim[d] + c;
    }
    return flat;
}

const mlc_tensor *mlc_import_sparse_tensor(mlc_importer *im, const mlc_subject *about,
                                           const Onnx__SparseTensorProto *from) {
    mlc_shape shape;
    if (!from->values || !from->indices) {
        mlc_fail(im, about, "is a sparse tensor without values or without indices");
        return NULL;
    }
    if (!mlc_import_dims(im, about, from->dims, from->n_dims, &shape))
        return NULL;
    if (mlc_shape_elements(&shape) > MAX_DENSE) {
        mlc_fail(im, about, "is a sparse tensor of more than %d elements, which is not supported", MAX_DENSE);
        return NULL;
    }
    const mlc_tensor *values = mlc_import_tensor(im, about, from->values);
    const mlc_tensor *indices = values ? mlc_import_tensor(im, about, from->indices) : NULL;
    if (!indices)
        return NULL;
    int64_t n = mlc_shape_elements(&values->shape);
    const mlc_shape *s = &indices->shape;
    bool flat = s->rank == 1 && s->dim[0] == n;
    bool coordinates = s->rank == 2 && s->dim[0] == n && s->dim[1] == shape.rank;
    if (values->dtype == MLC_STRING || values->shape.rank != 1 || indices->dtype != MLC_INT64 ||
        !(flat || coordinates)) {
        mlc_fail(im, about, "is a sparse tensor whose values and indices do not match");
        return NULL;
    }
    mlc_tensor *t = mlc_tensor_create(im->arena, values->dtype, &shape);
    for (int64_t k = 0; k < n; k++) {
        int64_t i = sparse_index(indices, k, &shape);
        if (i < 0) {
            mlc_fail(im, about, "is a sparse tensor with an index outside its shape");
            return NULL;
        }
        if (mlc_dtype_is_float(t->dtype))
            t->f[i] = values->f[k];
        else
            t->i[i] = values->i[k];
    }
    return t;
}
