/*
 * The format of a float input that the model quantizes first: the integers that
 * QuantizeLinear would make of it are the input, so that nothing is rounded twice.
 */
#include "Quant.h"

#include "mlc/form.h"

#include <math.h>
#include <string.h>

static bool is(const mlc_node *node, const char *op) {
    return strcmp(node->op->name, op) == 0;
}

static bool scalar_constant(const mlc_node *node, int k) {
    return k < node->n_in && node->in[k] && node->in[k]->constant &&
           mlc_shape_elements(&node->in[k]->shape) == 1;
}

/* What QuantizeLinear or Quant makes of its input, where that is one grid. */
static bool grid_of(const mlc_node *node, mlc_input_grid *g) {
    if (!scalar_constant(node, 1))
        return false;
    *g = (mlc_input_grid){.scale = node->in[1]->constant->f[0]};
    if (!(g->scale > 0) || !isfinite(g->scale) || !isfinite(1 / g->scale))
        return false;
    if (is(node, "QuantizeLinear")) {
        if (node->in[0]->dtype != MLC_FLOAT || mlc_attr_int(node, "precision", MLC_FLOAT) != MLC_FLOAT)
            return false;
        if (node->n_in > 2 && node->in[2]) {
            if (!scalar_constant(node, 2))
                return false;
            g->zero = node->in[2]->constant->i[0];
        }
        mlc_dtype_range(node->out[0]->dtype, &g->lo, &g->hi);
        return true;
    }
    if (!is(node, "Quant") || !scalar_constant(node, 2) || !scalar_constant(node, 3) ||
        node->in[2]->constant->f[0] != 0 ||
        strcmp(mlc_attr_string(node, "rounding_mode", "ROUND"), "ROUND") != 0)
        return false;
    double width = node->in[3]->constant->f[0];
    if (!(width >= 1 && width <= 24) || width != rint(width))
        return false;
    int64_t half = (int64_t)1 << ((int)width - 1), narrow = mlc_attr_int(node, "narrow", 0) != 0;
    bool is_signed = mlc_attr_int(node, "signed", 1) != 0;
    g->lo = is_signed ? narrow - half : 0;
    g->hi = is_signed ? half - 1 : 2 * half - 1 - narrow;
    return true;
}

enum { MOST_MOVES = 8 }; /* between the input and its quantization */

/* Every reader of v, through data movement, quantizes to one grid. */
static bool readers_grid(const mlc_graph *graph, const mlc_value *v, int depth, mlc_input_grid *g,
                         bool *any) {
    static const char *const moves[] = {"Reshape", "Flatten",   "Transpose",
                                        "Squeeze", "Unsqueeze", "Identity"};
    if (depth > MOST_MOVES || mlc_graph_is_output(graph, v))
        return false;
    MLC_FOR_NODES (graph, node) {
        for (int k = 0; k < node->n_in; k++) {
            if (node->in[k] != v)
                continue;
            mlc_input_grid own;
            bool moved = false;
            for (size_t i = 0; k == 0 && i < sizeof moves / sizeof moves[0]; i++)
                moved = moved || is(node, moves[i]);
            if (moved) {
                if (!readers_grid(graph, node->out[0], depth + 1, g, any))
                    return false;
                continue;
            }
            if (k != 0 || !grid_of(node, &own))
                return false;
            if (*any && (own.scale != g->scale || own.zero != g->zero || own.lo != g->lo || own.hi != g->hi))
                return false;
            *g = own;
            *any = true;
        }
    }
    return true;
}

bool mlc_find_input_grid(const mlc_graph *graph, const mlc_value *input, mlc_input_grid *g) {
    bool any = false;
    return input->dtype == MLC_FLOAT && readers_grid(graph, input, 0, g, &any) && any;
}

bool mlc_quantizes(const mlc_graph *graph) {
    MLC_FOR_NODES (graph, node)
        if (is(node, "QuantizeLinear") || is(node, "Quant"))
            return true;
    return false;
}
