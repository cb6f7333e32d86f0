/*
 * The reference of models that quantize themselves, for --certify. Node by node in
 * float arithmetic, but where it rounds to a grid and float arithmetic decides which
 * way a tie goes, the integer model may decide: it rounds dot products and means once,
 * from their exact values, while the nodes round their operands and sums.
 */
#include "Opt.h"

#include "mlc/pass.h"

#include <math.h>
#include <string.h>

/* What roundings of floats may add up to, relative to the largest of the values that are quantized. */
#define FLOAT_DOUBT 0x1p-20

static bool rounds_to_grid(const mlc_node *node) {
    return strcmp(node->op->name, "QuantizeLinear") == 0 || strcmp(node->op->name, "Quant") == 0;
}

/* The node's result with its first input moved by `off`. */
static const mlc_tensor *moved(mlc_arena *arena, const mlc_node *node, const mlc_tensor *const *in,
                               double off) {
    int64_t n = mlc_shape_elements(&in[0]->shape);
    mlc_tensor *x = mlc_tensor_create(arena, MLC_DOUBLE, &in[0]->shape);
    const mlc_tensor **all = MLC_NEW_ARRAY(arena, node->n_in + 1, const mlc_tensor *);
    memcpy(all, in, (size_t)node->n_in * sizeof *all);
    for (int64_t i = 0; i < n; i++)
        x->f[i] = in[0]->f[i] + off;
    all[0] = x;
    return mlc_eval_node(arena, node, all)[0];
}

/* Takes over what the integer value v has for elements that another rounding of floats would also give. */
static const mlc_tensor *settle_ties(mlc_arena *arena, const mlc_node *node, const mlc_tensor *const *in,
                                     const mlc_tensor *result, const mlc_value *v, const int64_t *q,
                                     int64_t *ties) {
    int64_t n = mlc_shape_elements(&result->shape);
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(in[0]->f[i]));
    const mlc_tensor *low = moved(arena, node, in, -most * FLOAT_DOUBT),
                     *high = moved(arena, node, in, most * FLOAT_DOUBT);
    mlc_tensor *r = mlc_tensor_create(arena, result->dtype, &result->shape);
    for (int64_t i = 0; i < n; i++) {
        double own = (double)(q[i] - v->zero) * v->scale, was = mlc_tensor_real(result, i);
        double between[2] = {mlc_tensor_real(low, i), mlc_tensor_real(high, i)};
        bool is_float = mlc_dtype_is_float(result->dtype);
        if (is_float)
            own = mlc_dtype_round(result->dtype, own);
        bool tie = own != was && (own == between[0] || own == between[1]);
        *ties += tie;
        if (is_float)
            r->f[i] = tie ? own : was;
        else
            r->i[i] = tie ? (int64_t)own : result->i[i];
    }
    return r;
}

const mlc_tensor **opt_reference(const mlc_origin *origin, const mlc_tensor *const *inputs,
                                 const int64_t *const *q, mlc_arena *arena, int64_t *ties) {
    const mlc_graph *g = origin->graph;
    const mlc_tensor **value = MLC_NEW_ARRAY(arena, g->n_values + 1, const mlc_tensor *);
    for (int i = 0; i < g->n_values; i++)
        value[i] = g->values[i]->constant;
    for (int k = 0; k < g->n_inputs; k++)
        value[g->inputs[k]->id] = inputs[k];
    MLC_FOR_NODES (g, node) {
        const mlc_tensor **in = MLC_NEW_ARRAY(arena, node->n_in + 1, const mlc_tensor *);
        for (int k = 0; k < node->n_in; k++)
            in[k] = node->in[k] ? value[node->in[k]->id] : NULL;
        const mlc_tensor **out = mlc_eval_node(arena, node, in);
        const mlc_value *first = node->out[0], *integer = first ? origin->integer[first->id] : NULL;
        if (integer && q[integer->id] && rounds_to_grid(node) && mlc_dtype_is_float(in[0]->dtype))
            out[0] = settle_ties(arena, node, in, out[0], integer, q[integer->id], ties);
        for (int k = 0; k < node->n_out; k++)
            if (node->out[k])
                value[node->out[k]->id] = out[k];
    }
    return value;
}
