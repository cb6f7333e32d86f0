#include "Opt.h"

#include "mlc/npz.h"
#include "mlc/pass.h"

#include <string.h>

static int64_t elements(const mlc_value *v) {
    return mlc_shape_elements(&v->shape);
}

/* An array with the sample index in front of the value's shape. */
static mlc_tensor *stacked(mlc_graph *g, const mlc_value *v, mlc_dtype dtype, int64_t n) {
    mlc_shape s = v->shape;
    if (s.rank < MLC_MAX_RANK) {
        memmove(s.dim + 1, s.dim, (size_t)s.rank * sizeof s.dim[0]);
        s.dim[0] = n;
        s.rank++;
    } else {
        s = (mlc_shape){.rank = 2, .dim = {n, elements(v)}};
    }
    return mlc_tensor_create(g->arena, dtype, &s);
}

static const mlc_tensor *find(mlc_graph *g, const mlc_arrays *arrays, const mlc_value *v, int64_t *samples) {
    const mlc_tensor *t = mlc_arrays_find(arrays, v->name);
    if (!t && g->n_inputs == 1 && arrays->n == 1)
        t = arrays->array[0].tensor;
    int64_t n = t ? mlc_shape_elements(&t->shape) : 0;
    if (!t || t->dtype == MLC_STRING || elements(v) == 0 || n % elements(v) != 0) {
        mlc_error(g->diag, "no array fits input '%s'", mlc_escape(v->name));
        return NULL;
    }
    *samples = n / elements(v);
    return t;
}

static bool evaluate_int(mlc_graph *g, const mlc_tensor *const *in, int64_t n, mlc_array *out) {
    for (int k = 0; k < g->n_inputs; k++)
        if (mlc_dtype_is_float(in[k]->dtype))
            return mlc_error(g->diag, "an integer graph takes integer inputs");
    const int64_t **inputs = MLC_NEW_ARRAY(g->arena, g->n_inputs + 1, const int64_t *);
    for (int64_t s = 0; s < n; s++) {
        mlc_arena_mark mark = mlc_arena_save(g->arena);
        for (int k = 0; k < g->n_inputs; k++)
            inputs[k] = in[k]->i + s * elements(g->inputs[k]);
        const int64_t **value = mlc_eval_int(g, inputs, g->arena);
        for (int k = 0; k < g->n_outputs; k++) {
            int64_t size = elements(g->outputs[k]);
            memcpy(out[k].tensor->i + s * size, value[g->outputs[k]->id], (size_t)size * sizeof(int64_t));
        }
        mlc_arena_restore(g->arena, mark);
    }
    return true;
}

static bool evaluate_real(mlc_graph *g, const mlc_tensor *const *in, int64_t n, mlc_array *out) {
    const mlc_tensor **inputs = MLC_NEW_ARRAY(g->arena, g->n_inputs + 1, const mlc_tensor *);
    for (int64_t s = 0; s < n; s++) {
        mlc_arena_mark mark = mlc_arena_save(g->arena);
        for (int k = 0; k < g->n_inputs; k++) {
            const mlc_value *v = g->inputs[k];
            mlc_tensor *t = mlc_tensor_create(g->arena, v->dtype, &v->shape);
            for (int64_t i = 0; i < elements(v); i++) {
                double x = mlc_tensor_real(in[k], s * elements(v) + i);
                if (mlc_dtype_is_float(v->dtype))
                    t->f[i] = mlc_dtype_round(v->dtype, x);
                else
                    t->i[i] = mlc_dtype_is_float(in[k]->dtype) ? (int64_t)x : in[k]->i[s * elements(v) + i];
            }
            inputs[k] = t;
        }
        const mlc_tensor **value = mlc_eval_real(g, inputs, g->arena);
        for (int k = 0; k < g->n_outputs; k++) {
            int64_t size = elements(g->outputs[k]);
            const mlc_tensor *v = value[g->outputs[k]->id];
            if (mlc_dtype_is_float(v->dtype))
                memcpy(out[k].tensor->f + s * size, v->f, (size_t)size * sizeof(double));
            else
                memcpy(out[k].tensor->i + s * size, v->i, (size_t)size * sizeof(int64_t));
        }
        mlc_arena_restore(g->arena, mark);
    }
    return true;
}

bool opt_evaluate(mlc_graph *g, const opt_arguments *a) {
    if (g->stage == MLC_IMPORTED)
        return mlc_error(g->diag, "--eval needs shapes: add --pass=infer-shapes");
    const mlc_arrays *arrays = mlc_npz_read(g->arena, g->diag, a->eval);
    if (!arrays)
        return false;
    const mlc_tensor **in = MLC_NEW_ARRAY(g->arena, g->n_inputs + 1, const mlc_tensor *);
    int64_t n = -1;
    for (int k = 0; k < g->n_inputs; k++) {
        int64_t own;
        if (!(in[k] = find(g, arrays, g->inputs[k], &own)))
            return false;
        if (n >= 0 && own != n)
            return mlc_error(g->diag, "the arrays have different numbers of samples");
        n = own;
    }
    if (n < 0)
        n = 1;
    mlc_array *out = MLC_NEW_ARRAY(g->arena, g->n_outputs + 1, mlc_array);
    for (int k = 0; k < g->n_outputs; k++) {
        mlc_dtype dtype = g->stage == MLC_INTEGER ? MLC_INT64 : g->outputs[k]->dtype;
        out[k] = (mlc_array){.name = g->outputs[k]->name, .tensor = stacked(g, g->outputs[k], dtype, n)};
    }
    bool ok = g->stage == MLC_INTEGER ? evaluate_int(g, in, n, out) : evaluate_real(g, in, n, out);
    return ok && mlc_npz_write(g->arena, g->diag, a->outputs, out, g->n_outputs);
}
