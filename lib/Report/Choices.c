/*
 * How the code of each node was made, and what it costs: from the final integer
 * graph, and from the instructions that the object has for each line of its listing.
 */
#include "Report.h"

#include "mlc/op.h"

#include <string.h>

static bool is_dot(const mlc_node *node) {
    return node->op == mlc_iop("Linear") || node->op == mlc_iop("Conv");
}

static int64_t elements(const mlc_value *v) {
    return mlc_shape_elements(&v->shape);
}

/* What reads v first. */
static const mlc_node *reader(const mlc_graph *g, const mlc_value *v) {
    MLC_FOR_NODES (g, node)
        for (int k = 0; k < node->n_in; k++)
            if (node->in[k] == v)
                return node;
    return NULL;
}

/* Lookups multiply nothing, limits do (Ops/IntClamp.h). */
static mlc_after after(const mlc_graph *g, const mlc_node *dot, const mlc_work *work, int n_lines) {
    const mlc_node *node = reader(g, dot->out[0]);
    while (node && mlc_is_reshape(node))
        node = reader(g, node->out[0]);
    if (!node)
        return MLC_AFTER_NOTHING;
    if (node->op == mlc_iop("Requantize") && node->line < n_lines && work[node->line].multiplications)
        return MLC_AFTER_LIMITS;
    return node->op == mlc_iop("Requantize") || node->op == mlc_iop("Table") ? MLC_AFTER_TABLE
                                                                             : MLC_AFTER_ARITHMETIC;
}

/* Accumulators of one position, and the most outputs that share one. */
static void count_words(const mlc_node *dot, const mlc_work *work, mlc_choice *c) {
    int64_t n, outputs = dot->in[1]->shape.dim[0], inner = dot->in[1]->shape.dim[1];
    const int64_t *words = mlc_attr_ints(dot, "words", &n);
    c->words = n ? n : outputs;
    c->lanes = 1;
    for (int64_t k = 0; k < n; k++)
        if (words[k] > c->lanes)
            c->lanes = words[k];
    if (dot->op == mlc_iop("Conv") || !work->looped)
        return;
    /* A dense layer's loop has its own lanes, and multiplies each input by each word. */
    int64_t rows = elements(dot->out[0]) / outputs, used = work->multiplications / (rows * inner);
    c->words = used > 0 && used < outputs ? used : outputs;
    c->lanes = (outputs + c->words - 1) / c->words;
}

static void describe(const mlc_graph *g, const mlc_node *node, const mlc_work *works, int n_lines,
                     mlc_choice *c) {
    const mlc_work *work = &works[node->line];
    mlc_work_add(&c->work, work);
    if (!is_dot(node))
        return;
    count_words(node, work, c);
    c->after = after(g, node, works, n_lines);
    c->weights = !work->executed                               ? MLC_WEIGHTS_NONE
                 : 2 * work->constants > work->multiplications ? MLC_WEIGHTS_MEMORY
                                                               : MLC_WEIGHTS_IMMEDIATE;
}

/* The model's node that an integer node was made of; NULL: it has no row. */
static mlc_report_row *row_of(mlc_report *r, const mlc_node *node) {
    for (int i = 0; i < r->n_rows; i++)
        if (r->rows[i].origin && node->origin && strcmp(r->rows[i].origin, node->origin) == 0)
            return &r->rows[i];
    return NULL;
}

void mlc_report_choices(mlc_report *r, const mlc_graph *g, const mlc_work *work, int n_lines) {
    if (!work)
        return;
    r->counted = true;
    for (int line = 0; line < n_lines; line++) {
        mlc_work_add(&r->rest, &work[line]);
        mlc_work_add(&r->all, &work[line]);
    }
    MLC_FOR_NODES (g, node) {
        mlc_report_row *row = node->line < n_lines ? row_of(r, node) : NULL;
        if (!row)
            continue;
        describe(g, node, work, n_lines, &row->choice);
        mlc_work_subtract(&r->rest, &work[node->line]);
    }
    for (int i = 0; i < r->n_rows; i++)
        r->rows[i].choice.ns = mlc_work_ns(&r->rows[i].choice.work, &r->all);
    r->rest_ns = mlc_work_ns(&r->rest, &r->all);
}

const char *mlc_choice_code(const mlc_choice *c) {
    const mlc_work *w = &c->work;
    if (w->code == 0)
        return NULL;
    if (2 * w->looped <= w->executed)
        return "unrolled";
    return 2 * w->aside > w->executed ? "function" : "loop";
}

const char *mlc_choice_weights(const mlc_choice *c) {
    static const char *const names[] = {NULL, "immediate", "memory"};
    return names[c->weights];
}

const char *mlc_choice_after(const mlc_choice *c) {
    static const char *const names[] = {NULL, "table", "limits", "arithmetic"};
    return names[c->after];
}
