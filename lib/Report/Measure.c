/* Both evaluators on the calibration data, value by value. */
#include "Report.h"

#include <math.h>
#include <string.h>

static int64_t elements(const mlc_value *v) {
    return mlc_shape_elements(&v->shape);
}

static void measure_value(const mlc_value *v, const mlc_tensor *real, const mlc_value *integer,
                          const int64_t *q, mlc_measured *m) {
    for (int64_t i = 0; i < elements(v); i++) {
        double x = mlc_tensor_real(real, i);
        if (!isfinite(x))
            continue;
        m->lo = fmin(m->lo, x);
        m->hi = fmax(m->hi, x);
        if (!q)
            continue;
        double off = fabs((double)(q[i] - integer->zero) * integer->scale - x);
        if (!(off <= m->error))
            m->error = off;
    }
}

static void count_saturations(const mlc_origin *origin, const int64_t *const *q, int64_t *count) {
    for (int k = 0; k < origin->n_saturations; k++) {
        const mlc_saturation *s = &origin->saturation[k];
        const int64_t *full = q[s->full->id], *limited = q[s->limited->id];
        for (int64_t i = 0; full && limited && i < elements(s->full); i++)
            count[k] += full[i] != limited[i];
    }
}

/* The outputs of one sample: largest error, and the answers. */
static void measure_outputs(const mlc_graph *g, const mlc_graph *model, const mlc_tensor *const *real,
                            const int64_t *const *q, mlc_arena *arena, mlc_worst_sample *sample) {
    const double **x = MLC_NEW_ARRAY(arena, model->n_outputs + 1, const double *);
    const double **y = MLC_NEW_ARRAY(arena, model->n_outputs + 1, const double *);
    for (int k = 0; k < model->n_outputs; k++) {
        const mlc_value *v = model->outputs[k], *integer = g->outputs[k];
        int64_t n = elements(v);
        double *a = MLC_NEW_ARRAY(arena, n + 1, double), *b = MLC_NEW_ARRAY(arena, n + 1, double);
        const int64_t *out = q[integer->id];
        for (int64_t i = 0; i < n; i++) {
            a[i] = mlc_tensor_real(real[v->id], i);
            b[i] = (double)(out[i] - integer->zero) * integer->scale;
            if (mlc_dtype_is_float(v->dtype) || model->n_outputs == 1)
                sample->error = fmax(sample->error, fabs(a[i] - b[i]));
        }
        x[k] = a;
        y[k] = b;
    }
    sample->real = mlc_real_class(model, x);
    sample->integer = mlc_real_class(model, y);
}

/* Keeps the worst, largest error first; of equal ones the first stays. */
static void keep_worst(mlc_measurement *m, const mlc_worst_sample *sample) {
    int at = m->n_worst;
    while (at > 0 && m->worst[at - 1].error < sample->error)
        at--;
    if (at == MLC_WORST_SAMPLES)
        return;
    if (m->n_worst < MLC_WORST_SAMPLES)
        m->n_worst++;
    memmove(m->worst + at + 1, m->worst + at, (size_t)(m->n_worst - 1 - at) * sizeof *sample);
    m->worst[at] = *sample;
}

static void measure_sample(const mlc_graph *g, const mlc_origin *origin, const mlc_tensor *const *inputs,
                           mlc_arena *arena, mlc_measurement *m, mlc_worst_sample *sample) {
    const mlc_graph *model = origin->graph;
    const int64_t **in = MLC_NEW_ARRAY(arena, g->n_inputs + 1, const int64_t *);
    for (int k = 0; k < g->n_inputs; k++)
        in[k] = mlc_input_to_int(arena, g->inputs[k], inputs[k], &m->outside[k]);
    const int64_t **q = mlc_eval_int(g, in, arena);
    const mlc_tensor **real = mlc_eval_exact(model, inputs, arena);
    for (int i = 0; i < model->n_values; i++) {
        const mlc_value *v = model->values[i], *integer = origin->integer[i];
        if (real[i] && !v->constant && real[i]->dtype != MLC_STRING)
            measure_value(v, real[i], integer, integer ? q[integer->id] : NULL, &m->value[i]);
    }
    count_saturations(origin, q, m->saturated);
    measure_outputs(g, model, real, q, arena, sample);
}

mlc_measurement *mlc_measure(const mlc_graph *g, const mlc_origin *origin, const mlc_calibration *data,
                             int samples, mlc_arena *arena) {
    const mlc_graph *model = origin->graph;
    mlc_measurement *m = MLC_NEW(arena, mlc_measurement);
    m->n_samples = samples < data->n_samples ? samples : data->n_samples;
    m->value = MLC_NEW_ARRAY(arena, model->n_values + 1, mlc_measured);
    m->saturated = MLC_NEW_ARRAY(arena, origin->n_saturations + 1, int64_t);
    m->outside = MLC_NEW_ARRAY(arena, g->n_inputs + 1, int64_t);
    for (int i = 0; i < model->n_values; i++)
        m->value[i] = (mlc_measured){.error = NAN, .lo = INFINITY, .hi = -INFINITY};
    mlc_answers *answers = NULL;
    if (mlc_decides(model, data->labels != NULL)) {
        answers = MLC_NEW(arena, mlc_answers);
        answers->n = m->n_samples;
        answers->real = MLC_NEW_ARRAY(arena, m->n_samples + 1, int64_t);
        answers->integer = MLC_NEW_ARRAY(arena, m->n_samples + 1, int64_t);
        answers->label = MLC_NEW_ARRAY(arena, m->n_samples + 1, int64_t);
        answers->labelled = data->labels != NULL;
    }
    for (int s = 0; s < m->n_samples; s++) {
        int at = (int)((int64_t)s * data->n_samples / m->n_samples);
        mlc_arena_mark mark = mlc_arena_save(arena);
        mlc_worst_sample sample = {.index = data->index[at], .label = data->labels ? data->labels[at] : -1};
        measure_sample(g, origin, data->inputs[at], arena, m, &sample);
        mlc_arena_restore(arena, mark);
        keep_worst(m, &sample);
        m->mean_error += sample.error / m->n_samples;
        if (!answers)
            continue;
        answers->real[s] = sample.real;
        answers->integer[s] = sample.integer;
        answers->label[s] = sample.label;
    }
    m->answers = answers;
    return m;
}
