/* LSTM, GRU and RNN as integer nodes: the steps are unrolled. */
#include "Recurrent.h"

#include <math.h>

/* One direction. Values of a step have shape [batch, ...]. */
typedef struct layer {
    mlc_quant *q;
    const mlc_node *node;
    const mlc_recurrent *r;
    int64_t d;
    mlc_value *inputs;            /* W x + biases of all steps: [steps * batch, gates * hidden] */
    const double *weights, *bias; /* R, and of GRU its bias, of the state */
    const double *peephole;       /* NULL: none */
} layer;

static const mlc_tensor *constant(const mlc_node *node, int k) {
    return k < node->n_in && node->in[k] ? node->in[k]->constant : NULL;
}

static const double *numbers(const mlc_node *node, int k, int64_t d, int64_t per_direction) {
    const mlc_tensor *t = constant(node, k);
    return t ? t->f + d * per_direction : NULL;
}

/* Columns [first, first + n) of rows [row, row + batch) of v, a matrix with `width` columns. */
static mlc_value *part(const layer *l, mlc_value *v, int64_t row, int64_t width, int64_t first, int64_t n) {
    const mlc_shape shape = {2, {l->r->batch, n}};
    int64_t *index = MLC_NEW_ARRAY(l->q->arena, l->r->batch * n, int64_t);
    for (int64_t i = 0; i < l->r->batch * n; i++)
        index[i] = (row + i / n) * width + first + i % n;
    return v ? mlc_q_gather(l->q, &v, 1, index, 0, &shape) : NULL;
}

/* Gates [gate, gate + n) of v [batch, gates * hidden]. */
static mlc_value *gates(const layer *l, mlc_value *v, int64_t gate, int64_t n) {
    return part(l, v, 0, l->r->gates * l->r->hidden, gate * l->r->hidden, n * l->r->hidden);
}

static mlc_value *from_input(const layer *l, int64_t t) {
    const int64_t width = l->r->gates * l->r->hidden;
    return part(l, l->inputs, t * l->r->batch, width, 0, width);
}

/* R h + bias for gates [gate, gate + n). */
static mlc_value *from_state(const layer *l, mlc_value *h, int64_t gate, int64_t n) {
    const int64_t H = l->r->hidden;
    const mlc_shape shape = {2, {l->r->batch, n * H}};
    return h ? mlc_q_linear(l->q, h, l->r->batch, H, n * H, l->weights + gate * H * H,
                            l->bias ? l->bias + gate * H : NULL, &shape)
             : NULL;
}

static mlc_value *sum(const layer *l, mlc_value *a, mlc_value *b) {
    return a && b ? mlc_q_add(l->q, a, b) : NULL;
}

static mlc_value *product(const layer *l, mlc_value *a, mlc_value *b) {
    return a && b ? mlc_q_mul(l->q, a, b) : NULL;
}

static mlc_value *minus(const layer *l, mlc_value *a, mlc_value *b) {
    return a && b ? mlc_q_sub(l->q, a, b) : NULL;
}

static mlc_value *function(const layer *l, int which, mlc_value *x) {
    const mlc_activation *a = l->r->activation[l->d][which];
    if (!x || isfinite(a->most))
        return x ? mlc_q_bounded_function(l->q, x, a->fn, NULL, a->slope, -a->most, a->most) : NULL;
    return mlc_q_at_least(l->q, x, 0); /* Relu */
}

static mlc_value *activate(const layer *l, int which, mlc_value *x) {
    if (x && isfinite(l->r->clip)) {
        x = mlc_q_at_least(l->q, x, -l->r->clip);
        x = x ? mlc_q_at_most(l->q, x, l->r->clip) : NULL;
    }
    return function(l, which, x);
}

/* x + P c for one gate. */
static mlc_value *with_peephole(const layer *l, mlc_value *x, int which, mlc_value *c) {
    if (!l->peephole || !x || !c)
        return x;
    const mlc_shape shape = {1, {l->r->hidden}};
    return sum(l, x, mlc_q_mul_real(l->q, c, l->peephole + which * l->r->hidden, &shape));
}

/* The cell's state grows by at most 1 a step. One scale for all steps lets them share tables. */
static mlc_value *at_common_scale(const layer *l, mlc_value *c) {
    enum { BITS = 30 };
    int exponent;
    frexp((double)l->r->steps + 1, &exponent);
    const double scale = ldexp(1, exponent - BITS);
    return c && c->scale < scale ? mlc_q_rescale(l->q, c, scale) : c;
}

static bool lstm(const layer *l, int64_t t, mlc_value **h, mlc_value **c) {
    mlc_value *x = from_input(l, t), *own = from_state(l, *h, 0, l->r->gates), *i, *o, *f;
    mlc_value *pre = sum(l, x, own), *pre_o = gates(l, pre, MLC_LSTM_O, 1);
    if (!l->peephole) { /* one table for the three */
        mlc_value *iof = activate(l, 0, gates(l, pre, MLC_LSTM_I, 3));
        const int64_t H = l->r->hidden;
        i = part(l, iof, 0, 3 * H, MLC_LSTM_I * H, H);
        o = part(l, iof, 0, 3 * H, MLC_LSTM_O * H, H);
        f = part(l, iof, 0, 3 * H, MLC_LSTM_F * H, H);
    } else {
        i = activate(l, 0, with_peephole(l, gates(l, pre, MLC_LSTM_I, 1), 0, *c));
        f = activate(l, 0, with_peephole(l, gates(l, pre, MLC_LSTM_F, 1), 2, *c));
        o = NULL;
    }
    if (l->r->coupled)
        f = i ? mlc_q_sub(l->q, mlc_q_scalar(l->q, 1), i) : NULL;
    mlc_value *g = activate(l, 1, gates(l, pre, MLC_LSTM_G, 1));
    mlc_value *kept = product(l, f, *c), *added = product(l, i, g);
    *c = at_common_scale(l, sum(l, kept, added));
    if (l->peephole)
        o = activate(l, 0, with_peephole(l, pre_o, 1, *c));
    *h = product(l, o, *c ? function(l, 2, *c) : NULL);
    return *h != NULL;
}

static bool gru(const layer *l, int64_t t, mlc_value **h, mlc_value **c) {
    (void)c;
    const int64_t H = l->r->hidden;
    mlc_value *x = from_input(l, t), *own = from_state(l, *h, 0, l->r->reset_after ? 3 : 2);
    mlc_value *zr = gates(l, x, 0, 2);
    zr = activate(l, 0, sum(l, zr, l->r->reset_after ? gates(l, own, 0, 2) : own));
    mlc_value *z = part(l, zr, 0, 2 * H, 0, H), *r = part(l, zr, 0, 2 * H, H, H);
    mlc_value *n = l->r->reset_after ? product(l, r, gates(l, own, MLC_GRU_N, 1))
                                     : from_state(l, product(l, r, *h), MLC_GRU_N, 1);
    n = activate(l, 1, sum(l, gates(l, x, MLC_GRU_N, 1), n));
    /* (1 - z) n + z h lies between n and h. */
    const double most = fmax(mlc_q_max_abs(*h), l->r->activation[l->d][1]->most);
    *h = sum(l, n, product(l, z, minus(l, *h, n)));
    if (*h && isfinite(most))
        *h = mlc_q_within(l->q, *h, most);
    return *h != NULL;
}

static bool rnn(const layer *l, int64_t t, mlc_value **h, mlc_value **c) {
    (void)c;
    mlc_value *x = from_input(l, t);
    *h = activate(l, 0, sum(l, x, from_state(l, *h, 0, 1)));
    return *h != NULL;
}

/* Biases of the input and of the state are one, but where GRU multiplies the latter by a gate. */
static const double *input_bias(mlc_quant *q, const mlc_recurrent *r, const double *b) {
    const int64_t all = r->gates * r->hidden;
    if (!b || (r->kind == MLC_GRU && r->reset_after))
        return b;
    double *both = MLC_NEW_ARRAY(q->arena, all, double);
    for (int64_t i = 0; i < all; i++)
        both[i] = b[i] + b[all + i];
    return both;
}

static bool begin(layer *l) {
    mlc_quant *q = l->q;
    const mlc_recurrent *r = l->r;
    const int64_t all = r->gates * r->hidden, rows = r->steps * r->batch;
    const double *b = numbers(l->node, MLC_RECURRENT_B, l->d, 2 * all);
    l->weights = numbers(l->node, MLC_RECURRENT_R, l->d, all * r->hidden);
    l->bias = b && r->kind == MLC_GRU && r->reset_after ? b + all : NULL;
    l->peephole = numbers(l->node, MLC_RECURRENT_P, l->d, 3 * r->hidden);
    int64_t *index = MLC_NEW_ARRAY(q->arena, rows * r->inputs, int64_t);
    for (int64_t i = 0; i < rows * r->inputs; i++) {
        const int64_t row = i / r->inputs;
        index[i] = mlc_recurrent_x(r, l->d, row / r->batch, row % r->batch) + i % r->inputs;
    }
    const mlc_shape x_shape = {2, {rows, r->inputs}}, shape = {2, {rows, all}};
    mlc_value *x = mlc_q_value(q, l->node->in[MLC_RECURRENT_X]);
    x = x ? mlc_q_gather(q, &x, 1, index, 0, &x_shape) : NULL;
    l->inputs =
        x ? mlc_q_linear(q, x, rows, r->inputs, all, numbers(l->node, MLC_RECURRENT_W, l->d, all * r->inputs),
                         input_bias(q, r, b), &shape)
          : NULL;
    return l->inputs != NULL;
}

/* The state that input k gives, or zeros. */
static mlc_value *initial(const layer *l, int k) {
    const mlc_recurrent *r = l->r;
    const mlc_shape shape = {2, {r->batch, r->hidden}};
    int64_t *index = MLC_NEW_ARRAY(l->q->arena, r->batch * r->hidden, int64_t);
    if (k >= l->node->n_in || !l->node->in[k])
        return mlc_q_constant(l->q, index, &shape);
    for (int64_t i = 0; i < r->batch * r->hidden; i++)
        index[i] = mlc_recurrent_state(r, l->d, i / r->hidden) + i % r->hidden;
    mlc_value *v = mlc_q_value(l->q, l->node->in[k]);
    return v ? mlc_q_gather(l->q, &v, 1, index, 0, &shape) : NULL;
}

static bool need_constants(mlc_quant *q, const mlc_node *node) {
    static const int weights[] = {MLC_RECURRENT_W, MLC_RECURRENT_R, MLC_RECURRENT_B, MLC_RECURRENT_P};
    for (int i = 0; i < 4; i++) {
        const int k = weights[i];
        if (k < node->n_in && node->in[k] && !node->in[k]->constant)
            return mlc_error_at(q->diag, node, "'%s' is not constant; weights must be",
                                mlc_escape(node->in[k]->name));
    }
    return true;
}

/* Binds output k to elements of `states`: state s of direction d, sequence b begins at at(r, d, s, b). */
static bool bind(mlc_quant *q, const mlc_node *node, const mlc_recurrent *r, int k, mlc_value **states,
                 int64_t per_direction) {
    if (k >= node->n_out || !node->out[k])
        return true;
    const mlc_shape *shape = &node->out[k]->shape;
    int64_t *index = MLC_NEW_ARRAY(q->arena, mlc_shape_elements(shape), int64_t), from = 0;
    for (int64_t d = 0; d < r->directions; d++)
        for (int64_t s = 0; s < per_direction; s++)
            for (int64_t b = 0; b < r->batch; b++) {
                const int64_t to = k == 0 ? mlc_recurrent_y(r, d, s, b) : mlc_recurrent_state(r, d, b);
                for (int64_t j = 0; j < r->hidden; j++)
                    index[to + j] = from++;
            }
    mlc_value *v = mlc_q_gather(q, states, (int)(r->directions * per_direction), index, 0, shape);
    return v && mlc_q_bind(q, node->out[k], v);
}

bool mlc_quantize_recurrent(mlc_quant *q, const mlc_node *node) {
    mlc_recurrent r;
    mlc_recurrent_of(NULL, node, &r);
    if (!need_constants(q, node))
        return false;
    mlc_value **all = MLC_NEW_ARRAY(q->arena, r.directions * r.steps, mlc_value *), *last[2], *cells[2];
    for (int64_t d = 0; d < r.directions; d++) {
        layer l = {.q = q, .node = node, .r = &r, .d = d};
        mlc_value *h = initial(&l, MLC_RECURRENT_H), *c = NULL;
        if (r.kind == MLC_LSTM)
            c = initial(&l, MLC_RECURRENT_C);
        if (!h || !begin(&l))
            return false;
        for (int64_t t = 0; t < r.steps; t++) {
            if (!(r.kind == MLC_LSTM ? lstm : r.kind == MLC_GRU ? gru : rnn)(&l, t, &h, &c))
                return false;
            all[d * r.steps + t] = h;
        }
        last[d] = h;
        cells[d] = c;
    }
    return bind(q, node, &r, 0, all, r.steps) && bind(q, node, &r, 1, last, 1) &&
           (r.kind != MLC_LSTM || bind(q, node, &r, 2, cells, 1));
}
