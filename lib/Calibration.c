#include "mlc/npz.h"
#include "mlc/pass.h"

#include <string.h>

/* More would only cost time: ranges hardly change. */
enum { MAX_SAMPLES = 4096 };

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static const mlc_arrays *read_arrays(mlc_graph *g, const char *path) {
    if (!ends_with(path, ".csv")) return mlc_npz_read(g->arena, g->diag, path);
    const mlc_tensor *t = mlc_csv_read(g->arena, g->diag, path, NULL);
    if (!t) return NULL;
    mlc_array *array = MLC_NEW(g->arena, mlc_array);
    *array = (mlc_array){.name = "", .tensor = t};
    mlc_arrays *arrays = MLC_NEW(g->arena, mlc_arrays);
    *arrays = (mlc_arrays){.n = 1, .array = array};
    return arrays;
}

/* The array of an input: by its name, or the only two-dimensional candidate of a model with one input. */
static const mlc_tensor *array_of(mlc_graph *g, const mlc_arrays *arrays, const mlc_value *input, const char *path) {
    const mlc_tensor *t = mlc_arrays_find(arrays, input->name);
    if (!t && arrays->n == 1 && g->n_inputs == 1) t = arrays->array[0].tensor;
    if (!t) t = g->n_inputs == 1 ? mlc_arrays_find(arrays, "X") : NULL;
    if (!t) {
        mlc_error(g->diag, "%s has no array for input '%s'", mlc_escape(path), mlc_escape(input->name));
        return NULL;
    }
    int64_t n = mlc_shape_elements(&t->shape), each = mlc_shape_elements(&input->shape);
    if (t->shape.rank < 1 || t->dtype == MLC_STRING || each == 0 || n % each != 0 || n == 0 ||
        n / each != t->shape.dim[0]) {
        mlc_error(g->diag, "%s: array for input '%s' has shape %s; expected the number of samples in front of %s",
                  mlc_escape(path), mlc_escape(input->name), mlc_shape_str(g->arena, &t->shape),
                  mlc_shape_str(g->arena, &input->shape));
        return NULL;
    }
    return t;
}

static const mlc_tensor *sample(mlc_arena *arena, const mlc_tensor *all, int64_t index, const mlc_value *input) {
    mlc_tensor *t = mlc_tensor_create(arena, input->dtype, &input->shape);
    int64_t n = mlc_shape_elements(&input->shape);
    for (int64_t i = 0; i < n; i++) {
        double x = mlc_tensor_real(all, index * n + i);
        if (mlc_dtype_is_float(input->dtype)) t->f[i] = mlc_dtype_round(input->dtype, x);
        else t->i[i] = mlc_dtype_is_float(all->dtype) ? (int64_t)x : all->i[index * n + i];
    }
    return t;
}

/* Sample s of `samples` taken evenly from `total`. */
static int64_t spread(int64_t s, int64_t samples, int64_t total) {
    return (int64_t)((__extension__(__int128)s * total) / samples);
}

bool mlc_calibration_read(mlc_graph *g, const char *path, mlc_calibration **out) {
    const mlc_arrays *arrays = read_arrays(g, path);
    if (!arrays) return false;
    const mlc_tensor **all = MLC_NEW_ARRAY(g->arena, g->n_inputs + 1, const mlc_tensor *);
    for (int k = 0; k < g->n_inputs; k++) {
        all[k] = array_of(g, arrays, g->inputs[k], path);
        if (!all[k]) return false;
        if (all[k]->shape.dim[0] != all[0]->shape.dim[0])
            return mlc_error(g->diag, "%s: the inputs have different numbers of samples, %lld and %lld",
                             mlc_escape(path), (long long)all[0]->shape.dim[0], (long long)all[k]->shape.dim[0]);
    }
    if (g->n_inputs == 0) return mlc_error(g->diag, "the model has no inputs to calibrate");
    int64_t total = all[0]->shape.dim[0], samples = total < MAX_SAMPLES ? total : MAX_SAMPLES;
    mlc_calibration *c = MLC_NEW(g->arena, mlc_calibration);
    const mlc_tensor *const **inputs = MLC_NEW_ARRAY(g->arena, samples + 1, const mlc_tensor *const *);
    int64_t *index = MLC_NEW_ARRAY(g->arena, samples + 1, int64_t);
    for (int64_t s = 0; s < samples; s++) {
        index[s] = spread(s, samples, all[0]->shape.dim[0]);
        const mlc_tensor **one = MLC_NEW_ARRAY(g->arena, g->n_inputs + 1, const mlc_tensor *);
        for (int k = 0; k < g->n_inputs; k++) one[k] = sample(g->arena, all[k], index[s], g->inputs[k]);
        inputs[s] = one;
    }
    c->n_samples = (int)samples;
    c->inputs = inputs;
    c->index = index;
    c->total = total;
    *out = c;
    return true;
}

/* "file:array" when the part before the last colon ends like a file of arrays. */
static const char *split_spec(mlc_arena *arena, const char *spec, const char **array) {
    const char *colon = strrchr(spec, ':');
    *array = NULL;
    if (!colon || colon == spec) return spec;
    const char *file = mlc_arena_strndup(arena, spec, (size_t)(colon - spec));
    if (!ends_with(file, ".npz")) return spec;
    *array = colon + 1;
    return file;
}

bool mlc_calibration_read_labels(mlc_graph *g, const char *spec, mlc_calibration *c) {
    const char *name, *path = split_spec(g->arena, spec, &name);
    const mlc_arrays *arrays = read_arrays(g, path);
    if (!arrays) return false;
    const mlc_tensor *t = mlc_arrays_find(arrays, name ? name : "y");
    if (!t && !name && arrays->n == 1) t = arrays->array[0].tensor;
    if (!t && !name) return mlc_error(g->diag, "%s: no array 'y'; write %s:ARRAY", mlc_escape(path), mlc_escape(path));
    if (!t) return mlc_error(g->diag, "%s has no array '%s'", mlc_escape(path), mlc_escape(name));
    if (t->dtype == MLC_STRING || mlc_shape_elements(&t->shape) != c->total)
        return mlc_error(g->diag, "%s: the labels have shape %s; expected one number for each of %lld samples",
                         mlc_escape(path), mlc_shape_str(g->arena, &t->shape), (long long)c->total);
    int64_t *labels = MLC_NEW_ARRAY(g->arena, c->n_samples + 1, int64_t);
    for (int s = 0; s < c->n_samples; s++) {
        double x = mlc_tensor_real(t, c->index[s]);
        labels[s] = x >= 0 && x < 0x1p31 ? (int64_t)x : -1;
    }
    c->labels = labels;
    return true;
}
