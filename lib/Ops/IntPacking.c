#include "IntPacking.h"

#include "Int.h"

#include <string.h>

/* Larger alignments would serve no shift that leaves anything. */
enum { MAX_ALIGN = 62 };

static int64_t channels_of(const mlc_node *node) {
    return node->in[1]->shape.dim[0];
}

/* Outputs of a channel that follow each other. */
static int64_t step_of(const mlc_node *node) {
    return node->op == mlc_iop("Conv") ? mlc_int_elements(node->out[0]) / channels_of(node) : 1;
}

static const int64_t *attribute(const mlc_node *node, const char *name) {
    int64_t n;
    const int64_t *x = mlc_attr_ints(node, name, &n);
    return n ? x : NULL;
}

static bool check_order(mlc_graph *g, mlc_node *node) {
    const int64_t *order = attribute(node, "order");
    int64_t n = channels_of(node);
    if (!order)
        return true;
    mlc_arena_mark mark = mlc_arena_save(g->arena);
    bool *seen = MLC_NEW_ARRAY(g->arena, n, bool), ok = true;
    for (int64_t at = 0; at < n && ok; at++) {
        ok = order[at] >= 0 && order[at] < n && !seen[order[at]];
        if (ok)
            seen[order[at]] = true;
    }
    mlc_arena_restore(g->arena, mark);
    return ok || mlc_error_at(g->diag, node, "attribute 'order' is no permutation of the channels");
}

static bool check_words(mlc_graph *g, mlc_node *node) {
    int64_t n, at = 0, channels = channels_of(node), size = channels / mlc_attr_int(node, "group", 1);
    const int64_t *words = mlc_attr_ints(node, "words", &n);
    for (int64_t k = 0; k < n; k++) {
        if (words[k] < 1 || words[k] > MLC_INT_LANES || words[k] > channels - at)
            return mlc_error_at(g->diag, node, "attribute 'words' gives word %lld %lld channels",
                                (long long)k, (long long)words[k]);
        int64_t group = mlc_int_packing_order(node, at) / size;
        for (int64_t j = 1; j < words[k]; j++)
            if (mlc_int_packing_order(node, at + j) / size != group)
                return mlc_error_at(g->diag, node, "word %lld has channels of several groups", (long long)k);
        at += words[k];
    }
    return n == 0 || at == channels ||
           mlc_error_at(g->diag, node, "attribute 'words' is about %lld of %lld channels", (long long)at,
                        (long long)channels);
}

bool mlc_int_packing_check(mlc_graph *g, mlc_node *node) {
    int64_t n, channels = channels_of(node);
    static const char *const names[] = {"order", "align"};
    for (int k = 0; k < 2; k++) {
        const int64_t *x = mlc_attr_ints(node, names[k], &n);
        if (n && n != channels)
            return mlc_error_at(g->diag, node, "attribute '%s' has %lld numbers for %lld channels", names[k],
                                (long long)n, (long long)channels);
        for (int64_t i = 0; k == 1 && i < n; i++)
            if (x[i] < 0 || x[i] > MAX_ALIGN)
                return mlc_error_at(g->diag, node, "attribute 'align' holds %lld, expected 0 to %d",
                                    (long long)x[i], MAX_ALIGN);
    }
    return mlc_int_attr(g, node, "lane", 0, 64) && check_order(g, node) && check_words(g, node) &&
           mlc_int_chunks_check(g, node);
}

int64_t mlc_int_packing_order(const mlc_node *node, int64_t at) {
    const int64_t *order = attribute(node, "order");
    return order ? order[at] : at;
}

int64_t mlc_int_lane_low(const mlc_node *node, int64_t channel, int64_t i) {
    const int64_t *align = attribute(node, "align");
    int64_t unit = (int64_t)1 << (align ? align[channel] : 0);
    return node->out[0]->lo[i] & -unit; /* down to a multiple of the unit */
}

int mlc_int_lane_width(const mlc_node *node, int64_t channel, int64_t i) {
    uint64_t range = (uint64_t)node->out[0]->hi[i] - (uint64_t)mlc_int_lane_low(node, channel, i);
    return range ? 64 - __builtin_clzll(range) : 1;
}

void mlc_int_channel_widths(const mlc_node *node, int *width) {
    int64_t channels = channels_of(node), step = step_of(node);
    memset(width, 0, (size_t)channels * sizeof *width);
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        int64_t channel = i / step % channels;
        int bits = mlc_int_lane_width(node, channel, i);
        if (bits > width[channel])
            width[channel] = bits;
    }
}

bool mlc_int_packing_fits(mlc_graph *g, mlc_node *node) {
    int64_t n, at = 0;
    const int64_t *words = mlc_attr_ints(node, "words", &n), *starts;
    if (!n)
        return true;
    if (mlc_int_chunks(node, &starts) > 1)
        return mlc_int_chunks_fit(g, node);
    mlc_arena_mark mark = mlc_arena_save(g->arena);
    int *width = MLC_NEW_ARRAY(g->arena, channels_of(node), int);
    mlc_int_channel_widths(node, width);
    bool ok = true;
    int lane = (int)mlc_attr_int(node, "lane", 0);
    for (int64_t k = 0; k < n && ok; k++) {
        int bits = 0;
        for (int64_t j = 0; j < words[k]; j++) {
            int64_t channel = mlc_int_packing_order(node, at + j);
            bits += lane ? lane : width[channel];
            if (lane && width[channel] >= lane)
                ok = mlc_error_at(g->diag, node,
                                  "channel %lld needs %d bits besides the highest of its lane of %d",
                                  (long long)channel, width[channel], lane);
        }
        at += words[k];
        if (ok && bits > 64)
            ok = mlc_error_at(g->diag, node, "word %lld needs %d bits", (long long)k, bits);
    }
    mlc_arena_restore(g->arena, mark);
    return ok;
}

int64_t mlc_int_cost_weights(const mlc_node *node) {
    const mlc_tensor *w = node->in[1]->constant;
    int64_t cost = 0, n = mlc_shape_elements(&w->shape), words, channels = channels_of(node);
    mlc_attr_ints(node, "words", &words);
    for (int64_t i = 0; i < n; i++) {
        int64_t c = w->i[i];
        if (!c)
            continue;
        bool immediate = c >= INT32_MIN && c <= INT32_MAX;
        cost += c == 1 || c == -1 ? 1 : immediate ? 3 : 4;
    }
    /* A packed product takes four slots: a constant of two, multiplication, addition;
     * a load serves all words of a block. */
    if (words)
        return 4 + (cost * 3 / 2 * words / channels + cost * words / channels / 12) / channels;
    return 2 + (cost + cost / 8) / channels;
}
