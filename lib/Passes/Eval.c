/* The two evaluators: real-valued on SHAPED graphs, reference on INTEGER graphs. */
#include "Passes.h"

#include <math.h>
#include <string.h>

/* Not `rounded`: results of float types are of type DOUBLE. */
static mlc_tensor **eval_node(mlc_arena *arena, const mlc_node *node, const mlc_tensor *const *in,
                              bool rounded) {
    mlc_tensor **out = MLC_NEW_ARRAY(arena, node->n_out + 1, mlc_tensor *);
    for (int k = 0; k < node->n_out; k++) {
        if (!node->out[k])
            continue;
        mlc_dtype dtype = node->out[k]->dtype;
        if (!rounded && mlc_dtype_is_float(dtype))
            dtype = MLC_DOUBLE;
        out[k] = mlc_tensor_create(arena, dtype, &node->out[k]->shape);
    }
    node->op->eval(node, in, out);
    return out;
}

const mlc_tensor **mlc_eval_node(mlc_arena *arena, const mlc_node *node, const mlc_tensor *const *in) {
    mlc_tensor **out = eval_node(arena, node, in, true);
    for (int k = 0; k < node->n_out; k++) {
        if (!out[k] || !mlc_dtype_is_float(out[k]->dtype) || out[k]->dtype == MLC_DOUBLE)
            continue;
        int64_t n = mlc_shape_elements(&out[k]->shape);
        for (int64_t i = 0; i < n; i++)
            out[k]->f[i] = mlc_dtype_round(out[k]->dtype, out[k]->f[i]);
    }
    return (const mlc_tensor **)out;
}

static const mlc_tensor **eval_graph(const mlc_graph *g, const mlc_tensor *const *inputs, mlc_arena *arena,
                                     bool rounded) {
    const mlc_tensor **value = MLC_NEW_ARRAY(arena, g->n_values + 1, const mlc_tensor *);
    for (int i = 0; i < g->n_values; i++)
        value[i] = g->values[i]->constant;
    for (int k = 0; k < g->n_inputs; k++)
        value[g->inputs[k]->id] = inputs[k];
    MLC_FOR_NODES (g, node) {
        const mlc_tensor **in = MLC_NEW_ARRAY(arena, node->n_in + 1, const mlc_tensor *);
        for (int k = 0; k < node->n_in; k++)
            in[k] = node->in[k] ? value[node->in[k]->id] : NULL;
        const mlc_tensor **out =
            rounded ? mlc_eval_node(arena, node, in) : (const mlc_tensor **)eval_node(arena, node, in, false);
        for (int k = 0; k < node->n_out; k++)
            if (node->out[k])
                value[node->out[k]->id] = out[k];
    }
    return value;
}

const mlc_tensor **mlc_eval_real(const mlc_graph *g, const mlc_tensor *const *inputs, mlc_arena *arena) {
    return eval_graph(g, inputs, arena, true);
}

const mlc_tensor **mlc_eval_exact(const mlc_graph *g, const mlc_tensor *const *inputs, mlc_arena *arena) {
    return eval_graph(g, inputs, arena, mlc_quantizes(g));
}

const int64_t *mlc_input_to_int(mlc_arena *arena, const mlc_value *v, const mlc_tensor *sample,
                                int64_t *outside) {
    int64_t n = mlc_shape_elements(&v->shape), *out = MLC_NEW_ARRAY(arena, n + 1, int64_t);
    for (int64_t i = 0; i < n; i++) {
        double real = mlc_tensor_real(sample, i);
        double ratio = real / v->scale; /* of floats in float arithmetic, as QuantizeLinear has it */
        double x =
            rint(sample->dtype == MLC_FLOAT ? mlc_dtype_round(MLC_FLOAT, ratio) : ratio) + (double)v->zero;
        if (isnan(x))
            x = (double)v->zero;
        double lo = (double)v->lo[i], hi = (double)v->hi[i];
        out[i] = x <= lo ? v->lo[i] : x >= hi ? v->hi[i] : (int64_t)x;
        if (outside && (x < lo || x > hi))
            ++*outside;
    }
    return out;
}

const int64_t **mlc_eval_int(const mlc_graph *g, const int64_t *const *inputs, mlc_arena *arena) {
    const int64_t **value = MLC_NEW_ARRAY(arena, g->n_values + 1, const int64_t *);
    for (int i = 0; i < g->n_values; i++)
        if (g->values[i]->constant)
            value[i] = g->values[i]->constant->i;
    for (int k = 0; k < g->n_inputs; k++)
        value[g->inputs[k]->id] = inputs[k];
    MLC_FOR_NODES (g, node) {
        const int64_t **in = MLC_NEW_ARRAY(arena, node->n_in + 1, const int64_t *);
        for (int k = 0; k < node->n_in; k++)
            in[k] = value[node->in[k]->id];
        int64_t n = mlc_shape_elements(&node->out[0]->shape);
        int64_t *out = MLC_NEW_ARRAY(arena, n + 1, int64_t);
        node->op->eval_int(node, in, out);
        value[node->out[0]->id] = out;
    }
    return value;
}
