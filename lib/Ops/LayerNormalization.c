#include "Real.h"

#include <math.h>

/*
 * Normalizations over rows: the elements of x, in order, are rows of `n` elements,
 * each of which is made to have mean 0 (except RMS) and variance 1. Scale and bias
 * then apply to each element, with indices that differ from op to op.
 */
typedef struct normal {
    int64_t rows, n;
    double epsilon;
    bool centered;
    mlc_shape parameters; /* of scale and bias, so that they broadcast to x */
} normal;

enum { SCALE = 1, BIAS, MEAN = 1, INVERSE };

static bool named(const mlc_node *node, const char *name) {
    return !strcmp(node->op->name, name);
}

/* Dimensions from `axis` on form a row. */
static normal rows_from(const mlc_node *node, const mlc_shape *x, int axis) {
    normal p = {.rows = 1,
                .n = 1,
                .epsilon = mlc_attr_float(node, "epsilon", (double)1e-5f),
                .centered = !named(node, "RMSNormalization")};
    for (int d = 0; d < x->rank; d++)
        *(d < axis ? &p.rows : &p.n) *= x->dim[d];
    return p;
}

/* LayerNormalization, RMSNormalization: scale and bias broadcast as they are. */
static normal layer_of(const mlc_node *node, const mlc_shape *x) {
    normal p = rows_from(node, x, mlc_axis(mlc_attr_int(node, "axis", -1), x->rank));
    p.parameters = node->in[SCALE]->shape;
    return p;
}

/* Scale and bias are per channel: dimension 1. */
static mlc_shape channel_shape(const mlc_shape *x) {
    mlc_shape s = {.rank = x->rank - 1, .dim = {x->dim[1]}};
    for (int d = 1; d < s.rank; d++)
        s.dim[d] = 1;
    return s;
}

static normal instance_of(const mlc_node *node, const mlc_shape *x) {
    normal p = rows_from(node, x, 2);
    p.parameters = channel_shape(x);
    return p;
}

static normal group_of(const mlc_node *node, const mlc_shape *x) {
    normal p = rows_from(node, x, 1);
    const int64_t groups = mlc_attr_int(node, "num_groups", 1);
    p.rows *= groups;
    p.n /= groups;
    p.parameters = channel_shape(x);
    return p;
}

static normal normal_of(const mlc_node *node, const mlc_shape *x) {
    return named(node, "InstanceNormalization") ? instance_of(node, x)
           : named(node, "GroupNormalization")  ? group_of(node, x)
                                                : layer_of(node, x);
}

/* Index into scale and bias of element i: before opset 21 GroupNormalization has one for each group. */
static int64_t parameter_at(const mlc_node *node, const normal *p, const mlc_shape *x, int64_t i) {
    const int64_t at = mlc_shape_broadcast_index(&p->parameters, x, i);
    if (!named(node, "GroupNormalization") || node->opset >= 21)
        return at;
    return at / (x->dim[1] / mlc_attr_int(node, "num_groups", 1));
}

static bool need_floats(mlc_graph *g, const mlc_node *node) {
    return mlc_need_float(g, node, 0) && mlc_need_float(g, node, 1) && mlc_need_float(g, node, 2);
}

static bool infer_layer(mlc_graph *g, mlc_node *node) {
    const mlc_shape *x = &node->in[0]->shape;
    int axis;
    if (!need_floats(g, node) || !mlc_infer_axis(g, node, mlc_attr_int(node, "axis", -1), x->rank, &axis))
        return false;
    mlc_shape reduced = *x, both;
    for (int d = axis; d < x->rank; d++)
        reduced.dim[d] = 1;
    for (int k = SCALE; k <= BIAS && k < node->n_in; k++)
        if (node->in[k] &&
            (!mlc_shape_broadcast(&node->in[k]->shape, x, &both) || !mlc_shape_equal(&both, x)))
            return mlc_error_at(g->diag, node, "input '%s' of shape %s does not broadcast to %s",
                                mlc_escape(node->in[k]->name), mlc_shape_str(g->arena, &node->in[k]->shape),
                                mlc_shape_str(g->arena, x));
    if (node->n_in > BIAS && node->in[BIAS] &&
        !mlc_shape_equal(&node->in[SCALE]->shape, &node->in[BIAS]->shape))
        return mlc_error_at(g->diag, node, "scale and bias have different shapes %s and %s",
                            mlc_shape_str(g->arena, &node->in[SCALE]->shape),
                            mlc_shape_str(g->arena, &node->in[BIAS]->shape));
    return mlc_infer_same(g, node) && mlc_infer_set(g, node, MEAN, MLC_FLOAT, &reduced) &&
           mlc_infer_set(g, node, INVERSE, MLC_FLOAT, &reduced);
}

static bool infer_channels(mlc_graph *g, mlc_node *node) {
    const mlc_shape *x = &node->in[0]->shape;
    if (!need_floats(g, node))
        return false;
    if (x->rank < 3)
        return mlc_error_at(g->diag, node, "input has shape %s; batch, channels and more are needed",
                            mlc_shape_str(g->arena, x));
    int64_t want = x->dim[1];
    if (named(node, "GroupNormalization")) {
        const int64_t groups = mlc_attr_int(node, "num_groups", 0);
        if (groups < 1 || groups > x->dim[1] || x->dim[1] % groups)
            return mlc_error_at(g->diag, node, "num_groups %lld does not divide %lld channels",
                                (long long)groups, (long long)x->dim[1]);
        want = node->opset < 21 ? groups : want;
    }
    for (int k = SCALE; k <= BIAS; k++)
        if (node->in[k]->shape.rank != 1 || node->in[k]->shape.dim[0] != want)
            return mlc_error_at(g->diag, node, "input '%s' has shape %s, expected [%lld]",
                                mlc_escape(node->in[k]->name), mlc_shape_str(g->arena, &node->in[k]->shape),
                                (long long)want);
    return mlc_infer_same(g, node);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const mlc_shape *shape = &in[0]->shape;
    const normal p = normal_of(node, shape);
    const mlc_tensor *bias = node->n_in > BIAS ? in[BIAS] : NULL;
    for (int64_t r = 0; r < p.rows; r++) {
        const double *x = in[0]->f + r * p.n;
        double mean = 0, variance = 0;
        for (int64_t j = 0; j < p.n && p.centered; j++)
            mean += x[j] / (double)p.n;
        for (int64_t j = 0; j < p.n; j++)
            variance += (x[j] - mean) * (x[j] - mean) / (double)p.n;
        const double inverse = 1 / sqrt(variance + p.epsilon);
        for (int64_t j = 0; j < p.n; j++) {
            const int64_t at = parameter_at(node, &p, shape, r * p.n + j);
            out[0]->f[r * p.n + j] = (x[j] - mean) * inverse * in[SCALE]->f[at] + (bias ? bias->f[at] : 0);
        }
        if (node->n_out > MEAN && out[MEAN])
            out[MEAN]->f[r] = mean;
        if (node->n_out > INVERSE && out[INVERSE])
            out[INVERSE]->f[r] = inverse;
    }
}

/* Means of the rows of v [rows,n]. */
static mlc_value *mean_of(mlc_quant *q, const normal *p, mlc_value *v) {
    const mlc_shape shape = {2, {p->rows, 1}};
    int64_t *index = MLC_NEW_ARRAY(q->arena, p->rows * p->n, int64_t);
    for (int64_t i = 0; i < p->rows * p->n; i++)
        index[i] = i;
    mlc_value *sum = v ? mlc_q_reduce(q, MLC_REDUCE_SUM, v, index, p->n, &shape) : NULL;
    return sum ? mlc_q_scale_by(q, sum, 1 / (double)p->n) : NULL;
}

/* Scale or bias (input k) for every element of x. */
static mlc_value *spread(mlc_quant *q, const mlc_node *node, const normal *p, int k) {
    const mlc_shape *shape = &node->in[0]->shape;
    const int64_t n = mlc_shape_elements(shape);
    int64_t *index = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++)
        index[i] = parameter_at(node, p, shape, i);
    mlc_value *v = mlc_q_value(q, node->in[k]);
    return v ? mlc_q_gather(q, &v, 1, index, 0, shape) : NULL;
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    for (int k = 1; k < node->n_out; k++)
        if (node->out[k])
            return mlc_error_at(q->diag, node, "output '%s' is not supported",
                                mlc_escape(node->out[k]->name));
    const normal p = normal_of(node, &node->in[0]->shape);
    const mlc_shape shape = {2, {p.rows, p.n}};
    mlc_value *x = mlc_q_value(q, node->in[0]);
    x = x ? mlc_q_reshape(q, x, &shape) : NULL;
    if (x && p.centered) {
        mlc_value *mean = mean_of(q, &p, x);
        x = mean ? mlc_q_sub(q, x, mean) : NULL;
    }
    mlc_value *variance = mean_of(q, &p, x ? mlc_q_mul(q, x, x) : NULL);
    variance = variance ? mlc_q_shift_by(q, variance, p.epsilon) : NULL;
    variance = variance ? mlc_q_at_least(q, variance, p.epsilon) : NULL;
    mlc_value *deviation = variance ? mlc_q_sqrt(q, variance) : NULL;
    /* No element of a row exceeds sqrt(n) standard deviations. */
    mlc_value *y = mlc_q_divide_within(q, x, deviation, sqrt(p.epsilon), sqrt((double)p.n));
    y = y ? mlc_q_reshape(q, y, &node->in[0]->shape) : NULL;
    mlc_value *scale = y ? spread(q, node, &p, SCALE) : NULL;
    y = scale ? mlc_q_mul(q, y, scale) : NULL;
    if (y && node->n_in > BIAS && node->in[BIAS]) {
        mlc_value *bias = spread(q, node, &p, BIAS);
        y = bias ? mlc_q_add(q, y, bias) : NULL;
    }
    return mlc_q_result(q, node, y);
}

#define ROW(NAME, SINCE, INPUTS_LEAST, INPUTS, OUTPUTS, INFER, DOC, ...)         \
    {.domain = "",                                                               \
     .name = NAME,                                                               \
     .since = SINCE,                                                             \
     .doc = DOC,                                                                 \
     .min_in = INPUTS_LEAST,                                                     \
     .max_in = INPUTS,                                                           \
     .min_out = 1,                                                               \
     .max_out = OUTPUTS,                                                         \
     .attrs = (const mlc_attr_spec[]){{"epsilon", MLC_ATTR_FLOAT}, __VA_ARGS__}, \
     .infer = INFER,                                                             \
     .eval = eval,                                                               \
     .quantize = quantize}

MLC_OPS(LayerNormalization,
        ROW("LayerNormalization", 17, 2, 3, 3, infer_layer,
            "Mean 0 and variance 1 over the dimensions from axis on", {"axis", MLC_ATTR_INT},
            {"stash_type", MLC_ATTR_INT}, {0}),
        ROW("RMSNormalization", 23, 2, 2, 1, infer_layer, "Mean square 1 over the dimensions from axis on",
            {"axis", MLC_ATTR_INT}, {"stash_type", MLC_ATTR_INT}, {0}),
        ROW("InstanceNormalization", 1, 3, 3, 1, infer_channels, "Mean 0 and variance 1 in each channel",
            {"consumed_inputs", MLC_ATTR_INTS}, {0}),
        ROW("GroupNormalization", 18, 3, 3, 1, infer_channels,
            "Mean 0 and variance 1 in each group of channels", {"num_groups", MLC_ATTR_INT},
            {"stash_type", MLC_ATTR_INT}, {0}));
