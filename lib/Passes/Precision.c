/* --precision: how many bits each dot product gets. */
#include "Precision.h"

#include "Quant.h"

#include <stdlib.h>
#include <string.h>

static bool is(const mlc_node *node, const char *op) {
    return node->op->domain[0] == '\0' && strcmp(node->op->name, op) == 0;
}

static bool is_dot(const mlc_node *node) {
    bool named = is(node, "Gemm") || is(node, "MatMul") || is(node, "Conv");
    return named && node->n_in >= 2 && mlc_dtype_is_float(node->in[0]->dtype) &&
           !node->in[0]->constant != !node->in[1]->constant;
}

mlc_dot *mlc_q_dots(const mlc_graph *g, mlc_arena *arena, int bits, int *n) {
    mlc_dot *dots = MLC_NEW_ARRAY(arena, g->n_nodes + 1, mlc_dot);
    *n = 0;
    MLC_FOR_NODES (g, node)
        if (is_dot(node))
            dots[(*n)++] = (mlc_dot){.node = node, .bits = bits};
    return dots;
}

const mlc_value *mlc_q_dot_input(const mlc_node *node) {
    return node->in[0]->constant ? node->in[1] : node->in[0];
}

const mlc_dot *mlc_q_dot_of(const mlc_quant *q, const mlc_node *node) {
    for (int i = 0; i < q->n_dots; i++)
        if (q->dots[i].node == node)
            return &q->dots[i];
    return NULL;
}

bool mlc_q_dot_weights(const mlc_node *node, mlc_dot_weights *out) {
    const mlc_value *x = node->in[0], *w = node->in[1];
    if (x->constant || w->shape.rank < 2 || x->shape.rank < 1)
        return false;
    const int64_t *dim = w->shape.dim;
    *out = (mlc_dot_weights){.w = w->constant->f, .kernel = 1, .groups = 1, .alpha = 1};
    if (is(node, "Conv")) {
        out->image = true;
        out->groups = mlc_attr_int(node, "group", 1);
        out->channels = dim[0];
        out->classes = dim[1] * out->groups;
        out->taps = dim[0] ? mlc_shape_elements(&w->shape) / dim[0] : 0;
        out->kernel = dim[1] ? out->taps / dim[1] : 0;
        out->by_channel = out->taps;
        out->by_tap = 1;
        return out->taps > 0 && x->shape.dim[0] == 1;
    }
    bool turned = is(node, "Gemm") && mlc_attr_int(node, "transB", 0);
    if (w->shape.rank != 2 || (is(node, "Gemm") && mlc_attr_int(node, "transA", 0)))
        return false;
    if (is(node, "Gemm"))
        out->alpha = mlc_attr_float(node, "alpha", 1);
    out->channels = dim[!turned];
    out->taps = out->classes = dim[turned];
    out->by_channel = turned ? out->taps : 1;
    out->by_tap = turned ? 1 : out->channels;
    return out->taps > 0 && out->channels > 0;
}

static bool needs_ranges(const mlc_quant *prepared, const mlc_pass_context *context, int bits) {
    bool floats = false;
    for (int k = 0; k < prepared->from->n_inputs; k++)
        floats = floats || mlc_dtype_is_float(prepared->from->inputs[k]->dtype);
    bool declared = !floats || context->binding || context->options->input_format;
    if (context->calibration || (bits == 16 && declared))
        return true;
    mlc_error(prepared->diag, "--precision=%s needs to know the ranges of the values",
              context->options->precision);
    return mlc_note(prepared->diag, "give sample inputs with --calibrate=FILE");
}

/* 0: not one. */
static int bits_named(const char *text) {
    static const int all[] = {2, 3, 4, 5, 6, 7, 8, 16, 32};
    char *end;
    long bits = strtol(text, &end, 10);
    if (strcmp(text, "ternary") == 0)
        return MLC_TERNARY;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (text[0] >= '1' && text[0] <= '9' && !*end && bits == all[i])
            return all[i];
    return 0;
}

bool mlc_q_choose_precision(const mlc_quant *prepared, mlc_pass_context *context, mlc_dot **dots, int *n) {
    const char *text = context->options->precision ? context->options->precision : "32";
    *dots = NULL;
    *n = 0;
    if (strcmp(text, "auto") == 0)
        return mlc_q_choose_auto(prepared, context, dots, n);
    int bits = bits_named(text);
    if (!bits)
        return mlc_error(prepared->diag, "no precision '%s'; use 32, 16, 8 to 2, ternary or auto",
                         mlc_escape(text));
    if (bits < 32 && !needs_ranges(prepared, context, bits))
        return false;
    *dots = mlc_q_dots(prepared->from, prepared->arena, bits, n);
    return true;
}
