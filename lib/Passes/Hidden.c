#include "Hidden.h"

#include "mlc/op.h"

static int64_t outputs_of(const mlc_hidden *h) {
    return h->linear->in[1]->shape.dim[0];
}

bool mlc_hidden_find(const mlc_graph *g, mlc_node *linear, const int *uses, mlc_hidden *h) {
    static const char *const chosen[] = {"order", "words", "chunks"};
    *h = (mlc_hidden){.linear = linear, .requantize = mlc_only_reader(g, linear->out[0], uses)};
    if (linear->op != mlc_iop("Linear") || !h->requantize || h->requantize->op != mlc_iop("Requantize") ||
        mlc_shape_elements(&h->requantize->in[1]->shape) != outputs_of(h))
        return false;
    for (int k = 0; k < 3; k++)
        if (mlc_attr_find(linear, chosen[k]))
            return false;
    h->reader = mlc_only_reader(g, h->requantize->out[0], uses);
    while (h->reader && mlc_is_reshape(h->reader))
        h->reader = mlc_only_reader(g, h->reader->out[0], uses);
    return h->reader && h->reader->op == mlc_iop("Linear") && h->reader->in[1]->shape.dim[1] == outputs_of(h);
}

const int64_t *mlc_hidden_by_shift(const mlc_graph *g, const mlc_hidden *h) {
    int64_t n = outputs_of(h), *order = MLC_NEW_ARRAY(g->arena, n, int64_t), at = 0;
    const int64_t *shift = h->requantize->in[1]->constant->i;
    bool moved = false;
    for (int64_t s = 0; at < n; s++)
        for (int64_t i = 0; i < n; i++)
            if (shift[i] == s) {
                moved = moved || i != at;
                order[at++] = i;
            }
    return moved ? order : NULL;
}

const int64_t *mlc_hidden_inverse(const mlc_graph *g, const mlc_hidden *h, const int64_t *order) {
    int64_t n = outputs_of(h), *inverse = MLC_NEW_ARRAY(g->arena, n, int64_t);
    for (int64_t k = 0; k < n; k++)
        inverse[order[k]] = k;
    return inverse;
}

/* Of each row of n numbers; other nodes may share the old ones. */
static int64_t *permuted(mlc_graph *g, const int64_t *x, int64_t count, int64_t n, const int64_t *order) {
    int64_t *y = MLC_NEW_ARRAY(g->arena, count + 1, int64_t);
    for (int64_t i = 0; i < count; i++)
        y[i] = x[i / n * n + order[i % n]];
    return y;
}

static void permute_value(mlc_graph *g, mlc_value *v, int64_t n, const int64_t *order) {
    int64_t count = mlc_shape_elements(&v->shape);
    v->lo = permuted(g, v->lo, count, n, order);
    v->hi = permuted(g, v->hi, count, n, order);
    if (!v->err)
        return;
    double *err = MLC_NEW_ARRAY(g->arena, count + 1, double);
    for (int64_t i = 0; i < count; i++)
        err[i] = v->err[i / n * n + order[i % n]];
    v->err = err;
}

/* An operand with `block` numbers for each output: [rows, n, block]. */
static mlc_value *permute_constant(mlc_graph *g, const mlc_value *v, int64_t n, int64_t block,
                                   const int64_t *order) {
    mlc_tensor *t = mlc_tensor_create(g->arena, MLC_INT64, &v->shape);
    for (int64_t i = 0, count = mlc_shape_elements(&v->shape); i < count; i++) {
        int64_t unit = i / block;
        t->i[i] = v->constant->i[(unit / n * n + order[unit % n]) * block + i % block];
    }
    return mlc_graph_constant(g, NULL, t);
}

void mlc_hidden_permute(mlc_graph *g, const mlc_hidden *h, const int64_t *order) {
    mlc_node *linear = h->linear;
    int64_t n = outputs_of(h), aligned;
    const int64_t *align = mlc_attr_ints(linear, "align", &aligned);
    if (aligned)
        mlc_attr_set_ints(g, linear, "align", permuted(g, align, n, n, order), n);
    linear->in[1] = permute_constant(g, linear->in[1], n, linear->in[1]->shape.dim[1], order);
    linear->in[2] = permute_constant(g, linear->in[2], n, 1, order);
    h->requantize->in[1] = permute_constant(g, h->requantize->in[1], n, 1, order);
    h->reader->in[1] = permute_constant(g, h->reader->in[1], n, 1, order);
    for (mlc_value *v = h->reader->in[0]; v != linear->in[0]; v = v->producer->in[0])
        permute_value(g, v, n, order);
}
