/*
 * --certify=N: the certified bounds against N inputs. Both evaluators run on real
 * numbers from the whole declared range of every input: extremes, uniform ones,
 * and ones of small magnitude, none of them on the grid of the input format; some
 * are moved to where rounding them hurts most.
 */
#include "Opt.h"

#include "mlc/mlc.h"
#include "mlc/pass.h"
#include "mlc/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct output_record {
    double bound, worst, range; /* of the element with the largest; of the proven interval */
    double tightness;           /* least bound / worst over the elements */
    double *element_worst;
    int64_t violations, not_finite;
} output_record;

static int64_t elements(const mlc_value *v) {
    return mlc_shape_elements(&v->shape);
}

/* Uniform in [0,1). */
static double unit(mlc_rng *rng) {
    return (double)(mlc_rng_next(rng) >> 11) * 0x1p-53;
}

static double any_real(mlc_rng *rng, double lo, double hi, int kind) {
    if (kind == 0)
        return mlc_rng_next(rng) & 1 ? lo : hi;
    if (kind == 1)
        return lo + unit(rng) * (hi - lo);
    double magnitude = fmax(fabs(lo), fabs(hi)) * exp2(-32 * unit(rng)), x = (2 * unit(rng) - 1) * magnitude;
    return fmin(fmax(x, lo), hi);
}

/* `exact`: of type DOUBLE where the model takes floats. Sample s: all low, all high, then each kind in turn;
 * every fourth mixes kinds. */
static mlc_tensor *random_input(mlc_arena *arena, mlc_rng *rng, const mlc_value *from, const mlc_value *to,
                                bool exact, int64_t s) {
    bool is_float = mlc_dtype_is_float(from->dtype);
    mlc_tensor *t = mlc_tensor_create(arena, is_float && exact ? MLC_DOUBLE : from->dtype, &from->shape);
    for (int64_t i = 0; i < elements(to); i++) {
        double lo = (double)(to->lo[i] - to->zero) * to->scale,
               hi = (double)(to->hi[i] - to->zero) * to->scale;
        int kind = s % 4 < 3 ? (int)(s % 4) : (int)(mlc_rng_next(rng) % 3);
        if (!is_float)
            t->i[i] = s == 0 || s == 1 || kind == 0
                          ? (s == 0 || (s > 1 && mlc_rng_next(rng) & 1) ? to->lo[i] : to->hi[i])
                          : mlc_rng_range(rng, to->lo[i], to->hi[i]);
        else
            t->f[i] = mlc_dtype_round(t->dtype, s == 0 ? lo : s == 1 ? hi : any_real(rng, lo, hi, kind));
    }
    return t;
}

static void compare(const mlc_value *v, const int64_t *q, const mlc_tensor *real, output_record *r) {
    for (int64_t i = 0; i < elements(v); i++) {
        double x = mlc_tensor_real(real, i), bound = v->err ? v->err[i] : 0;
        if (!isfinite(x)) {
            r->not_finite++;
            continue;
        }
        double off = fabs((double)(q[i] - v->zero) * v->scale - x);
        /* The evaluators' own rounding: double arithmetic over intermediate values of that size. */
        double slack = 1e-9 * bound + 1e-12 * fmax(1, fabs(x));
        /* A model that quantizes itself computes in floats between its integers. */
        if (real->dtype == MLC_FLOAT)
            slack += ldexp(fmax(fabs((double)v->lo[i]), fabs((double)v->hi[i])) * v->scale, -20);
        if (off > bound + slack)
            r->violations++;
        if (off > r->element_worst[i])
            r->element_worst[i] = off;
    }
}

static void sum_up(const mlc_value *v, output_record *r) {
    for (int64_t i = 0; i < elements(v); i++) {
        r->bound = fmax(r->bound, v->err ? v->err[i] : 0);
        r->worst = fmax(r->worst, r->element_worst[i]);
        r->range = fmax(r->range, ((double)v->hi[i] - (double)v->lo[i]) * v->scale);
    }
    r->tightness = r->bound == 0 ? 1 : r->bound / fmax(r->worst, 1e-12);
}

/* The bounds do not speak of samples that a calibrated range cuts off. */
static bool saturated(const mlc_pass_context *context, const int64_t *const *y) {
    for (int k = 0; k < context->origin.n_saturations; k++) {
        const mlc_saturation *s = &context->origin.saturation[k];
        const int64_t *full = y[s->full->id], *limited = y[s->limited->id];
        if (full && limited && memcmp(full, limited, (size_t)elements(s->full) * sizeof *full) != 0)
            return true;
    }
    return false;
}

/* False: the sample is cut off. */
static bool check(mlc_graph *g, const mlc_pass_context *context, const mlc_tensor *const *inputs,
                  output_record *record, int64_t *ties) {
    const mlc_graph *real = context->origin.graph;
    const int64_t **q = MLC_NEW_ARRAY(g->arena, g->n_inputs + 1, const int64_t *);
    for (int k = 0; k < g->n_inputs; k++)
        q[k] = mlc_input_to_int(g->arena, g->inputs[k], inputs[k], NULL);
    const int64_t **y = mlc_eval_int(g, q, g->arena);
    if (saturated(context, y))
        return false;
    const mlc_tensor **x = mlc_quantizes(real) ? opt_reference(&context->origin, inputs, y, g->arena, ties)
                                               : mlc_eval_exact(real, inputs, g->arena);
    for (int k = 0; k < g->n_outputs; k++)
        compare(g->outputs[k], y[g->outputs[k]->id], x[real->outputs[k]->id], &record[k]);
    return true;
}

/* Moves a sample to where its rounding hurts one output most: every input half a
 * step from its grid, to the side that the output's slope says. */
static void climb(mlc_graph *g, const mlc_pass_context *context, mlc_rng *rng, mlc_tensor **inputs) {
    const mlc_graph *real = context->origin.graph;
    int k = (int)(mlc_rng_next(rng) % (uint64_t)g->n_outputs);
    const mlc_value *out = real->outputs[k];
    if (elements(out) == 0)
        return;
    int64_t i = (int64_t)(mlc_rng_next(rng) % (uint64_t)elements(out));
    const mlc_tensor *const *in = (const mlc_tensor *const *)inputs;
    double before = mlc_tensor_real(mlc_eval_exact(real, in, g->arena)[out->id], i);
    for (int input = 0; input < g->n_inputs; input++) {
        const mlc_value *v = g->inputs[input];
        mlc_tensor *t = inputs[input];
        if (t->dtype != MLC_DOUBLE)
            continue;
        const int64_t *q = mlc_input_to_int(g->arena, v, t, NULL);
        double *moved = MLC_NEW_ARRAY(g->arena, elements(v) + 1, double);
        for (int64_t e = 0; e < elements(v); e++) {
            mlc_arena_mark mark = mlc_arena_save(g->arena);
            double x = t->f[e];
            t->f[e] = x + v->scale;
            double after = mlc_tensor_real(mlc_eval_exact(real, in, g->arena)[out->id], i);
            t->f[e] = x;
            moved[e] = ((double)(q[e] - v->zero) + (after < before ? -0.4999 : 0.4999)) * v->scale;
            mlc_arena_restore(g->arena, mark);
        }
        for (int64_t e = 0; e < elements(v); e++)
            t->f[e] = moved[e];
    }
}

/* How many samples a calibrated range cut off. */
static int64_t run(mlc_graph *g, const mlc_pass_context *context, int64_t n, uint64_t seed,
                   output_record *record, int64_t *ties) {
    const mlc_graph *real = context->origin.graph;
    mlc_rng rng = {.state = seed};
    mlc_tensor **inputs = MLC_NEW_ARRAY(g->arena, g->n_inputs + 1, mlc_tensor *);
    int64_t skipped = 0, work = 10;
    bool exact = !mlc_quantizes(real);
    for (int k = 0; k < g->n_inputs; k++)
        work += 10 * elements(g->inputs[k]);
    for (int64_t s = 0; s < n; s++) {
        mlc_arena_mark mark = mlc_arena_save(g->arena);
        for (int k = 0; k < g->n_inputs; k++)
            inputs[k] = random_input(g->arena, &rng, real->inputs[k], g->inputs[k], exact, s);
        if (s % work == 2) /* a tenth of the time */
            climb(g, context, &rng, inputs);
        skipped += !check(g, context, (const mlc_tensor *const *)inputs, record, ties);
        mlc_arena_restore(g->arena, mark);
    }
    return skipped;
}

bool opt_certify(mlc_graph *g, const opt_arguments *a) {
    static const char *const passes[] = {"infer-shapes", "simplify", "quantize"};
    mlc_options options;
    mlc_options_init(&options);
    mlc_pass_context context = {.options = &options};
    options.precision = a->precision;
    options.input_format = a->input_format;
    for (int i = 0; i < 3; i++) {
        mlc_calibration *data = NULL;
        if (i == 1 && a->calibrate && !mlc_calibration_read(g, a->calibrate, &data))
            return false;
        if (data)
            context.calibration = data;
        if (!(g = mlc_pass_run(mlc_pass_find(passes[i]), g, &context)))
            return false;
    }
    output_record *record = MLC_NEW_ARRAY(g->arena, g->n_outputs + 1, output_record);
    for (int k = 0; k < g->n_outputs; k++)
        record[k].element_worst = MLC_NEW_ARRAY(g->arena, elements(g->outputs[k]) + 1, double);
    int64_t ties = 0, skipped = run(g, &context, a->certify, a->seed, record, &ties);
    if (skipped)
        printf("%lld of %d samples leave the calibrated ranges\n", (long long)skipped, a->certify);
    if (ties)
        printf("%lld values at ties that rounding of floats decides\n", (long long)ties);
    int64_t violations = 0;
    for (int k = 0; k < g->n_outputs; k++) {
        output_record *r = &record[k];
        sum_up(g->outputs[k], r);
        violations += r->violations;
        printf("%-24s bound %.3g, worst %.3g, tightness %.3g, range %.3g, violations %lld",
               mlc_escape(g->outputs[k]->name), r->bound, r->worst, r->tightness, r->range,
               (long long)r->violations);
        if (r->not_finite)
            printf(", %lld not finite", (long long)r->not_finite);
        printf("\n");
    }
    if (fflush(stdout) != 0)
        return false;
    return violations == 0 ||
           mlc_error(g->diag, "%lld results outside their certified bounds", (long long)violations);
}
