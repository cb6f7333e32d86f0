/*
 * Inputs from the whole declared range: extremes, uniform ones, and ones of small
 * magnitude, none of them on the grid of the input format. Some are moved to where
 * rounding them hurts most, and every other one is a change of the worst so far.
 */
#include "Search.h"

#include <math.h>
#include <string.h>

static int64_t elements(const mlc_value *v) {
    return mlc_shape_elements(&v->shape);
}

/* Uniform in [0,1). */
static double unit(mlc_rng *rng) {
    return (double)(mlc_rng_next(rng) >> 11) * 0x1p-53;
}

static double real_lo(const mlc_value *v, int64_t i) {
    return (double)(v->lo[i] - v->zero) * v->scale;
}

static double real_hi(const mlc_value *v, int64_t i) {
    return (double)(v->hi[i] - v->zero) * v->scale;
}

/* Extremes, uniform, small: each element by itself, or all of the sample at most `size`. */
enum { EXTREME, UNIFORM, SMALL, ALL_SMALL, KINDS };

static double any_real(mlc_rng *rng, double lo, double hi, int kind, double size) {
    if (kind == EXTREME)
        return mlc_rng_next(rng) & 1 ? lo : hi;
    if (kind == UNIFORM)
        return lo + unit(rng) * (hi - lo);
    if (kind == SMALL)
        size = exp2(-32 * unit(rng));
    double x = (2 * unit(rng) - 1) * fmax(fabs(lo), fabs(hi)) * size;
    return fmin(fmax(x, lo), hi);
}

static void any_element(opt_search *s, int k, mlc_tensor *t, int64_t i, int kind, double size) {
    const mlc_value *v = s->integer->inputs[k];
    if (!mlc_dtype_is_float(t->dtype))
        t->i[i] = kind == EXTREME ? (mlc_rng_next(&s->rng) & 1 ? v->lo[i] : v->hi[i])
                                  : mlc_rng_range(&s->rng, v->lo[i], v->hi[i]);
    else
        t->f[i] = mlc_dtype_round(t->dtype, any_real(&s->rng, real_lo(v, i), real_hi(v, i), kind, size));
}

static mlc_tensor *new_input(const opt_search *s, mlc_arena *arena, int k) {
    const mlc_value *v = s->model->inputs[k];
    return mlc_tensor_create(arena, mlc_dtype_is_float(v->dtype) && s->exact ? MLC_DOUBLE : v->dtype,
                             &v->shape);
}

static void copy_elements(mlc_tensor *to, const mlc_tensor *from) {
    size_t n = (size_t)mlc_shape_elements(&to->shape);
    if (mlc_dtype_is_float(to->dtype))
        memcpy(to->f, from->f, n * sizeof *to->f);
    else
        memcpy(to->i, from->i, n * sizeof *to->i);
}

/* All low, all high, then each kind in turn; every fifth mixes kinds. */
static void random_input(opt_search *s, int k, mlc_tensor *t, int64_t n, double size) {
    const mlc_value *v = s->integer->inputs[k];
    for (int64_t i = 0; i < elements(v); i++) {
        int kind = n % 5 < KINDS ? (int)(n % 5) : (int)(mlc_rng_next(&s->rng) % KINDS);
        any_element(s, k, t, i, kind, size);
        if (n > 1)
            continue;
        if (mlc_dtype_is_float(t->dtype))
            t->f[i] = mlc_dtype_round(t->dtype, n == 0 ? real_lo(v, i) : real_hi(v, i));
        else
            t->i[i] = n == 0 ? v->lo[i] : v->hi[i];
    }
}

static void multiply(opt_search *s, mlc_tensor **inputs, double by) {
    for (int k = 0; k < s->integer->n_inputs; k++) {
        const mlc_value *v = s->integer->inputs[k];
        mlc_tensor *t = inputs[k];
        for (int64_t i = 0; i < elements(v) && mlc_dtype_is_float(t->dtype); i++)
            t->f[i] = mlc_dtype_round(t->dtype, fmin(fmax(t->f[i] * by, real_lo(v, i)), real_hi(v, i)));
    }
}

/* Changes some elements: anew, by a few steps of the grid, or by a part of themselves. */
static void change(opt_search *s, mlc_tensor **inputs) {
    const int count = s->integer->n_inputs, changes = 1 + (int)(mlc_rng_next(&s->rng) % 3);
    if (mlc_rng_next(&s->rng) % 8 == 0)
        multiply(s, inputs, exp2(4 * unit(&s->rng) - 2));
    for (int c = 0; c < changes; c++) {
        int k = (int)(mlc_rng_next(&s->rng) % (uint64_t)count);
        const mlc_value *v = s->integer->inputs[k];
        mlc_tensor *t = inputs[k];
        if (elements(v) == 0)
            continue;
        int64_t i = (int64_t)(mlc_rng_next(&s->rng) % (uint64_t)elements(v));
        int how = (int)(mlc_rng_next(&s->rng) % 3);
        if (how == 0 || !mlc_dtype_is_float(t->dtype)) {
            any_element(s, k, t, i, (int)(mlc_rng_next(&s->rng) % ALL_SMALL), 1);
            continue;
        }
        double by = how == 1 ? v->scale * 4 : t->f[i] * exp2(-16 * unit(&s->rng));
        double x = t->f[i] + (2 * unit(&s->rng) - 1) * by;
        t->f[i] = mlc_dtype_round(t->dtype, fmin(fmax(x, real_lo(v, i)), real_hi(v, i)));
    }
}

/* Moves a sample to where its rounding hurts one output most: every input half a
 * step from its grid, to the side that the output's slope says. */
static void climb(opt_search *s, mlc_arena *arena, mlc_tensor **inputs) {
    int k = (int)(mlc_rng_next(&s->rng) % (uint64_t)s->model->n_outputs);
    const mlc_value *out = s->model->outputs[k];
    if (elements(out) == 0)
        return;
    int64_t i = (int64_t)(mlc_rng_next(&s->rng) % (uint64_t)elements(out));
    const mlc_tensor *const *in = (const mlc_tensor *const *)inputs;
    double before = mlc_tensor_real(mlc_eval_exact(s->model, in, arena)[out->id], i);
    for (int input = 0; input < s->integer->n_inputs; input++) {
        const mlc_value *v = s->integer->inputs[input];
        mlc_tensor *t = inputs[input];
        if (t->dtype != MLC_DOUBLE)
            continue;
        const int64_t *q = mlc_input_to_int(arena, v, t, NULL);
        double *moved = MLC_NEW_ARRAY(arena, elements(v) + 1, double);
        for (int64_t e = 0; e < elements(v); e++) {
            mlc_arena_mark mark = mlc_arena_save(arena);
            double x = t->f[e];
            t->f[e] = x + v->scale;
            double after = mlc_tensor_real(mlc_eval_exact(s->model, in, arena)[out->id], i);
            t->f[e] = x;
            moved[e] = ((double)(q[e] - v->zero) + (after < before ? -0.4999 : 0.4999)) * v->scale;
            mlc_arena_restore(arena, mark);
        }
        for (int64_t e = 0; e < elements(v); e++)
            t->f[e] = moved[e];
    }
}

void opt_search_begin(opt_search *s, const mlc_graph *model, const mlc_graph *integer, uint64_t seed) {
    *s = (opt_search){
        .model = model, .integer = integer, .rng = {.state = seed}, .exact = !mlc_quantizes(model)};
    s->score = MLC_NEW_ARRAY(integer->arena, model->n_outputs + 1, double);
    s->worst = MLC_NEW_ARRAY(integer->arena, (model->n_outputs + 1) * (model->n_inputs + 1), mlc_tensor *);
    for (int i = 0; i < model->n_outputs * model->n_inputs; i++)
        s->worst[i] = new_input(s, integer->arena, i % model->n_inputs);
}

mlc_tensor **opt_search_next(opt_search *s, mlc_arena *arena, int64_t n) {
    const int count = s->integer->n_inputs;
    mlc_tensor **inputs = MLC_NEW_ARRAY(arena, count + 1, mlc_tensor *);
    int64_t work = 10; /* of climbing, which is to take a tenth of the time */
    for (int k = 0; k < count; k++) {
        inputs[k] = new_input(s, arena, k);
        work += 10 * elements(s->integer->inputs[k]);
    }
    int worst = (int)(mlc_rng_next(&s->rng) % (uint64_t)s->model->n_outputs);
    bool again = n % 2 && s->score[worst] > 0 && count > 0;
    double size = exp2(-32 * unit(&s->rng));
    for (int k = 0; k < count; k++) {
        if (again)
            copy_elements(inputs[k], s->worst[worst * count + k]);
        else
            random_input(s, k, inputs[k], n, size);
    }
    if (again)
        change(s, inputs);
    if (n % work == 2 || n % work == 3)
        climb(s, arena, inputs);
    return inputs;
}

void opt_search_note(opt_search *s, mlc_tensor *const *inputs, const double *score) {
    const int count = s->integer->n_inputs;
    for (int k = 0; k < s->model->n_outputs; k++) {
        if (!(score[k] > s->score[k]))
            continue;
        s->score[k] = score[k];
        for (int input = 0; input < count; input++)
            copy_elements(s->worst[k * count + input], inputs[input]);
    }
}
