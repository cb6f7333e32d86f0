/*
 * The integer model as far as it is built, on some of the calibration samples: what
 * reaches a dot product there, rounded and saturated as it is, and what should come
 * out of it.
 */
#include "Narrow.h"

#include <math.h>
#include <string.h>

/* Bounds on memory and work: samples, elements of all values, multiplications. */
enum { MOST_SAMPLES = 2048, MOST_ELEMENTS = 1 << 23, MOST_MACS = 1 << 27 };
/* For the moments of one channel's inputs: rows, elements of these, multiplications. */
enum { MOST_ROWS = 4096, MOST_ROW_ELEMENTS = 1 << 22, MOST_PRODUCTS = 1 << 28 };

struct mlc_run {
    int n;                 /* samples */
    const double **real;   /* of the model's dot products, by id: [n,elements] */
    const int64_t **value; /* of the integer model, by id: [n,elements] */
    int n_values;
    const mlc_node *last; /* evaluated */
    /* Inputs of the channel that was last asked for. */
    const int64_t *taps;
    const mlc_value *x;
    int64_t first;
    double *rows; /* [n_rows,taps], centered */
    int64_t n_rows;
};

static int samples_for(const mlc_quant *q) {
    double elements = 1, macs = 1;
    MLC_FOR_NODES (q->from, node)
        for (int k = 0; k < node->n_out; k++)
            elements += node->out[k] ? 8 * (double)mlc_q_elements(node->out[k]) : 0;
    for (int i = 0; i < q->n_dots; i++) {
        mlc_dot_weights d;
        if (mlc_q_dot_weights(q->dots[i].node, &d))
            macs += (double)d.taps * (double)mlc_q_elements(q->dots[i].node->out[0]);
    }
    double n = fmin(fmin(MOST_ELEMENTS / elements, MOST_MACS / macs), MOST_SAMPLES);
    return (int)fmin(n, q->data->n_samples);
}

static const mlc_tensor *const *sample(const mlc_quant *q, int s) {
    return q->data->inputs[(int64_t)s * q->data->n_samples / q->run->n];
}

static void grow(mlc_quant *q) {
    struct mlc_run *run = q->run;
    int n = q->to->n_values;
    if (n <= run->n_values)
        return;
    const int64_t **value = MLC_NEW_ARRAY(q->arena, 2 * n, const int64_t *);
    if (run->n_values)
        memcpy(value, run->value, (size_t)run->n_values * sizeof *value);
    run->value = value;
    run->n_values = 2 * n;
}

static void take_inputs(mlc_quant *q) {
    for (int k = 0; k < q->to->n_inputs; k++) {
        const mlc_value *v = q->to->inputs[k];
        int64_t n = mlc_q_elements(v), *all = MLC_NEW_ARRAY(q->arena, q->run->n * n + 1, int64_t);
        for (int s = 0; s < q->run->n; s++) {
            mlc_arena_mark mark = mlc_arena_save(q->arena);
            memcpy(all + s * n, mlc_input_to_int(q->arena, v, sample(q, s)[k], NULL),
                   (size_t)n * sizeof *all);
            mlc_arena_restore(q->arena, mark);
        }
        q->run->value[v->id] = all;
    }
}

static void take_real(mlc_quant *q) {
    double **real = MLC_NEW_ARRAY(q->arena, q->from->n_values + 1, double *);
    for (int i = 0; i < q->n_dots; i++) {
        const mlc_value *v = q->dots[i].node->out[0];
        real[v->id] = MLC_NEW_ARRAY(q->arena, q->run->n * mlc_q_elements(v) + 1, double);
    }
    for (int s = 0; s < q->run->n; s++) {
        mlc_arena_mark mark = mlc_arena_save(q->arena);
        const mlc_tensor **value = mlc_eval_real(q->from, sample(q, s), q->arena);
        for (int i = 0; i < q->n_dots; i++) {
            const mlc_value *v = q->dots[i].node->out[0];
            for (int64_t k = 0; k < mlc_q_elements(v); k++)
                real[v->id][s * mlc_q_elements(v) + k] = mlc_tensor_real(value[v->id], k);
        }
        mlc_arena_restore(q->arena, mark);
    }
    q->run->real = (const double **)real;
}

static void evaluate(mlc_quant *q, const mlc_node *node) {
    struct mlc_run *run = q->run;
    int64_t n = mlc_q_elements(node->out[0]), *all = MLC_NEW_ARRAY(q->arena, run->n * n + 1, int64_t);
    mlc_arena_mark mark = mlc_arena_save(q->arena);
    const int64_t **in = MLC_NEW_ARRAY(q->arena, node->n_in + 1, const int64_t *);
    for (int s = 0; s < run->n; s++) {
        for (int k = 0; k < node->n_in; k++) {
            const mlc_value *v = node->in[k];
            in[k] = !v ? NULL : v->constant ? v->constant->i : run->value[v->id] + s * mlc_q_elements(v);
        }
        node->op->eval_int(node, in, all + s * n);
    }
    mlc_arena_restore(q->arena, mark);
    run->value[node->out[0]->id] = all;
}

/* All samples of an integer value; NULL: there are none. */
static const int64_t *values_of(mlc_quant *q, const mlc_value *v) {
    if (!q->run) {
        q->run = MLC_NEW(q->arena, struct mlc_run);
        q->run->n = samples_for(q);
        grow(q);
        take_inputs(q);
        take_real(q);
    }
    if (q->run->n == 0)
        return NULL;
    grow(q);
    mlc_node *next = q->run->last ? q->run->last->next : q->to->first;
    for (; next && !q->run->value[v->id]; next = next->next) {
        evaluate(q, next);
        q->run->last = next;
    }
    return q->run->value[v->id];
}

/* The inputs of channel c's taps, centered, and their means and covariance. */
static void take_rows(mlc_quant *q, const mlc_narrow *p, int64_t c, const int64_t *x, mlc_moments *m) {
    struct mlc_run *run = q->run;
    int64_t K = p->taps, total = run->n * p->rows, n = run->n_rows, size = mlc_q_elements(p->x);
    memset(m->mean, 0, (size_t)K * sizeof *m->mean);
    memset(m->covariance, 0, (size_t)(K * K) * sizeof *m->covariance);
    for (int64_t r = 0; r < n; r++) {
        int64_t at = r * total / n;
        const mlc_taps *t = &p->all[mlc_narrow_element(p, c, at % p->rows)];
        for (int64_t k = 0; k < K; k++) {
            int64_t i = mlc_tap(t, k);
            run->rows[r * K + k] = i < 0 ? 0 : (double)x[at / p->rows * size + i];
            m->mean[k] += run->rows[r * K + k] / (double)n;
        }
    }
    for (int64_t r = 0; r < n; r++) {
        double *row = run->rows + r * K;
        for (int64_t k = 0; k < K; k++)
            row[k] -= m->mean[k];
        for (int64_t i = 0; i < K; i++)
            for (int64_t j = 0; row[i] != 0 && j <= i; j++)
                m->covariance[i * K + j] += row[i] * row[j];
    }
    for (int64_t i = 0; i < K; i++)
        for (int64_t j = 0; j <= i; j++)
            m->covariance[j * K + i] = m->covariance[i * K + j] /= (double)n;
}

/* Of the inputs with the channel's result in the model. */
static void take_result(const mlc_quant *q, const mlc_narrow *p, int64_t c, mlc_moments *m) {
    const struct mlc_run *run = q->run;
    int64_t K = p->taps, total = run->n * p->rows, n = run->n_rows, size = p->channels * p->rows;
    const double *real = run->real[q->node->out[0]->id];
    memset(m->with, 0, (size_t)K * sizeof *m->with);
    m->result = 0;
    for (int64_t r = 0; r < n; r++) {
        int64_t at = r * total / n;
        double y = real[at / p->rows * size + mlc_narrow_element(p, c, at % p->rows)];
        m->result += y / (double)n;
        for (int64_t k = 0; k < K; k++)
            m->with[k] += run->rows[r * K + k] * y / (double)n;
    }
}

bool mlc_q_moments(mlc_quant *q, const mlc_narrow *p, int64_t c, mlc_moments *m) {
    int64_t K = p->taps;
    if (!q->data || p->dot->bits > MLC_MOST_BITS ||
        (double)K * (double)K * (double)p->channels > MOST_PRODUCTS)
        return false;
    const int64_t *x = values_of(q, p->x);
    if (!x)
        return false;
    struct mlc_run *run = q->run;
    const mlc_taps *t = &p->all[mlc_narrow_element(p, c, 0)];
    if (c == 0) {
        double rows = fmin(fmin((double)run->n * (double)p->rows, MOST_ROWS),
                           fmin(MOST_ROW_ELEMENTS / K, (double)MOST_PRODUCTS / (double)(K * K)));
        run->n_rows = (int64_t)rows;
        run->rows = MLC_NEW_ARRAY(q->arena, run->n_rows * K + 1, double);
        *m = (mlc_moments){.mean = MLC_NEW_ARRAY(q->arena, K + 1, double),
                           .covariance = MLC_NEW_ARRAY(q->arena, K * K + 1, double)};
        if (p->whole && run->real[q->node->out[0]->id] &&
            mlc_q_elements(q->node->out[0]) == p->channels * p->rows)
            m->with = MLC_NEW_ARRAY(q->arena, K + 1, double);
    }
    if (c == 0 || run->taps != t->x || run->first != t->x0)
        take_rows(q, p, c, x, m);
    run->taps = t->x;
    run->first = t->x0;
    if (m->with)
        take_result(q, p, c, m);
    return true;
}
