/*
 * --precision: how many bits each dot product gets. `auto` starts with 8 bits
 * everywhere and raises one product after the other, the one first whose raise
 * alone helps most, until the outputs keep the promise on the calibration data.
 */
#include "Precision.h"

#include "Quant.h"
#include "Report/Report.h"
#include "mlc/mlc.h"

#include <math.h>
#include <string.h>

/* Promises are kept on all samples; fewer tell which product matters most. */
enum { RANKING_SAMPLES = 512, ALL_SAMPLES = 1 << 20 };

static bool is_dot(const mlc_node *node) {
    static const char *const ops[] = {"Gemm", "MatMul", "Conv"};
    if (node->op->domain[0] || node->n_in < 2 || !mlc_dtype_is_float(node->in[0]->dtype))
        return false;
    bool named = false;
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        named = named || strcmp(node->op->name, ops[i]) == 0;
    return named && !node->in[0]->constant != !node->in[1]->constant;
}

mlc_dot *mlc_q_dots(const mlc_graph *g, mlc_arena *arena, int bits, int *n) {
    mlc_dot *dots = MLC_NEW_ARRAY(arena, g->n_nodes + 1, mlc_dot);
    *n = 0;
    MLC_FOR_NODES (g, node)
        if (is_dot(node))
            dots[(*n)++] = (mlc_dot){.node = node, .bits = bits};
    return dots;
}

const mlc_value *mlc_q_dot_input(const mlc_node *node) {
    return node->in[0]->constant ? node->in[1] : node->in[0];
}

int mlc_q_bits_of(const mlc_quant *q, const mlc_node *node) {
    for (int i = 0; i < q->n_dots; i++)
        if (q->dots[i].node == node)
            return q->dots[i].bits;
    return 32;
}

/* A promise and how far an attempt is from it. */
typedef struct promise {
    double max_error; /* 0: none */
    double max_drop;  /* percent; negative: none */
} promise;

typedef struct outcome {
    bool ok; /* it could be compiled */
    double error, drop;
    double mean; /* mean over the samples of the largest error of the outputs */
} outcome;

static bool keeps(const promise *p, const outcome *o) {
    return o->ok && (p->max_error == 0 || o->error <= p->max_error) &&
           (p->max_drop < 0 || o->drop <= p->max_drop);
}

/* Samples that the model gets right and the integers do not; those that only the
 * integers get right are luck and do not make up for them. */
static double drop_of(const mlc_answers *a) {
    int64_t lost = 0, labelled = 0;
    for (int s = 0; s < a->n; s++) {
        if (a->label[s] < 0)
            continue;
        labelled++;
        lost += a->real[s] == a->label[s] && a->integer[s] != a->label[s];
    }
    return labelled ? 100.0 * (double)lost / (double)labelled : 0;
}

static void silent(void *user, mlc_severity severity, const char *line) {
    (void)user;
    (void)severity;
    (void)line;
}

static outcome attempt(const mlc_quant *prepared, mlc_pass_context *context, const mlc_dot *dots, int n,
                       const promise *p, int samples) {
    outcome o = {.error = INFINITY, .drop = INFINITY, .mean = INFINITY};
    mlc_diag before = *prepared->diag;
    prepared->diag->sink = silent;
    mlc_arena_mark mark = mlc_arena_save(prepared->arena);
    const mlc_graph *g = mlc_q_attempt(prepared, context, dots, n);
    if (g) {
        const mlc_measurement *m =
            mlc_measure(g, &context->origin, context->calibration, samples, prepared->arena);
        o = (outcome){.ok = true, .error = m->n_worst ? m->worst[0].error : 0, .mean = m->mean_error};
        if (p->max_drop >= 0)
            o.drop = drop_of(m->answers);
    }
    mlc_arena_restore(prepared->arena, mark);
    context->origin = (mlc_origin){0};
    *prepared->diag = before;
    return o;
}

/* Products in the order in which raising each alone from `from` bits to `to` bits
 * lowers the error, the best first. */
static int *ranked(const mlc_quant *prepared, mlc_pass_context *context, mlc_dot *dots, int n,
                   const promise *p, int from, int to) {
    int *order = MLC_NEW_ARRAY(prepared->arena, n + 1, int), count = 0;
    double *error = MLC_NEW_ARRAY(prepared->arena, n + 1, double);
    for (int i = 0; i < n; i++) {
        if (dots[i].bits != from)
            continue;
        dots[i].bits = to;
        double own = attempt(prepared, context, dots, n, p, RANKING_SAMPLES).mean;
        dots[i].bits = from;
        int at = count++;
        for (; at > 0 && error[at - 1] > own; at--) {
            error[at] = error[at - 1];
            order[at] = order[at - 1];
        }
        error[at] = own;
        order[at] = i;
    }
    order[count] = -1;
    return order;
}

static bool search(const mlc_quant *prepared, mlc_pass_context *context, mlc_dot *dots, int n,
                   const promise *p) {
    outcome o = attempt(prepared, context, dots, n, p, ALL_SAMPLES);
    static const int steps[][2] = {{8, 16}, {16, 32}};
    for (int s = 0; s < 2 && !keeps(p, &o); s++) {
        const int *order = ranked(prepared, context, dots, n, p, steps[s][0], steps[s][1]);
        for (; *order >= 0 && !keeps(p, &o); order++) {
            dots[*order].bits = steps[s][1];
            o = attempt(prepared, context, dots, n, p, ALL_SAMPLES);
        }
    }
    if (keeps(p, &o))
        return true;
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

static bool needs_ranges(const mlc_quant *prepared, const mlc_pass_context *context, int bits) {
    if (context->calibration)
        return true;
    if (bits == 16 && (context->binding || context->options->input_format))
        return true;
    for (int k = 0; k < prepared->from->n_inputs && bits == 16; k++)
        if (mlc_dtype_is_float(prepared->from->inputs[k]->dtype))
            bits = 0;
    if (bits == 16)
        return true;
    mlc_error(prepared->diag, "--precision=%s needs to know the ranges of the values",
              context->options->precision);
    return mlc_note(prepared->diag, "give sample inputs with --calibrate=FILE");
}

static bool choose_auto(const mlc_quant *prepared, mlc_pass_context *context, mlc_dot **dots, int *n) {
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
    *dots = mlc_q_dots(prepared->from, prepared->arena, 8, n);
    return search(prepared, context, *dots, *n, &p);
}

bool mlc_q_choose_precision(const mlc_quant *prepared, mlc_pass_context *context, mlc_dot **dots, int *n) {
    const char *text = context->options->precision ? context->options->precision : "32";
    *dots = NULL;
    *n = 0;
    if (strcmp(text, "auto") == 0)
        return choose_auto(prepared, context, dots, n);
    int bits = strcmp(text, "8") == 0 ? 8 : strcmp(text, "16") == 0 ? 16 : strcmp(text, "32") == 0 ? 32 : 0;
    if (!bits)
        return mlc_error(prepared->diag, "no precision '%s'; use 32, 16, 8 or auto", mlc_escape(text));
    if (bits < 32 && !needs_ranges(prepared, context, bits))
        return false;
    *dots = mlc_q_dots(prepared->from, prepared->arena, bits, n);
    return true;
}
