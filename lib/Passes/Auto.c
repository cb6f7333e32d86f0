/*
 * --precision=auto: a search for the fewest bits that keep a promise on the samples.
 * First all dot products get the same number of bits; then each gets fewer, one step
 * at a time and in turns, as long as the promise is kept.
 */
#include "Precision.h"
#include "Quant.h"
#include "Report/Report.h"
#include "mlc/mlc.h"

#include <math.h>
#include <string.h>

static const int ladder[] = {2, 3, 4, 5, 6, 7, 8, 16, 32};
enum { STEPS = sizeof ladder / sizeof ladder[0], FIRST_STEP = 6, ALL_SAMPLES = 1 << 20 };

/*
 * What a promise about accuracy is worth on other data: decisions must hold on
 * mixtures of samples as well, where one element in so many comes from another one.
 */
enum { MIXED_SAMPLES = 4096, MIXED_ONE_IN = 8 };

/* Where k of so many samples went wrong, the percentage that is hardly ever exceeded on
 * others: with standard deviations of a Poisson distribution, one in twenty is beyond. */
#define DEVIATIONS 1.6

static double percent(double k, double of) {
    return of > 0 ? 100 * (k + DEVIATIONS * sqrt(k)) / of : 0;
}

/* A promise and how far an attempt is from it. */
typedef struct promise {
    double max_error;             /* 0: none */
    double max_drop;              /* percent; negative: none */
    const mlc_calibration *mixed; /* NULL where no promise about accuracy is made */
} promise;

typedef struct outcome {
    bool ok; /* it could be compiled */
    double error, drop;
} outcome;

static bool keeps(const promise *p, const outcome *o) {
    return o->ok && (p->max_error == 0 || o->error <= p->max_error) &&
           (p->max_drop < 0 || o->drop <= p->max_drop);
}

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static mlc_tensor *mix(mlc_arena *arena, const mlc_tensor *a, const mlc_tensor *b, uint32_t *state) {
    mlc_tensor *t = mlc_tensor_create(arena, a->dtype, &a->shape);
    for (int64_t i = 0; i < mlc_shape_elements(&a->shape); i++) {
        const mlc_tensor *from = next_random(state) % MIXED_ONE_IN ? a : b;
        if (mlc_dtype_is_float(a->dtype))
            t->f[i] = from->f[i];
        else
            t->i[i] = from->i[i];
    }
    return t;
}

static const mlc_calibration *mixture(const mlc_graph *g, const mlc_calibration *data) {
    int n = data->n_samples < MIXED_SAMPLES ? data->n_samples : MIXED_SAMPLES;
    mlc_calibration *m = MLC_NEW(g->arena, mlc_calibration);
    const mlc_tensor ***inputs = MLC_NEW_ARRAY(g->arena, n + 1, const mlc_tensor **);
    uint32_t state = 1;
    for (int s = 0; s < n; s++) {
        int a = (int)((int64_t)s * data->n_samples / n),
            b = (int)(next_random(&state) % (uint32_t)data->n_samples);
        inputs[s] = MLC_NEW_ARRAY(g->arena, g->n_inputs + 1, const mlc_tensor *);
        for (int k = 0; k < g->n_inputs; k++)
            inputs[s][k] = mix(g->arena, data->inputs[a][k], data->inputs[b][k], &state);
    }
    *m = (mlc_calibration){.n_samples = n,
                           .inputs = (const mlc_tensor *const *const *)inputs,
                           .index = MLC_NEW_ARRAY(g->arena, n + 1, int64_t),
                           .total = n,
                           .labels = MLC_NEW_ARRAY(g->arena, n + 1, int64_t)};
    return m;
}

/* Samples that the model gets right and the integers do not; those that only the
 * integers get right are luck and do not make up for them. In percent. */
static double lost_of(const mlc_answers *a) {
    int64_t lost = 0, labelled = 0;
    for (int s = 0; s < a->n; s++) {
        if (a->label[s] < 0)
            continue;
        labelled++;
        lost += a->real[s] == a->label[s] && a->integer[s] != a->label[s];
    }
    return percent((double)lost, (double)labelled);
}

static double changed_of(const mlc_answers *a) {
    int64_t of, same = mlc_agreeing(a->real, a->integer, a->n, &of);
    return percent((double)(of - same), (double)of);
}

static void silent(void *user, mlc_severity severity, const char *line) {
    (void)user;
    (void)severity;
    (void)line;
}

static outcome attempt(const mlc_quant *prepared, mlc_pass_context *context, const mlc_dot *dots, int n,
                       const promise *p) {
    outcome o = {.error = INFINITY, .drop = INFINITY};
    mlc_diag before = *prepared->diag;
    mlc_arena *arena = prepared->arena;
    prepared->diag->sink = silent;
    mlc_arena_mark mark = mlc_arena_save(arena);
    const mlc_graph *g = mlc_q_attempt(prepared, context, dots, n);
    if (g) {
        const mlc_origin *origin = &context->origin;
        const mlc_measurement *m = mlc_measure(g, origin, context->calibration, ALL_SAMPLES, arena);
        o = (outcome){.ok = true, .error = m->n_worst ? m->worst[0].error : 0};
        if (p->mixed) {
            const mlc_measurement *mixed = mlc_measure(g, origin, p->mixed, ALL_SAMPLES, arena);
            o.drop = fmax(lost_of(m->answers), changed_of(mixed->answers));
        }
    }
    mlc_arena_restore(arena, mark);
    context->origin = (mlc_origin){0};
    *prepared->diag = before;
    return o;
}

static outcome attempt_all(const mlc_quant *prepared, mlc_pass_context *context, mlc_dot *dots, int n,
                           const promise *p, int step) {
    for (int i = 0; i < n; i++)
        dots[i].bits = ladder[step];
    return attempt(prepared, context, dots, n, p);
}

/* The lowest step that all products may have, as far as one can tell by going down or up from 8 bits. */
static int common_step(const mlc_quant *prepared, mlc_pass_context *context, mlc_dot *dots, int n,
                       const promise *p, outcome *last) {
    int step = FIRST_STEP;
    *last = attempt_all(prepared, context, dots, n, p, step);
    while (!keeps(p, last) && step < STEPS - 1)
        *last = attempt_all(prepared, context, dots, n, p, ++step);
    while (step > 0 && step <= FIRST_STEP && keeps(p, last)) {
        outcome lower = attempt_all(prepared, context, dots, n, p, step - 1);
        if (!keeps(p, &lower))
            break;
        step--;
        *last = lower;
    }
    for (int i = 0; i < n; i++)
        dots[i].bits = ladder[step];
    return step;
}

/* Each product that may have fewer bits gets them. */
static void lower(const mlc_quant *prepared, mlc_pass_context *context, mlc_dot *dots, int n,
                  const promise *p, int step) {
    bool *settled = MLC_NEW_ARRAY(prepared->arena, n + 1, bool);
    for (; step > 0; step--)
        for (int i = 0; i < n; i++) {
            if (settled[i])
                continue;
            dots[i].bits = ladder[step - 1];
            outcome o = attempt(prepared, context, dots, n, p);
            if (keeps(p, &o))
                continue;
            dots[i].bits = ladder[step];
            settled[i] = true;
        }
}

static bool search(const mlc_quant *prepared, mlc_pass_context *context, mlc_dot *dots, int n,
                   const promise *p) {
    outcome o;
    int step = common_step(prepared, context, dots, n, p, &o);
    if (keeps(p, &o)) {
        lower(prepared, context, dots, n, p, step);
        return true;
    }
    if (!o.ok)
        return true; /* the last attempt, made aloud, says why */
    if (p->max_error > 0 && o.error > p->max_error)
        return mlc_error(prepared->diag,
                         "--max-error=%g cannot be kept: with 32 bits everywhere the error is %.3g",
                         p->max_error, o.error);
    return mlc_error(
        prepared->diag,
        "--max-accuracy-drop=%g cannot be kept: with 32 bits everywhere %.3g %% of the samples are lost",
        p->max_drop, o.drop);
}

bool mlc_q_choose_auto(const mlc_quant *prepared, mlc_pass_context *context, mlc_dot **dots, int *n) {
    const mlc_options *o = context->options;
    promise p = {.max_error = o->max_error, .max_drop = o->max_accuracy_drop};
    if (p.max_error == 0 && p.max_drop < 0) {
        mlc_error(prepared->diag, "--precision=auto needs a promise to keep");
        return mlc_note(prepared->diag,
                        "give --max-error=E or --max-accuracy-drop=PERCENT with --labels=FILE");
    }
    if (!context->calibration)
        return mlc_error(prepared->diag,
                         "--precision=auto measures on samples: give them with --calibrate=FILE");
    if (p.max_drop >= 0 && !context->calibration->labels)
        return mlc_error(prepared->diag,
                         "--max-accuracy-drop counts right answers: give them with --labels=FILE");
    if (p.max_drop >= 0 && !mlc_decides(prepared->from, true))
        return mlc_error(prepared->diag, "--max-accuracy-drop: the model's outputs name no class");
    if (p.max_drop >= 0)
        p.mixed = mixture(prepared->from, context->calibration);
    *dots = mlc_q_dots(prepared->from, prepared->arena, 8, n);
    return search(prepared, context, *dots, *n, &p);
}
