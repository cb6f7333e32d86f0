#include "Samples.h"

#include "mlc/bytes.h"
#include "mlc/rng.h"

#include <math.h>
#include <string.h>

/* Float inputs in float arithmetic, as ONNX's QuantizeLinear has it; clamped to the
 * binding's range; counts what that changes. */
static int64_t quantize(const mlc_binding *b, double x, int64_t *clamped) {
    double ratio = mlc_dtype_round(b->dtype, x) / b->scale;
    double q = nearbyint(b->dtype == MLC_FLOAT ? mlc_dtype_round(MLC_FLOAT, ratio) : ratio) + (double)b->zero;
    if (isnan(q)) {
        ++*clamped;
        return b->zero < b->lo ? b->lo : b->zero > b->hi ? b->hi : b->zero;
    }
    if (q >= (double)b->hi || q <= (double)b->lo) {
        int64_t bound = q >= (double)b->hi ? b->hi : b->lo;
        *clamped += q != (double)bound;
        return bound;
    }
    return (int64_t)q;
}

static int64_t clamp_integer(const mlc_binding *b, int64_t x, int64_t *clamped) {
    int64_t q = x < b->lo ? b->lo : x > b->hi ? b->hi : x;
    *clamped += q != x;
    return q;
}

void mlc_samples_pack(mlc_samples *samples, int64_t i, uint8_t *in) {
    for (int k = 0; k < samples->manifest->n_inputs; k++) {
        const mlc_binding *b = &samples->manifest->inputs[k];
        const mlc_tensor *t = samples->arrays[k];
        bool exact = mlc_dtype_is_integer(t->dtype) && (samples->raw || (b->scale == 1 && b->zero == 0));
        for (int64_t e = 0; e < b->elements; e++) {
            int64_t at = i * b->elements + e;
            int64_t q = exact ? clamp_integer(b, t->i[at], &samples->clamped[k])
                              : quantize(b, mlc_tensor_real(t, at), &samples->clamped[k]);
            mlc_store_le(in + b->offset + e * b->width, (uint64_t)q, b->width);
        }
    }
}

void mlc_samples_report(mlc_run *run, const mlc_samples *samples) {
    for (int k = 0; k < samples->manifest->n_inputs; k++) {
        const mlc_binding *b = &samples->manifest->inputs[k];
        if (samples->clamped[k])
            mlc_warning(&run->diag,
                        "input '%s': %lld of %lld values are outside its range [%.9g, %.9g] or not a number",
                        mlc_escape(b->name), (long long)samples->clamped[k],
                        (long long)(samples->n * b->elements),
                        samples->raw ? (double)b->lo : ((double)b->lo - (double)b->zero) * b->scale,
                        samples->raw ? (double)b->hi : ((double)b->hi - (double)b->zero) * b->scale);
    }
}

static const char *list_arrays(mlc_run *run, const mlc_arrays *arrays) {
    const char *list = "no array at all";
    for (int i = 0; i < arrays->n; i++)
        list = mlc_arena_printf(run->arena, "%s%s'%s' %s", i ? list : "", i ? ", " : "",
                                mlc_escape(arrays->array[i].name),
                                mlc_shape_str(run->arena, &arrays->array[i].tensor->shape));
    return list;
}

/* Same dimensions but for leading ones. */
static bool is_one_sample(const mlc_shape *array, const mlc_shape *sample) {
    int a = 0, b = 0;
    while (a < array->rank && array->dim[a] == 1)
        a++;
    while (b < sample->rank && sample->dim[b] == 1)
        b++;
    return array->rank - a == sample->rank - b &&
           !memcmp(array->dim + a, sample->dim + b, (size_t)(array->rank - a) * sizeof array->dim[0]);
}

/* Number of samples in an array, or -1 when it does not fit. */
static int64_t count_samples(const mlc_binding *b, const mlc_shape *shape) {
    int64_t elements = mlc_shape_elements(shape);
    int64_t n = elements / b->elements;
    if (elements % b->elements == 0 && n > 0 && shape->rank > 0 && shape->dim[0] == n)
        return n;
    return is_one_sample(shape, &b->shape) ? 1 : -1;
}

/* Raw integers are promises to the generated code: none may be outside the range. */
static bool check_raw(mlc_run *run, const char *path, const mlc_binding *b, const mlc_tensor *t) {
    if (!mlc_dtype_is_integer(t->dtype))
        return mlc_error(&run->diag, "%s: array for input '%s' is %s; --raw-inputs takes integers",
                         mlc_escape(path), mlc_escape(b->name), mlc_dtype_name(t->dtype));
    int64_t n = mlc_shape_elements(&t->shape);
    for (int64_t i = 0; i < n; i++)
        if (t->i[i] < b->lo || t->i[i] > b->hi)
            return mlc_error(&run->diag, "%s: array for input '%s': value %lld is outside [%lld, %lld]",
                             mlc_escape(path), mlc_escape(b->name), (long long)t->i[i], (long long)b->lo,
                             (long long)b->hi);
    return true;
}

bool mlc_samples_read(mlc_run *run, const mlc_manifest *manifest, const char *path, bool raw,
                      mlc_samples *samples) {
    const mlc_arrays *arrays = mlc_npz_read(run->arena, &run->diag, path);
    if (!arrays)
        return false;
    int n_inputs = manifest->n_inputs;
    *samples = (mlc_samples){.manifest = manifest, .raw = raw};
    samples->arrays = MLC_NEW_ARRAY(run->arena, n_inputs, const mlc_tensor *);
    samples->clamped = MLC_NEW_ARRAY(run->arena, n_inputs, int64_t);
    for (int k = 0; k < n_inputs; k++) {
        const mlc_binding *b = &manifest->inputs[k];
        const mlc_tensor *t = mlc_arrays_find(arrays, b->name);
        if (!t && n_inputs == 1 && arrays->n == 1)
            t = arrays->array[0].tensor;
        if (!t)
            return mlc_error(&run->diag, "%s: no array for input '%s' %s; there is %s", mlc_escape(path),
                             mlc_escape(b->name), mlc_shape_str(run->arena, &b->shape),
                             list_arrays(run, arrays));
        if (t->dtype == MLC_STRING)
            return mlc_error(&run->diag, "%s: array for input '%s' is not numeric", mlc_escape(path),
                             mlc_escape(b->name));
        int64_t n = count_samples(b, &t->shape);
        if (n < 0)
            return mlc_error(&run->diag,
                             "%s: array for input '%s' has shape %s, which is not a number of samples of %s",
                             mlc_escape(path), mlc_escape(b->name), mlc_shape_str(run->arena, &t->shape),
                             mlc_shape_str(run->arena, &b->shape));
        if (k && n != samples->n)
            return mlc_error(&run->diag, "%s: %lld samples for input '%s', but %lld for input '%s'",
                             mlc_escape(path), (long long)n, mlc_escape(b->name), (long long)samples->n,
                             mlc_escape(manifest->inputs[0].name));
        if (raw && !check_raw(run, path, b, t))
            return false;
        samples->n = n;
        samples->arrays[k] = t;
    }
    if (n_inputs == 0)
        samples->n = 1;
    return true;
}

void mlc_samples_random(mlc_run *run, const mlc_manifest *manifest, int64_t n, mlc_samples *samples) {
    mlc_rng rng = {1};
    *samples = (mlc_samples){.manifest = manifest, .raw = true, .n = n};
    samples->arrays = MLC_NEW_ARRAY(run->arena, manifest->n_inputs, const mlc_tensor *);
    samples->clamped = MLC_NEW_ARRAY(run->arena, manifest->n_inputs, int64_t);
    for (int k = 0; k < manifest->n_inputs; k++) {
        const mlc_binding *b = &manifest->inputs[k];
        mlc_tensor *t = mlc_tensor_create(run->arena, MLC_INT64, &(mlc_shape){2, {n, b->elements}});
        for (int64_t i = 0; i < n * b->elements; i++)
            t->i[i] = mlc_rng_range(&rng, b->lo, b->hi);
        samples->arrays[k] = t;
    }
}

mlc_tensor *mlc_result_create(mlc_run *run, const mlc_binding *output, int64_t n, bool raw) {
    mlc_shape shape = {2, {n, output->elements}};
    if (output->shape.rank < MLC_MAX_RANK) {
        shape.rank = output->shape.rank + 1;
        memcpy(shape.dim + 1, output->shape.dim, (size_t)output->shape.rank * sizeof shape.dim[0]);
    }
    return mlc_tensor_create(run->arena, raw ? MLC_INT64 : output->dtype, &shape);
}

void mlc_result_unpack(const mlc_binding *output, const uint8_t *out, bool raw, mlc_tensor *result,
                       int64_t i) {
    int64_t least = INT64_MIN, most = INT64_MAX;
    if (mlc_dtype_is_integer(result->dtype))
        mlc_dtype_range(result->dtype, &least, &most);
    for (int64_t e = 0; e < output->elements; e++) {
        uint64_t bits = mlc_load_le(out + output->offset + e * output->width, output->width);
        int64_t q = output->is_signed ? mlc_sign_extend(bits, 8 * output->width) : (int64_t)bits;
        int64_t at = i * output->elements + e;
        if (mlc_dtype_is_float(result->dtype))
            result->f[at] =
                mlc_dtype_round(result->dtype, (double)((__int128)q - output->zero) * output->scale);
        else
            result->i[at] = raw ? q : q < least ? least : q > most ? most : q;
    }
}
