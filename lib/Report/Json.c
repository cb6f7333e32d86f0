/* A report as JSON, for --report=FILE. */
#include "Report.h"

#include "Passes/Precision.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *text(const char *s) {
    return json_string(mlc_escape(s));
}

static json_t *name_json(const char *s) {
    return s ? json_string(s) : json_null();
}

static void add_work(json_t *j, const mlc_work *w, double ns) {
    json_object_set_new(j, "instructions", json_integer(w->code));
    json_object_set_new(j, "executed", json_integer(w->executed));
    json_object_set_new(j, "executed_multiplications", json_integer(w->multiplications));
    json_object_set_new(j, "executed_loads", json_integer(w->loads));
    json_object_set_new(j, "executed_jumps", json_integer(w->jumps));
    json_object_set_new(j, "executed_straight", json_integer(w->executed - w->looped));
    json_object_set_new(j, "estimated_ns", number(ns));
}

static void add_choice(json_t *j, const mlc_choice *c) {
    json_object_set_new(j, "code", name_json(mlc_choice_code(c)));
    if (c->words) {
        json_object_set_new(j, "lanes", json_integer(c->lanes));
        json_object_set_new(j, "words", json_integer(c->words));
        json_object_set_new(j, "weights", name_json(mlc_choice_weights(c)));
        json_object_set_new(j, "requantization", name_json(mlc_choice_after(c)));
    }
    add_work(j, &c->work, c->ns);
}

static json_t *rows_json(const mlc_report *r) {
    json_t *all = json_array();
    for (int i = 0; i < r->n_rows; i++) {
        const mlc_report_row *row = &r->rows[i];
        json_t *j = json_object();
        json_object_set_new(j, "name", text(row->name));
        json_object_set_new(j, "op", text(row->op));
        json_object_set_new(j, "shape", json_string(row->shape));
        json_object_set_new(j, "scale", number(row->scale));
        json_object_set_new(j, "bits", json_integer(row->bits));
        json_object_set_new(j, "signed", json_boolean(row->is_signed));
        json_object_set_new(j, "lo", number(row->lo));
        json_object_set_new(j, "hi", number(row->hi));
        json_object_set_new(j, "bound", number(row->bound));
        json_object_set_new(j, "measured", number(row->measured));
        json_object_set_new(j, "saturated", row->saturated < 0 ? json_null() : json_integer(row->saturated));
        json_object_set_new(j, "multiplications", json_integer(row->multiplications));
        if (row->precision)
            json_object_set_new(j, "precision",
                                row->precision == MLC_TERNARY ? text("ternary")
                                                              : json_integer(row->precision));
        if (r->counted)
            add_choice(j, &row->choice);
        json_array_append_new(all, j);
    }
    return all;
}

static json_t *outputs_json(const mlc_report *r) {
    json_t *all = json_array();
    for (int i = 0; i < r->n_outputs; i++) {
        const mlc_report_output *o = &r->outputs[i];
        json_t *j = json_object();
        json_object_set_new(j, "name", text(o->name));
        json_object_set_new(j, "lo", number(o->lo));
        json_object_set_new(j, "hi", number(o->hi));
        json_object_set_new(j, "seen_lo", number(o->seen_lo));
        json_object_set_new(j, "seen_hi", number(o->seen_hi));
        json_object_set_new(j, "bound", number(o->bound));
        json_object_set_new(j, "measured", number(o->measured));
        json_object_set_new(j, "tightness", number(o->measured > 0 ? o->bound / o->measured : NAN));
        json_object_set_new(j, "bound_useful", json_boolean(!o->loose));
        json_object_set_new(j, "bound_holds", json_string(o->limited ? "unless saturated" : "always"));
        json_array_append_new(all, j);
    }
    return all;
}

/* The rows of a confusion table: rows by `truth`, columns by the integer model. */
static json_t *confusion_json(const int64_t *truth, const mlc_answers *a) {
    int64_t count[MLC_MAX_CLASSES][MLC_MAX_CLASSES] = {{0}};
    int64_t n = 0;
    for (int s = 0; s < a->n; s++) {
        int64_t t = truth[s], p = a->integer[s];
        if (t < 0 || p < 0 || t >= MLC_MAX_CLASSES || p >= MLC_MAX_CLASSES)
            continue;
        count[t][p]++;
        if (t >= n)
            n = t + 1;
        if (p >= n)
            n = p + 1;
    }
    json_t *table = json_array();
    for (int64_t t = 0; t < n; t++) {
        json_t *line = json_array();
        for (int64_t p = 0; p < n; p++)
            json_array_append_new(line, json_integer(count[t][p]));
        json_array_append_new(table, line);
    }
    return table;
}

static double share(const int64_t *a, const int64_t *b, int n) {
    int64_t of, same = mlc_agreeing(a, b, n, &of);
    return of ? (double)same / (double)of : NAN;
}

static json_t *answers_json(const mlc_answers *a) {
    json_t *j = json_object();
    json_object_set_new(j, "agreement", number(share(a->real, a->integer, a->n)));
    json_object_set_new(j, "confusion_with_model", confusion_json(a->real, a));
    if (!a->labelled)
        return j;
    json_object_set_new(j, "accuracy_model", number(share(a->label, a->real, a->n)));
    json_object_set_new(j, "accuracy_integer", number(share(a->label, a->integer, a->n)));
    json_object_set_new(j, "confusion_with_labels", confusion_json(a->label, a));
    return j;
}

static json_t *worst_json(const mlc_measurement *m) {
    json_t *all = json_array();
    for (int i = 0; i < m->n_worst; i++) {
        const mlc_worst_sample *w = &m->worst[i];
        json_t *j = json_object();
        json_object_set_new(j, "sample", json_integer(w->index));
        json_object_set_new(j, "error", number(w->error));
        if (m->answers) {
            json_object_set_new(j, "model", json_integer(w->real));
            json_object_set_new(j, "integer", json_integer(w->integer));
            if (m->answers->labelled)
                json_object_set_new(j, "label", json_integer(w->label));
        }
        json_array_append_new(all, j);
    }
    return all;
}

static json_t *totals_json(const mlc_report *r, const mlc_stats *s) {
    json_t *j = json_object();
    if (r->counted)
        add_work(j, &r->all, s->ns);
    json_object_set_new(j, "multiplications", json_integer(s->macs));
    json_object_set_new(j, "instructions", json_integer(s->instructions));
    json_object_set_new(j, "stack_bytes", json_integer(s->stack));
    json_object_set_new(j, "frame_bytes", json_integer(s->scratch));
    json_object_set_new(j, "read_only_bytes", json_integer(s->rodata));
    return j;
}

const char *mlc_report_json(const mlc_report *r, const mlc_stats *stats, mlc_arena *arena) {
    json_t *j = json_object();
    json_object_set_new(j, "model", text(r->model->name ? r->model->name : ""));
    json_object_set_new(j, "precision", text(r->precision));
    json_object_set_new(j, "totals", totals_json(r, stats));
    json_object_set_new(j, "nodes", rows_json(r));
    if (r->counted) {
        json_t *rest = json_object();
        add_work(rest, &r->rest, r->rest_ns);
        json_object_set_new(j, "rest", rest);
    }
    json_object_set_new(j, "outputs", outputs_json(r));
    if (r->measurement) {
        json_object_set_new(j, "samples", json_integer(r->measurement->n_samples));
        if (r->measurement->answers)
            json_object_set_new(j, "decisions", answers_json(r->measurement->answers));
        json_object_set_new(j, "worst_samples", worst_json(r->measurement));
    }
    char *dump = json_dumps(j, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(j);
    const char *copy = dump ? mlc_arena_printf(arena, "%s\n", dump) : "";
    free(dump);
    return copy;
}
