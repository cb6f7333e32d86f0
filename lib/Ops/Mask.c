#include "Real.h"

#include <math.h>

/* Whether only Softmax reads v, perhaps behind moves of its elements. */
static bool only_softmax_reads(const mlc_graph *g, const mlc_value *v, int depth) {
    static const char *const moves[] = {"Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", NULL};
    for (int k = 0; k < g->n_outputs; k++)
        if (g->outputs[k] == v)
            return false;
    bool read = false;
    MLC_FOR_NODES (g, node)
        for (int k = 0; k < node->n_in; k++) {
            if (node->in[k] != v)
                continue;
            read = true;
            bool moved = false;
            for (int i = 0; moves[i] && !*node->op->domain; i++)
                moved = moved || !strcmp(node->op->name, moves[i]);
            if (!*node->op->domain && !strcmp(node->op->name, "Softmax"))
                continue;
            if (!moved || k > 0 || depth == 0 || !only_softmax_reads(g, node->out[0], depth - 1))
                return false;
        }
    return read;
}

/* exp of minus this is nothing beside 1. */
#define OUT_OF_SIGHT 64.0

const double *mlc_q_mask(mlc_quant *q, const mlc_node *node, const double *x, int64_t n,
                         const mlc_value *other) {
    enum { DEPTH = 4 };
    double hidden = INFINITY, reach = 0;
    for (int64_t i = 0; i < n; i++)
        hidden = fmin(hidden, x[i]);
    for (int64_t i = 0; i < n; i++)
        if (x[i] != hidden)
            reach = fmax(reach, fabs(x[i]));
    /* Unmasked elements differ by 2 * reach at most. A power of two is exact at any scale. */
    reach += mlc_q_max_abs(other);
    int exponent;
    frexp(2 * reach + OUT_OF_SIGHT, &exponent);
    const double least = -ldexp(1, exponent);
    if (!(hidden < least) || !isfinite(least) || !only_softmax_reads(q->from, node->out[0], DEPTH))
        return x;
    double *limited = MLC_NEW_ARRAY(q->arena, n, double);
    for (int64_t i = 0; i < n; i++)
        limited[i] = x[i] == hidden ? least : x[i];
    return limited;
}
