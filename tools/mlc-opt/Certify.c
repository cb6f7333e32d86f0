/* --certify=N: the certified bounds against N inputs from the whole declared range of every input (Search.h).
 */
#include "Opt.h"
#include "Search.h"

#include "mlc/mlc.h"
#include "mlc/pass.h"

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

/* How bad the worst element is: its distance in parts of its bound. */
static double compare(const mlc_value *v, const int64_t *q, const mlc_tensor *real, output_record *r) {
    double worst = 0;
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
        worst = fmax(worst, bound > 0 ? off / bound : off);
    }
    return worst;
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
                  output_record *record, double *score, int64_t *ties) {
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
        score[k] = compare(g->outputs[k], y[g->outputs[k]->id], x[real->outputs[k]->id], &record[k]);
    return true;
}

/* How many samples a calibrated range cut off. */
static int64_t run(mlc_graph *g, const mlc_pass_context *context, int64_t n, uint64_t seed,
                   output_record *record, int64_t *ties) {
    opt_search search;
    opt_search_begin(&search, context->origin.graph, g, seed);
    int64_t skipped = 0;
    for (int64_t s = 0; s < n; s++) {
        mlc_arena_mark mark = mlc_arena_save(g->arena);
        mlc_tensor **inputs = opt_search_next(&search, g->arena, s);
        double *score = MLC_NEW_ARRAY(g->arena, g->n_outputs + 1, double);
        if (check(g, context, (const mlc_tensor *const *)inputs, record, score, ties))
            opt_search_note(&search, inputs, score);
        else
            skipped++;
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
