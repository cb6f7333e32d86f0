/* What the calibration data shows: ranges of every element of the model, handed on to the integer values. */
#include "Precision.h"
#include "Quant.h"

#include <math.h>
#include <string.h>

/* `mean` and `variance` hold the sums of x and x^2 over n samples, by n, until all are seen. */
static void observe(mlc_seen *seen, double x, int n) {
    if (!isfinite(x))
        return;
    seen->all.lo = fmin(seen->all.lo, x);
    seen->all.hi = fmax(seen->all.hi, x);
    seen->mean += x / n;
    seen->variance += x * x / n;
    seen->active += x != 0 ? 1.0 / n : 0;
}

void mlc_q_observe(mlc_quant *q, const mlc_calibration *data) {
    mlc_graph *g = q->from;
    mlc_seen **seen = MLC_NEW_ARRAY(q->arena, g->n_values + 1, mlc_seen *);
    q->n_seen = g->n_values;
    q->seen_all = MLC_NEW_ARRAY(q->arena, g->n_values + 1, mlc_seen);
    double *lo = MLC_NEW_ARRAY(q->arena, g->n_values + 1, double);
    double *hi = MLC_NEW_ARRAY(q->arena, g->n_values + 1, double);
    for (int i = 0; i < g->n_values; i++) {
        const mlc_value *v = g->values[i];
        int64_t n = v->constant || v->dtype == MLC_STRING ? 0 : mlc_q_elements(v);
        seen[i] = MLC_NEW_ARRAY(q->arena, n + 1, mlc_seen);
        for (int64_t k = 0; k < n; k++)
            seen[i][k].all = (mlc_range){.lo = INFINITY, .hi = -INFINITY};
        lo[i] = INFINITY;
        hi[i] = -INFINITY;
    }
    for (int s = 0; s < data->n_samples; s++) {
        mlc_arena_mark mark = mlc_arena_save(q->arena);
        const mlc_tensor **value = mlc_eval_real(g, data->inputs[s], q->arena);
        for (int i = 0; i < g->n_values; i++) {
            if (!value[i] || g->values[i]->constant || value[i]->dtype == MLC_STRING)
                continue;
            int64_t n = mlc_shape_elements(&value[i]->shape);
            for (int64_t k = 0; k < n; k++)
                observe(&seen[i][k], mlc_tensor_real(value[i], k), data->n_samples);
        }
        mlc_arena_restore(q->arena, mark);
    }
    for (int i = 0; i < g->n_values; i++) {
        const mlc_value *v = g->values[i];
        int64_t n = v->constant || v->dtype == MLC_STRING ? 0 : mlc_q_elements(v);
        for (int64_t k = 0; k < n; k++) {
            mlc_seen *own = &seen[i][k];
            own->variance = fmax(own->variance - own->mean * own->mean, 0);
            lo[i] = fmin(lo[i], seen[i][k].all.lo);
            hi[i] = fmax(hi[i], seen[i][k].all.hi);
        }
        q->seen_all[i].all = (mlc_range){.lo = lo[i], .hi = hi[i]};
    }
    q->seen = seen;
    q->seen_lo = lo;
    q->seen_hi = hi;
}

const mlc_seen *mlc_q_seen(const mlc_quant *q, const mlc_value *v) {
    return v->id < q->n_integer_seen ? q->integer_seen[v->id] : NULL;
}

void mlc_q_set_seen(mlc_quant *q, const mlc_value *v, const mlc_seen *seen) {
    if (v->id >= q->n_integer_seen) {
        int n = 2 * v->id + 64;
        const mlc_seen **grown = MLC_NEW_ARRAY(q->arena, n, const mlc_seen *);
        if (q->n_integer_seen)
            memcpy(grown, q->integer_seen, (size_t)q->n_integer_seen * sizeof *grown);
        q->integer_seen = grown;
        q->n_integer_seen = n;
    }
    q->integer_seen[v->id] = seen;
}

void mlc_q_gather_seen(mlc_quant *q, const mlc_value *out, mlc_value *const *in, int n_in,
                       const int64_t *index) {
    for (int k = 0; k < n_in; k++)
        if (!in[k]->constant && !mlc_q_seen(q, in[k]))
            return;
    int64_t n = mlc_q_elements(out);
    mlc_seen *seen = MLC_NEW_ARRAY(q->arena, n + 1, mlc_seen);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = index[i];
        int k = 0;
        while (k < n_in - 1 && at >= mlc_q_elements(in[k]))
            at -= mlc_q_elements(in[k++]);
        double x = in[k]->constant ? (double)in[k]->constant->i[at] * in[k]->scale : 0;
        seen[i] = in[k]->constant ? (mlc_seen){.all = {x, x}, .mean = x, .active = x != 0}
                                  : mlc_q_seen(q, in[k])[at];
    }
    mlc_q_set_seen(q, out, seen);
}
