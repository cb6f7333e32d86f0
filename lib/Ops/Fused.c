/* Conv and Gemm with an activation behind them, as onnxruntime writes optimized models. */
#include "Real.h"
#include "Spatial.h"

#include <math.h>

typedef struct activation {
    mlc_real_fn fn;
    double slope; /* bound on |f'| */
    double p[2];  /* parameters */
} activation;

static double relu(double x, const void *p) {
    (void)p;
    return fmax(x, 0);
}
static double leaky(double x, const void *p) {
    return x < 0 ? *(const double *)p * x : x;
}
static double sigmoid(double x, const void *p) {
    (void)p;
    return 1 / (1 + exp(-x));
}
static double tangent(double x, const void *p) {
    (void)p;
    return tanh(x);
}
static double hard_sigmoid(double x, const void *user) {
    const double *p = user;
    return fmin(fmax(p[0] * x + p[1], 0), 1);
}
static double clip(double x, const void *user) {
    const double *p = user;
    return fmin(fmax(x, p[0]), p[1]);
}

static double parameter(const mlc_node *node, int k, double missing) {
    static const char *const names[] = {"activation_alpha", "activation_beta"};
    const mlc_attr *all = mlc_attr_find(node, "activation_params");
    if (all)
        return k < all->n ? all->floats[k] : missing;
    return mlc_attr_float(node, names[k], missing);
}

/* fn is NULL where there is none; false for one that is not known. */
static bool activation_of(const mlc_node *node, activation *a) {
    const char *name = mlc_attr_string(node, "activation", "");
    *a = (activation){.slope = 1};
    if (!strcmp(name, "Relu")) {
        a->fn = relu;
    } else if (!strcmp(name, "LeakyRelu")) {
        *a = (activation){leaky, 1, {parameter(node, 0, (double)0.01f)}};
    } else if (!strcmp(name, "Sigmoid")) {
        *a = (activation){.fn = sigmoid, .slope = 0.25};
    } else if (!strcmp(name, "Tanh")) {
        a->fn = tangent;
    } else if (!strcmp(name, "HardSigmoid")) {
        *a = (activation){hard_sigmoid, 0, {parameter(node, 0, (double)0.2f), parameter(node, 1, 0.5)}};
    } else if (!strcmp(name, "Clip")) {
        *a = (activation){clip, 1, {parameter(node, 0, -INFINITY), parameter(node, 1, INFINITY)}};
    } else {
        return !*name;
    }
    return true;
}

/* The op without the activation, which does all but that. */
static const mlc_op *base_of(const mlc_node *node) {
    enum { VERSION = 13 };
    return mlc_op_find("", node->op->name + strlen("Fused"), VERSION);
}

static bool infer(mlc_graph *g, mlc_node *node) {
    activation a;
    if (!activation_of(node, &a))
        return mlc_error_at(g->diag, node, "activation '%s' is not supported",
                            mlc_escape(mlc_attr_string(node, "activation", "")));
    if (node->n_in > 3 && node->in[3])
        return mlc_error_at(g->diag, node, "a sum with '%s' before the activation is not supported",
                            mlc_escape(node->in[3]->name));
    return base_of(node)->infer(g, node);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    activation a;
    activation_of(node, &a);
    base_of(node)->eval(node, in, out);
    const int64_t n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; a.fn && i < n; i++)
        out[0]->f[i] = a.fn(out[0]->f[i], a.p);
}

static mlc_value *activate(mlc_quant *q, const activation *a, mlc_value *x) {
    if (!x || !a->fn)
        return x;
    if (a->fn == relu)
        return mlc_q_at_least(q, x, 0);
    if (a->fn == clip) {
        x = isfinite(a->p[0]) ? mlc_q_at_least(q, x, a->p[0]) : x;
        return x && isfinite(a->p[1]) ? mlc_q_at_most(q, x, a->p[1]) : x;
    }
    if (a->fn == hard_sigmoid) {
        x = mlc_q_scale_by(q, x, a->p[0]);
        x = x ? mlc_q_shift_by(q, x, a->p[1]) : NULL;
        x = x ? mlc_q_at_least(q, x, 0) : NULL;
        return x ? mlc_q_at_most(q, x, 1) : NULL;
    }
    if (a->fn == leaky) {
        mlc_value *below = mlc_q_at_most(q, x, 0), *above = mlc_q_at_least(q, x, 0);
        below = below ? mlc_q_scale_by(q, below, a->p[0]) : NULL;
        return below && above ? mlc_q_add(q, above, below) : NULL;
    }
    return mlc_q_function(q, x, a->fn, a->p, a->slope);
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    activation a;
    activation_of(node, &a);
    if (!base_of(node)->quantize(q, node))
        return false;
    return mlc_q_result(q, node, activate(q, &a, mlc_q_value(q, node->out[0])));
}

#define ROW(NAME, DOC, INPUTS, ...)                                                       \
    {.domain = "com.microsoft",                                                           \
     .name = NAME,                                                                        \
     .since = 1,                                                                          \
     .doc = DOC,                                                                          \
     .min_in = 2,                                                                         \
     .max_in = INPUTS,                                                                    \
     .min_out = 1,                                                                        \
     .max_out = 1,                                                                        \
     .attrs = (const mlc_attr_spec[]){{"activation", MLC_ATTR_STRING}, __VA_ARGS__, {0}}, \
     .infer = infer,                                                                      \
     .eval = eval,                                                                        \
     .quantize = quantize}

MLC_OPS(Fused,
        ROW("FusedConv", "Conv, then an activation", 4, MLC_WINDOW_ATTRS, {"dilations", MLC_ATTR_INTS},
            {"group", MLC_ATTR_INT}, {"activation_params", MLC_ATTR_FLOATS}),
        ROW("FusedGemm", "Gemm, then an activation", 3, {"alpha", MLC_ATTR_FLOAT}, {"beta", MLC_ATTR_FLOAT},
            {"transA", MLC_ATTR_INT}, {"transB", MLC_ATTR_INT}, {"activation_alpha", MLC_ATTR_FLOAT},
            {"activation_beta", MLC_ATTR_FLOAT}, {"activation_gamma", MLC_ATTR_FLOAT}));
