/* Sums of Linear that are cut into chunks, for lanes that are narrower than the whole sum. */
#include "IntPacking.h"

#include "Int.h"

#include <string.h>

int64_t mlc_int_chunks(const mlc_node *node, const int64_t **starts) {
    int64_t n;
    *starts = mlc_attr_ints(node, "chunks", &n);
    return n ? n + 1 : 1;
}

int64_t mlc_int_chunk_begin(const mlc_node *node, int64_t chunk) {
    const int64_t *starts;
    int64_t n = mlc_int_chunks(node, &starts);
    return chunk == 0 ? 0 : chunk < n ? starts[chunk - 1] : node->in[1]->shape.dim[1];
}

int mlc_int_chunk_width(const mlc_node *node) {
    int64_t n, most = 1;
    const int64_t *words = mlc_attr_ints(node, "words", &n);
    for (int64_t k = 0; k < n; k++)
        most = words[k] > most ? words[k] : most;
    return (int)(64 / most);
}

/* What inputs [first, last) add to output `channel` of a row: at least .lo, at most .hi. */
static mlc_wide sum_of(const mlc_node *node, int64_t row, int64_t channel, int64_t first, int64_t last) {
    int64_t inputs = node->in[1]->shape.dim[1];
    mlc_wide sum = {0, 0};
    for (int64_t k = first; k < last; k++) {
        int64_t w = node->in[1]->constant->i[channel * inputs + k];
        mlc_wide term = mlc_int_product((mlc_wide){w, w}, mlc_int_range(node->in[0], row * inputs + k));
        sum.lo += term.lo;
        sum.hi += term.hi;
    }
    return sum;
}

static mlc_wide chunk_sum(const mlc_node *node, int64_t row, int64_t channel, int64_t chunk) {
    return sum_of(node, row, channel, mlc_int_chunk_begin(node, chunk), mlc_int_chunk_begin(node, chunk + 1));
}

/* All sums start with what makes them end at 0 or above; the first one with what remains of the bias. */
static mlc_i128 start_of(const mlc_node *node, int64_t row, int64_t channel, int64_t chunk) {
    const int64_t *starts;
    int64_t n = mlc_int_chunks(node, &starts), outputs = node->in[1]->shape.dim[0];
    if (chunk > 0)
        return -chunk_sum(node, row, channel, chunk).lo;
    mlc_i128 start = node->in[2]->constant->i[channel];
    start -= mlc_int_lane_low(node, channel, row * outputs + channel);
    for (int64_t c = 1; c < n; c++)
        start += chunk_sum(node, row, channel, c).lo;
    return start;
}

int64_t mlc_int_chunk_start(const mlc_node *node, int64_t row, int64_t channel, int64_t chunk) {
    return (int64_t)start_of(node, row, channel, chunk);
}

static bool fits(const mlc_node *node, int64_t row, int64_t channel, int width) {
    const int64_t *starts;
    for (int64_t chunk = 0, n = mlc_int_chunks(node, &starts); chunk < n; chunk++) {
        mlc_wide sum = chunk_sum(node, row, channel, chunk);
        mlc_i128 start = start_of(node, row, channel, chunk);
        if (start + sum.lo < 0 || (start + sum.hi) >> width)
            return false;
    }
    int64_t outputs = node->in[1]->shape.dim[0];
    return mlc_int_lane_width(node, channel, row * outputs + channel) <= 2 * width;
}

bool mlc_int_chunks_fit(mlc_graph *g, mlc_node *node) {
    int64_t outputs = node->in[1]->shape.dim[0], rows = mlc_int_elements(node->out[0]) / outputs;
    int width = mlc_int_chunk_width(node);
    for (int64_t i = 0; i < rows * outputs; i++)
        if (!fits(node, i / outputs, i % outputs, width))
            return mlc_error_at(g->diag, node, "a chunk of channel %lld needs more than %d bits",
                                (long long)(i % outputs), width);
    return true;
}

bool mlc_int_chunks_check(mlc_graph *g, mlc_node *node) {
    int64_t inputs = node->in[1]->shape.dim[1], n_words, before = 0;
    const int64_t *starts, *words = mlc_attr_ints(node, "words", &n_words);
    int64_t n = mlc_int_chunks(node, &starts);
    for (int64_t k = 0; k < n - 1; before = starts[k++])
        if (starts[k] <= before || starts[k] >= inputs)
            return mlc_error_at(g->diag, node, "attribute 'chunks' does not cut %lld inputs",
                                (long long)inputs);
    if (n > 1 && (!n_words || mlc_attr_find(node, "lane")))
        return mlc_error_at(g->diag, node, "attribute 'chunks' needs 'words' and no 'lane'");
    int lanes = 64 / mlc_int_chunk_width(node);
    for (int64_t k = 0; n > 1 && k < n_words; k++)
        if (words[k] > 1 && lanes % 2)
            return mlc_error_at(g->diag, node, "attribute 'chunks' needs an even number of lanes");
    return true;
}

/* Adds input k to the distance between the least and the largest sum of each output. */
static bool widen(const mlc_node *node, int64_t k, int width, mlc_i128 *sum) {
    int64_t outputs = node->in[1]->shape.dim[0], n = mlc_int_elements(node->out[0]);
    for (int64_t i = 0; i < n; i++) {
        mlc_wide term = sum_of(node, i / outputs, i % outputs, k, k + 1);
        sum[i] += term.hi - term.lo;
        if (sum[i] >> width)
            return false;
    }
    return true;
}

int64_t mlc_int_cut(mlc_arena *arena, const mlc_node *node, int width, int64_t *starts) {
    int64_t inputs = node->in[1]->shape.dim[1], outputs = node->in[1]->shape.dim[0], n_chunks = 1, aligned;
    int64_t n = mlc_int_elements(node->out[0]), begin = 0;
    const int64_t *align = mlc_attr_ints(node, "align", &aligned);
    mlc_arena_mark mark = mlc_arena_save(arena);
    mlc_i128 *sum = mlc_arena_array(arena, (size_t)n + 1, sizeof *sum);
    bool ok = true;
    for (int64_t i = 0; i < n; i++) {
        sum[i] = aligned ? ((mlc_i128)1 << align[i % outputs]) - 1 : 0;
        ok = ok && mlc_int_lane_width(node, i % outputs, i) <= 2 * width;
    }
    for (int64_t k = 0; k < inputs && ok; k++) {
        if (widen(node, k, width, sum))
            continue;
        ok = k > begin;
        memset(sum, 0, (size_t)n * sizeof *sum);
        ok = ok && widen(node, k, width, sum);
        starts[n_chunks++ - 1] = begin = k;
    }
    mlc_arena_restore(arena, mark);
    return ok ? n_chunks : 0;
}
