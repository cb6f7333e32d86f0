/* The rows of a report, taken from the integer graph as the pass `quantize` left it. */
#include "Report.h"

#include "Passes/Precision.h"
#include "mlc/op.h"

#include <math.h>
#include <string.h>

/* A bound beyond this share of the output's range tells a user nothing. */
#define LOOSE 0.05
/* Enough for figures that no longer move. */
enum { SAMPLES = 4096 };

static int64_t elements(const mlc_value *v) {
    return mlc_shape_elements(&v->shape);
}

static const char *origin_of(mlc_arena *arena, const mlc_node *node) {
    return mlc_arena_printf(arena, "%s (%s)", node->name, node->op->name);
}

static bool is_from(const char *origin, const char *name) {
    return origin && strcmp(origin, name) == 0;
}

/* Multiplications by weights other than 0 in the dot products made of one node. */
static int64_t multiplications(const mlc_graph *g, const char *origin) {
    int64_t count = 0;
    MLC_FOR_NODES (g, node) {
        if (!is_from(node->origin, origin) || (node->op != mlc_iop("Linear") && node->op != mlc_iop("Conv")))
            continue;
        const mlc_tensor *w = node->in[1]->constant;
        int64_t used = 0, channels = w->shape.dim[0];
        for (int64_t i = 0; i < mlc_shape_elements(&w->shape); i++)
            used += w->i[i] != 0;
        if (channels)
            count += used * (elements(node->out[0]) / channels);
    }
    return count;
}

static int64_t saturated(const mlc_report *r, const mlc_origin *origin, const char *name) {
    int64_t count = -1;
    for (int k = 0; k < origin->n_saturations; k++) {
        if (!is_from(origin->saturation[k].origin, name))
            continue;
        count = (count < 0 ? 0 : count) + (r->measurement ? r->measurement->saturated[k] : 0);
    }
    return count;
}

static int precision_of(const mlc_origin *origin, const mlc_node *node) {
    for (int i = 0; i < origin->n_dots; i++)
        if (origin->dots[i].node == node)
            return origin->dots[i].bits;
    return 0;
}

static int bits_of(int64_t lo, int64_t hi) {
    int bits = 0;
    if (lo >= 0) {
        while (bits < 63 && hi >> bits)
            bits++;
        return bits;
    }
    while (bits < 63 && (hi >> bits || -(lo + 1) >> bits))
        bits++;
    return bits + 1;
}

/* What the integer value itself says. */
static void describe(const mlc_graph *g, const mlc_value *v, mlc_report_row *row) {
    int64_t lo = 0, hi = 0;
    row->shape = mlc_shape_str(g->arena, &v->shape);
    row->scale = v->scale;
    row->lo = INFINITY;
    row->hi = -INFINITY;
    for (int64_t i = 0; i < elements(v); i++) {
        if (v->lo[i] < lo)
            lo = v->lo[i];
        if (v->hi[i] > hi)
            hi = v->hi[i];
        row->lo = fmin(row->lo, (double)(v->lo[i] - v->zero) * v->scale);
        row->hi = fmax(row->hi, (double)(v->hi[i] - v->zero) * v->scale);
        row->bound = fmax(row->bound, v->err ? v->err[i] : 0);
    }
    if (!elements(v))
        row->lo = row->hi = 0;
    row->bits = bits_of(lo, hi);
    row->is_signed = lo < 0;
}

/* Values whose nodes were swept have no part in the result. */
static bool lives(const mlc_graph *g, const mlc_value *v) {
    if (!v || v->constant)
        return false;
    for (int k = 0; k < g->n_inputs; k++)
        if (g->inputs[k] == v)
            return true;
    return v->producer != NULL;
}

static void make_rows(mlc_report *r, const mlc_graph *g, const mlc_origin *origin) {
    const mlc_graph *model = origin->graph;
    int most = model->n_inputs;
    MLC_FOR_NODES (model, node)
        most += node->n_out;
    r->rows = MLC_NEW_ARRAY(g->arena, most + 1, mlc_report_row);
    for (int k = 0; k < model->n_inputs; k++) {
        mlc_report_row *row = &r->rows[r->n_rows++];
        *row =
            (mlc_report_row){.name = model->inputs[k]->name, .op = "input", .measured = NAN, .saturated = -1};
        describe(g, g->inputs[k], row);
        if (!r->measurement)
            continue;
        row->saturated = r->measurement->outside[k];
        row->measured = r->measurement->value[model->inputs[k]->id].error;
    }
    MLC_FOR_NODES (model, node) {
        const char *name = origin_of(g->arena, node);
        for (int k = 0; k < node->n_out; k++) {
            const mlc_value *v = node->out[k] ? origin->integer[node->out[k]->id] : NULL;
            if (!lives(g, v))
                continue;
            mlc_report_row *row = &r->rows[r->n_rows++];
            *row =
                (mlc_report_row){.name = node->name, .op = node->op->name, .measured = NAN, .saturated = -1};
            if (k > 0)
                row->name = mlc_arena_printf(g->arena, "%s:%d", node->name, k);
            describe(g, v, row);
            if (r->measurement)
                row->measured = r->measurement->value[node->out[k]->id].error;
            if (k > 0)
                continue;
            row->origin = name;
            row->saturated = saturated(r, origin, name);
            row->multiplications = multiplications(g, name);
            row->precision = precision_of(origin, node);
        }
    }
}

static void make_outputs(mlc_report *r, const mlc_graph *g, const mlc_origin *origin) {
    const mlc_graph *model = origin->graph;
    r->n_outputs = model->n_outputs;
    r->outputs = MLC_NEW_ARRAY(g->arena, model->n_outputs + 1, mlc_report_output);
    for (int k = 0; k < model->n_outputs; k++) {
        mlc_report_output *o = &r->outputs[k];
        mlc_report_row row = {0};
        describe(g, g->outputs[k], &row);
        *o = (mlc_report_output){.name = model->outputs[k]->name,
                                 .lo = row.lo,
                                 .hi = row.hi,
                                 .bound = row.bound,
                                 .seen_lo = NAN,
                                 .seen_hi = NAN,
                                 .measured = NAN};
        double range = o->hi - o->lo;
        if (r->measurement) {
            const mlc_measured *m = &r->measurement->value[model->outputs[k]->id];
            o->seen_lo = m->lo;
            o->seen_hi = m->hi;
            o->measured = m->error;
            if (m->hi > m->lo)
                range = fmin(range, m->hi - m->lo);
        }
        o->exact = o->bound == 0;
        o->choice = !o->exact && !mlc_dtype_is_float(model->outputs[k]->dtype);
        o->loose = o->bound > LOOSE * range;
        o->limited = origin->n_saturations > 0;
    }
}

mlc_report *mlc_report_make(const mlc_graph *g, const mlc_pass_context *context) {
    const mlc_origin *origin = &context->origin;
    mlc_report *r = MLC_NEW(g->arena, mlc_report);
    r->model = origin->graph;
    r->precision = context->options->precision ? context->options->precision : "32";
    r->n_saturations = origin->n_saturations;
    if (context->calibration)
        r->measurement = mlc_measure(g, origin, context->calibration, SAMPLES, g->arena);
    make_rows(r, g, origin);
    make_outputs(r, g, origin);
    return r;
}
