/* A report for people, as --stats prints it. */
#include "Report.h"

#include "Passes/Precision.h"

#include "mlc/str.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME_WIDTH = 21 };

/* The end of a long name tells nodes apart. */
static const char *short_name(mlc_arena *arena, const char *name) {
    const char *safe = mlc_escape(name);
    size_t n = strlen(safe);
    return n <= NAME_WIDTH ? mlc_arena_strdup(arena, safe)
                           : mlc_arena_printf(arena, "..%s", safe + n - (NAME_WIDTH - 2));
}

static void cell(mlc_str *s, int width, double x) {
    if (isfinite(x))
        mlc_str_printf(s, " %*.3g", width, x);
    else
        mlc_str_printf(s, " %*s", width, "-");
}

static void count_cell(mlc_str *s, int width, int64_t n, bool shown) {
    if (shown)
        mlc_str_printf(s, " %*lld", width, (long long)n);
    else
        mlc_str_printf(s, " %*s", width, "-");
}

static void text_cell(mlc_str *s, int width, const char *text) {
    mlc_str_printf(s, " %*.*s", width, width, text ? text : "-");
}

static void name_cell(mlc_str *s, const char *name) {
    mlc_str_printf(s, "%-*s", NAME_WIDTH, short_name(s->arena, name));
}

static void print_numbers(mlc_str *s, const mlc_report *r) {
    mlc_str_printf(s, "%-*s %-15s %5s %8s %9s %9s %8s %8s %9s\n", NAME_WIDTH, "node", "op", "bits", "scale",
                   "from", "to", "bound", "measured", "saturated");
    for (int i = 0; i < r->n_rows; i++) {
        const mlc_report_row *row = &r->rows[i];
        name_cell(s, row->name);
        mlc_str_printf(s, " %-15.15s %c%4d", mlc_escape(row->op), row->is_signed ? 's' : 'u', row->bits);
        cell(s, 8, row->scale);
        cell(s, 9, row->lo);
        cell(s, 9, row->hi);
        cell(s, 8, row->bound);
        cell(s, 8, row->measured);
        count_cell(s, 9, row->saturated, row->saturated >= 0 && r->measurement);
        mlc_str_char(s, '\n');
    }
}

static void work_cells(mlc_str *s, const mlc_work *w, double ns) {
    count_cell(s, 7, w->code, w->code > 0);
    count_cell(s, 9, w->executed, w->executed > 0);
    if (w->executed > 0)
        mlc_str_printf(s, " %8.*f\n", ns < 99.95 ? 1 : 0, ns);
    else
        mlc_str_printf(s, " %8s\n", "-");
}

/* How each node's code was made, and what it costs. */
static void print_choices(mlc_str *s, const mlc_report *r) {
    mlc_str_printf(s, "\n%-*s %4s %8s %5s %5s %9s %8s %5s %7s %9s %8s\n", NAME_WIDTH, "node", "at", "mults",
                   "lanes", "words", "weights", "code", "then", "insns", "executed", "ns");
    for (int i = 0; i < r->n_rows; i++) {
        const mlc_report_row *row = &r->rows[i];
        const mlc_choice *c = &row->choice;
        if (!row->precision && !c->work.code && !row->multiplications)
            continue;
        name_cell(s, row->name);
        if (row->precision == MLC_TERNARY)
            mlc_str_puts(s, " tern");
        else
            count_cell(s, 4, row->precision, row->precision > 0);
        count_cell(s, 8, row->multiplications, row->multiplications > 0);
        count_cell(s, 5, c->lanes, c->words > 0);
        count_cell(s, 5, c->words, c->words > 0);
        text_cell(s, 9, mlc_choice_weights(c));
        text_cell(s, 8, mlc_choice_code(c));
        text_cell(s, 5, mlc_choice_after(c)); /* "arith", "limit" */
        work_cells(s, &c->work, c->ns);
    }
    if (!r->counted)
        return;
    mlc_str_printf(s, "%-*s", NAME_WIDTH + 52, "entry program and frame");
    work_cells(s, &r->rest, r->rest_ns);
}

static void print_output(mlc_str *s, const mlc_report *r, const mlc_report_output *o) {
    const char *name = mlc_escape(o->name);
    if (o->exact)
        mlc_str_printf(s, "output '%s': exact", name);
    else if (o->choice)
        mlc_str_printf(
            s, "output '%s': can differ only where what it compares is closer than the bounds above", name);
    else
        mlc_str_printf(s, "output '%s': error proven to be at most %.3g", name, o->bound);
    if (o->limited && !o->exact && !o->choice)
        mlc_str_puts(s, " where nothing saturates");
    if (r->measurement && !isnan(o->measured) && !o->choice) {
        mlc_str_printf(s, "; measured %.3g on %d samples", o->measured, r->measurement->n_samples);
        if (o->measured > 0 && !o->exact)
            mlc_str_printf(s, " (%.3g times less)", o->bound / o->measured);
    }
    mlc_str_char(s, '\n');
    if (!o->loose || o->choice)
        return;
    bool seen = o->seen_hi > o->seen_lo && o->seen_hi - o->seen_lo < o->hi - o->lo;
    mlc_str_printf(s,
                   "  The proven bound is too loose to be of use: the output's %s range is %.3g to %.3g.\n",
                   seen ? "seen" : "proven", seen ? o->seen_lo : o->lo, seen ? o->seen_hi : o->hi);
    if (!r->measurement)
        mlc_str_puts(s, "  --calibrate=FILE measures the error on samples and tightens the ranges.\n");
}

static void print_agreement(mlc_str *s, const char *what, const int64_t *a, const int64_t *b, int n) {
    int64_t of, same = mlc_agreeing(a, b, n, &of);
    if (of)
        mlc_str_printf(s, "%-36s %.4f  (%lld of %lld)\n", what, (double)same / (double)of, (long long)same,
                       (long long)of);
}

static void print_confusion(mlc_str *s, const char *what, const int64_t *truth, const mlc_answers *a) {
    static const int64_t most = 10; /* a wider table is for --report */
    int64_t n = 0, count[10][10] = {{0}};
    for (int i = 0; i < a->n; i++) {
        int64_t t = truth[i], p = a->integer[i];
        if (t >= most || p >= most)
            return;
        if (t < 0 || p < 0)
            continue;
        count[t][p]++;
        if (t >= n)
            n = t + 1;
        if (p >= n)
            n = p + 1;
    }
    mlc_str_printf(s, "%-16s", what);
    for (int64_t p = 0; p < n; p++)
        mlc_str_printf(s, " %8lld", (long long)p);
    mlc_str_puts(s, "  (integer model)\n");
    for (int64_t t = 0; t < n; t++) {
        mlc_str_printf(s, "%16lld", (long long)t);
        for (int64_t p = 0; p < n; p++)
            mlc_str_printf(s, " %8lld", (long long)count[t][p]);
        mlc_str_char(s, '\n');
    }
}

static void print_answers(mlc_str *s, const mlc_answers *a) {
    print_agreement(s, "decisions as the model's", a->real, a->integer, a->n);
    if (a->labelled) {
        print_agreement(s, "accuracy of the model", a->label, a->real, a->n);
        print_agreement(s, "accuracy of the integer model", a->label, a->integer, a->n);
    }
    print_confusion(s, a->labelled ? "label" : "model", a->labelled ? a->label : a->real, a);
}

static void print_worst(mlc_str *s, const mlc_measurement *m) {
    mlc_str_puts(s, "worst samples");
    for (int i = 0; i < m->n_worst; i++)
        mlc_str_printf(s, "%s %lld: %.3g", i ? "," : "", (long long)m->worst[i].index, m->worst[i].error);
    mlc_str_char(s, '\n');
}

static void print_totals(mlc_str *s, const mlc_stats *stats) {
    mlc_str_printf(s,
                   "multiplications     %10ld\n"
                   "instructions        %10ld\n"
                   "stack bytes         %10ld\n"
                   "frame bytes         %10ld\n"
                   "read-only bytes     %10ld\n",
                   stats->macs, stats->instructions, stats->stack, stats->scratch, stats->rodata);
    if (stats->executed)
        mlc_str_printf(s,
                       "executed            %10ld\n"
                       "estimated ns        %10.0f\n",
                       stats->executed, stats->ns);
}

const char *mlc_report_table(const mlc_report *r, const mlc_stats *stats, mlc_arena *arena) {
    mlc_str s = {.arena = arena};
    print_numbers(&s, r);
    print_choices(&s, r);
    mlc_str_char(&s, '\n');
    for (int i = 0; i < r->n_outputs; i++)
        print_output(&s, r, &r->outputs[i]);
    if (r->measurement) {
        if (r->measurement->answers)
            print_answers(&s, r->measurement->answers);
        print_worst(&s, r->measurement);
    }
    print_totals(&s, stats);
    return s.data;
}
