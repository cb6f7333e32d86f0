/*
 * INTEGER: chooses the outputs of Linear and Conv that share a 64-bit word, so
 * that one multiplication serves several (attributes `order` and `words`, see
 * lib/Ops/IntPacking.h). Widths come from the proven intervals.
 */
#include "Hidden.h"

#include "../Ops/IntPacking.h"
#include "mlc/cost.h"
#include "mlc/op.h"

#include <stdlib.h>
#include <string.h>

typedef struct lane {
    int64_t channel;
    int width;
} lane;

static int by_width(const void *a, const void *b) {
    const lane *x = a, *y = b;
    if (x->width != y->width)
        return y->width - x->width;
    return x->channel < y->channel ? -1 : x->channel > y->channel;
}

typedef struct packing {
    int64_t *order, *words;
    int64_t n, n_words;
    int common;                /* width of all lanes, the highest bit unused; 0: each has its own */
    int64_t *starts, n_starts; /* of chunks but the first */
} packing;

/* One width for all lanes, with a bit to spare. */
static int widen(int *width, int64_t n) {
    int common = 0;
    for (int64_t i = 0; i < n; i++)
        common = width[i] >= common ? width[i] + 1 : common;
    for (int64_t i = 0; i < n; i++)
        width[i] = common;
    return common;
}

/* Fills words with the lanes of one group: the first that is left, then what still fits. */
static void fill_words(mlc_graph *g, packing *p, const lane *lanes, int64_t n) {
    bool *placed = MLC_NEW_ARRAY(g->arena, n, bool);
    for (int64_t begin = 0; begin < n; begin++) {
        if (placed[begin])
            continue;
        int room = 64, count = 0;
        for (int64_t i = begin; i < n && room > 0 && count < MLC_INT_LANES; i++) {
            if (placed[i] || lanes[i].width > room)
                continue;
            placed[i] = true;
            room -= lanes[i].width;
            p->order[p->n++] = lanes[i].channel;
            count++;
        }
        p->words[p->n_words++] = count;
    }
}

static packing fill(mlc_graph *g, const int *width, int64_t n, int64_t group, bool sorted) {
    packing p = {.order = MLC_NEW_ARRAY(g->arena, n, int64_t), .words = MLC_NEW_ARRAY(g->arena, n, int64_t)};
    lane *lanes = MLC_NEW_ARRAY(g->arena, group, lane);
    for (int64_t first = 0; first < n; first += group) {
        for (int64_t i = 0; i < group; i++)
            lanes[i] = (lane){first + i, width[first + i]};
        if (sorted)
            qsort(lanes, (size_t)group, sizeof *lanes, by_width);
        fill_words(g, &p, lanes, group);
    }
    return p;
}

/* More lanes, each for a part of the sum, where that takes less time. */
static packing cut(mlc_graph *g, const mlc_node *node, packing whole) {
    int64_t n = node->in[1]->shape.dim[0], inputs = node->in[1]->shape.dim[1];
    double least = (double)(whole.n_words * inputs);
    packing best = whole;
    for (int lanes = 4; lanes <= MLC_INT_LANES; lanes += 2) {
        packing p = {.order = MLC_NEW_ARRAY(g->arena, n, int64_t),
                     .words = MLC_NEW_ARRAY(g->arena, n, int64_t),
                     .starts = MLC_NEW_ARRAY(g->arena, inputs, int64_t)};
        for (int64_t at = 0; at < n; at++) {
            p.order[p.n++] = at;
            p.n_words += at % lanes == 0;
            p.words[p.n_words - 1]++;
        }
        if (n < lanes || p.n_words >= whole.n_words)
            continue;
        int64_t n_chunks = mlc_int_cut(g->arena, node, 64 / lanes, p.starts);
        double cost = (double)p.n_words * ((double)inputs + MLC_INT_FLUSH_COST * (double)n_chunks);
        if (n_chunks < 2 || cost >= least)
            continue;
        least = cost;
        p.n_starts = n_chunks - 1;
        best = p;
    }
    return best;
}

/* In the order of the channels where that is as good: low precision is planned for
 * outputs that are neighbours. */
static packing pack(mlc_graph *g, const mlc_node *node) {
    int64_t n = node->in[1]->shape.dim[0], group = n / mlc_attr_int(node, "group", 1);
    int *width = MLC_NEW_ARRAY(g->arena, n, int);
    mlc_int_channel_widths(node, width);
    int common = mlc_attr_find(node, "pool") ? widen(width, n) : 0; /* what maxima of words need */
    packing p = fill(g, width, n, group, false), sorted = fill(g, width, n, group, true);
    if (sorted.n_words < p.n_words)
        p = sorted;
    p.common = common;
    return node->op == mlc_iop("Linear") && !mlc_attr_find(node, "lane") ? cut(g, node, p) : p;
}

/* Outputs with the same shift behind them side by side, where that takes no more words and chunks. */
static packing pack_by_shift(mlc_graph *g, mlc_node *node, const int *uses) {
    packing p = pack(g, node);
    mlc_hidden h;
    const int64_t *order;
    if (!mlc_hidden_find(g, node, uses, &h) || (order = mlc_hidden_by_shift(g, &h)) == NULL)
        return p;
    mlc_hidden_permute(g, &h, order);
    packing sorted = pack(g, node);
    if (sorted.n_words <= p.n_words && sorted.n_starts <= p.n_starts)
        return sorted;
    mlc_hidden_permute(g, &h, mlc_hidden_inverse(g, &h, order));
    return p;
}

/* Whether words save instructions: with many zeros and ones they may not. */
static bool pays(const mlc_node *node, const packing *p) {
    const mlc_tensor *w = node->in[1]->constant;
    int64_t rows = w->shape.dim[0], columns = rows ? mlc_shape_elements(&w->shape) / rows : 0;
    int64_t packed = 0, single = 0, at = 0;
    for (int64_t k = 0; k < p->n_words; at += p->words[k++])
        for (int64_t c = 0; c < columns; c++) {
            int64_t here = 0;
            for (int64_t j = 0; j < p->words[k]; j++)
                here += mlc_product_instructions(w->i[p->order[at + j] * columns + c]);
            single += here;
            packed += p->words[k] == 1 ? here : here > 0 ? MLC_WORD_INSTRUCTIONS : 0;
        }
    return p->n_words < p->n && packed < single;
}

mlc_graph *mlc_pass_pack(mlc_graph *g, mlc_pass_context *context) {
    if (context->options->opt_level < '2')
        return g;
    const int *uses = mlc_graph_uses(g, g->arena);
    MLC_FOR_NODES (g, node) {
        if (node->op != mlc_iop("Linear") && node->op != mlc_iop("Conv"))
            continue;
        packing p = pack_by_shift(g, node, uses);
        if (!pays(node, &p))
            continue;
        mlc_attr_set_ints(g, node, "order", p.order, p.n);
        mlc_attr_set_ints(g, node, "words", p.words, p.n_words);
        if (p.n_starts || mlc_attr_find(node, "chunks"))
            mlc_attr_set_ints(g, node, "chunks", p.starts, p.n_starts);
        if (p.common || mlc_attr_find(node, "lane"))
            mlc_attr_set_int(g, node, "lane", p.common);
    }
    return g;
}
