#include "Recurrent.h"

#include <math.h>

/* So that eval needs no memory of its own. Anything near it does not fit a kernel program. */
enum { MOST_HIDDEN = 1024 };

static double sigmoid(double x, const void *user) {
    (void)user;
    return 1 / (1 + exp(-x));
}

static double tangent(double x, const void *user) {
    (void)user;
    return tanh(x);
}

static double relu(double x, const void *user) {
    (void)user;
    return x > 0 ? x : 0;
}

static const mlc_activation activations[] = {
    {"Sigmoid", sigmoid, 0.25, 1}, {"Tanh", tangent, 1, 1}, {"Relu", relu, 1, INFINITY}};

static const mlc_activation *activation_named(const char *name) {
    for (int i = 0; i < 3; i++)
        if (!strcmp(name, activations[i].name))
            return &activations[i];
    return NULL;
}

static const mlc_value *input(const mlc_node *node, int k) {
    return k < node->n_in ? node->in[k] : NULL;
}

static mlc_recurrent_kind kind_of(const mlc_node *node) {
    return !strcmp(node->op->name, "LSTM") ? MLC_LSTM : !strcmp(node->op->name, "GRU") ? MLC_GRU : MLC_RNN;
}

static bool read_activations(mlc_graph *g, const mlc_node *node, mlc_recurrent *r) {
    static const char *const defaults[][3] = {
        {"Tanh", NULL, NULL}, {"Sigmoid", "Tanh", NULL}, {"Sigmoid", "Tanh", "Tanh"}};
    const int per = r->kind == MLC_LSTM ? 3 : r->kind == MLC_GRU ? 2 : 1;
    const mlc_attr *names = mlc_attr_find(node, "activations");
    if (names && names->n != per * r->directions)
        return mlc_error_at(g->diag, node, "%lld activations are given, expected %lld", (long long)names->n,
                            (long long)(per * r->directions));
    for (int d = 0; d < r->directions; d++)
        for (int k = 0; k < per; k++) {
            const char *name = names ? names->strings[d * per + k] : defaults[r->kind][k];
            r->activation[d][k] = activation_named(name);
            if (!r->activation[d][k])
                return mlc_error_at(g->diag, node,
                                    "activation '%s' is not supported; Sigmoid, Tanh and Relu are",
                                    mlc_escape(name));
        }
    return true;
}

/* Input k, where it is there, has this shape. */
static bool has_shape(mlc_graph *g, const mlc_node *node, int k, mlc_shape want) {
    const mlc_value *v = input(node, k);
    if (!g || !v || mlc_shape_equal(&v->shape, &want))
        return true;
    return mlc_error_at(g->diag, node, "input '%s' has shape %s, expected %s", mlc_escape(v->name),
                        mlc_shape_str(g->arena, &v->shape), mlc_shape_str(g->arena, &want));
}

/* All sequences must be as long as the input. */
static bool full_lengths(mlc_graph *g, const mlc_node *node, const mlc_recurrent *r) {
    const mlc_value *v = input(node, MLC_RECURRENT_LENGTHS);
    bool full = !v || (v->constant && mlc_dtype_is_integer(v->dtype));
    for (int64_t i = 0; v && full && i < mlc_shape_elements(&v->shape); i++)
        full = v->constant->i[i] == r->steps;
    return full ||
           mlc_error_at(g->diag, node, "sequence_lens '%s' must be constant, and the length of the input",
                        mlc_escape(v->name));
}

static mlc_shape state_shape(const mlc_recurrent *r) {
    return r->batch_first ? (mlc_shape){3, {r->batch, r->directions, r->hidden}}
                          : (mlc_shape){3, {r->directions, r->batch, r->hidden}};
}

bool mlc_recurrent_of(mlc_graph *g, const mlc_node *node, mlc_recurrent *r) {
    const mlc_shape *x = &node->in[MLC_RECURRENT_X]->shape, *w = &node->in[MLC_RECURRENT_W]->shape;
    const char *direction = mlc_attr_string(node, "direction", "forward");
    *r = (mlc_recurrent){.kind = kind_of(node), .clip = mlc_attr_float(node, "clip", INFINITY)};
    r->gates = r->kind == MLC_LSTM ? 4 : r->kind == MLC_GRU ? 3 : 1;
    r->directions = !strcmp(direction, "bidirectional") ? 2 : 1;
    r->backward = !strcmp(direction, "reverse");
    r->batch_first = mlc_attr_int(node, "layout", 0) != 0;
    r->reset_after = mlc_attr_int(node, "linear_before_reset", 0) != 0;
    r->coupled = mlc_attr_int(node, "input_forget", 0) != 0;
    if (r->directions == 1 && !r->backward && strcmp(direction, "forward") != 0)
        return mlc_error_at(g->diag, node, "direction '%s' is not known", mlc_escape(direction));
    if (x->rank != 3 || w->rank != 3)
        return mlc_error_at(g->diag, node, "X and W have shapes %s and %s; both need three dimensions",
                            mlc_shape_str(g->arena, x), mlc_shape_str(g->arena, w));
    r->steps = x->dim[r->batch_first];
    r->batch = x->dim[!r->batch_first];
    r->inputs = x->dim[2];
    r->hidden = mlc_attr_int(node, "hidden_size", w->dim[1] / r->gates);
    if (r->hidden < 1 || r->hidden > MOST_HIDDEN || r->steps < 1)
        return mlc_error_at(g->diag, node, "%lld hidden units and %lld steps are not supported",
                            (long long)r->hidden, (long long)r->steps);
    const int64_t d = r->directions, h = r->hidden, all = r->gates * h;
    return has_shape(g, node, MLC_RECURRENT_W, (mlc_shape){3, {d, all, r->inputs}}) &&
           has_shape(g, node, MLC_RECURRENT_R, (mlc_shape){3, {d, all, h}}) &&
           has_shape(g, node, MLC_RECURRENT_B, (mlc_shape){2, {d, 2 * all}}) &&
           has_shape(g, node, MLC_RECURRENT_H, state_shape(r)) &&
           has_shape(g, node, MLC_RECURRENT_C, state_shape(r)) &&
           has_shape(g, node, MLC_RECURRENT_P, (mlc_shape){2, {d, 3 * h}}) && read_activations(g, node, r) &&
           full_lengths(g, node, r);
}

static bool infer(mlc_graph *g, mlc_node *node) {
    mlc_recurrent r;
    for (int k = 0; k < node->n_in; k++)
        if (k != MLC_RECURRENT_LENGTHS && !mlc_need_float(g, node, k))
            return false;
    if (!mlc_recurrent_of(g, node, &r))
        return false;
    const mlc_dtype t = node->in[0]->dtype;
    const mlc_shape y = r.batch_first ? (mlc_shape){4, {r.batch, r.steps, r.directions, r.hidden}}
                                      : (mlc_shape){4, {r.steps, r.directions, r.batch, r.hidden}};
    const mlc_shape state = state_shape(&r);
    for (int k = 0; k < node->n_out; k++)
        if (!mlc_infer_set(g, node, k, t, k == 0 ? &y : &state))
            return false;
    return true;
}

static int64_t time_of(const mlc_recurrent *r, int64_t d, int64_t t) {
    return d == 1 || r->backward ? r->steps - 1 - t : t;
}

int64_t mlc_recurrent_x(const mlc_recurrent *r, int64_t d, int64_t t, int64_t b) {
    t = time_of(r, d, t);
    return (r->batch_first ? b * r->steps + t : t * r->batch + b) * r->inputs;
}

int64_t mlc_recurrent_y(const mlc_recurrent *r, int64_t d, int64_t t, int64_t b) {
    t = time_of(r, d, t);
    return (r->batch_first ? (b * r->steps + t) * r->directions + d
                           : (t * r->directions + d) * r->batch + b) *
           r->hidden;
}

int64_t mlc_recurrent_state(const mlc_recurrent *r, int64_t d, int64_t b) {
    return (r->batch_first ? b * r->directions + d : d * r->batch + b) * r->hidden;
}

/* One sequence in one direction at one step. */
typedef struct cell {
    const mlc_recurrent *r;
    const mlc_tensor *const *in;
    int n_in;
    int64_t d, x;
    const double *h;
} cell;

static const double *numbers(const cell *c, int k, int64_t per_direction) {
    return k < c->n_in && c->in[k] ? c->in[k]->f + c->d * per_direction : NULL;
}

static double from_input(const cell *c, int64_t gate, int64_t unit) {
    const mlc_recurrent *r = c->r;
    const int64_t row = gate * r->hidden + unit, all = r->gates * r->hidden;
    const double *w = numbers(c, MLC_RECURRENT_W, all * r->inputs), *b = numbers(c, MLC_RECURRENT_B, 2 * all);
    double sum = b ? b[row] : 0;
    for (int64_t i = 0; i < r->inputs; i++)
        sum += w[row * r->inputs + i] * c->in[MLC_RECURRENT_X]->f[c->x + i];
    return sum;
}

static double from_state(const cell *c, int64_t gate, int64_t unit, const double *h) {
    const mlc_recurrent *r = c->r;
    const int64_t row = gate * r->hidden + unit, all = r->gates * r->hidden;
    const double *w = numbers(c, MLC_RECURRENT_R, all * r->hidden), *b = numbers(c, MLC_RECURRENT_B, 2 * all);
    double sum = b ? b[all + row] : 0;
    for (int64_t i = 0; i < r->hidden; i++)
        sum += w[row * r->hidden + i] * h[i];
    return sum;
}

static double activate(const cell *c, int which, double x) {
    x = fmin(fmax(x, -c->r->clip), c->r->clip);
    return c->r->activation[c->d][which]->fn(x, NULL);
}

static double peephole(const cell *c, int which, int64_t unit, double state) {
    const double *p = numbers(c, MLC_RECURRENT_P, 3 * c->r->hidden);
    return p ? p[which * c->r->hidden + unit] * state : 0;
}

static void lstm(const cell *c, double *state, double *next) {
    for (int64_t j = 0; j < c->r->hidden; j++) {
        double pre[4];
        for (int k = 0; k < 4; k++)
            pre[k] = from_input(c, k, j) + from_state(c, k, j, c->h);
        const double i = activate(c, 0, pre[MLC_LSTM_I] + peephole(c, 0, j, state[j]));
        const double forget = activate(c, 0, pre[MLC_LSTM_F] + peephole(c, 2, j, state[j]));
        state[j] = (c->r->coupled ? 1 - i : forget) * state[j] + i * activate(c, 1, pre[MLC_LSTM_G]);
        const double o = activate(c, 0, pre[MLC_LSTM_O] + peephole(c, 1, j, state[j]));
        next[j] = o * c->r->activation[c->d][2]->fn(state[j], NULL);
    }
}

static void gru(const cell *c, double *next) {
    double reset[MOST_HIDDEN];
    for (int64_t j = 0; j < c->r->hidden; j++)
        reset[j] = activate(c, 0, from_input(c, MLC_GRU_R, j) + from_state(c, MLC_GRU_R, j, c->h));
    double before[MOST_HIDDEN];
    for (int64_t j = 0; j < c->r->hidden; j++)
        before[j] = reset[j] * c->h[j];
    for (int64_t j = 0; j < c->r->hidden; j++) {
        const double z = activate(c, 0, from_input(c, MLC_GRU_Z, j) + from_state(c, MLC_GRU_Z, j, c->h));
        const double own = c->r->reset_after ? reset[j] * from_state(c, MLC_GRU_N, j, c->h)
                                             : from_state(c, MLC_GRU_N, j, before);
        const double n = activate(c, 1, from_input(c, MLC_GRU_N, j) + own);
        next[j] = (1 - z) * n + z * c->h[j];
    }
}

static void rnn(const cell *c, double *next) {
    for (int64_t j = 0; j < c->r->hidden; j++)
        next[j] = activate(c, 0, from_input(c, 0, j) + from_state(c, 0, j, c->h));
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    mlc_recurrent r;
    mlc_recurrent_of(NULL, node, &r);
    double h[MOST_HIDDEN], state[MOST_HIDDEN], next[MOST_HIDDEN];
    const size_t size = (size_t)r.hidden * sizeof *h;
    for (int64_t d = 0; d < r.directions; d++)
        for (int64_t b = 0; b < r.batch; b++) {
            const int64_t at = mlc_recurrent_state(&r, d, b);
            memset(h, 0, size);
            memset(state, 0, size);
            if (input(node, MLC_RECURRENT_H))
                memcpy(h, in[MLC_RECURRENT_H]->f + at, size);
            if (input(node, MLC_RECURRENT_C))
                memcpy(state, in[MLC_RECURRENT_C]->f + at, size);
            for (int64_t t = 0; t < r.steps; t++) {
                const cell c = {&r, in, node->n_in, d, mlc_recurrent_x(&r, d, t, b), h};
                if (r.kind == MLC_LSTM)
                    lstm(&c, state, next);
                else if (r.kind == MLC_GRU)
                    gru(&c, next);
                else
                    rnn(&c, next);
                memcpy(h, next, size);
                if (out[0])
                    memcpy(out[0]->f + mlc_recurrent_y(&r, d, t, b), h, size);
            }
            if (node->n_out > 1 && out[1])
                memcpy(out[1]->f + at, h, size);
            if (node->n_out > 2 && out[2])
                memcpy(out[2]->f + at, state, size);
        }
}

#define ROW(NAME, INPUTS, OUTPUTS, DOC, ...)                                                        \
    {.domain = "",                                                                                  \
     .name = NAME,                                                                                  \
     .since = 7,                                                                                    \
     .doc = DOC,                                                                                    \
     .limits = "constant weights; activations Sigmoid, Tanh, Relu; sequences as long as the input", \
     .min_in = 3,                                                                                   \
     .max_in = INPUTS,                                                                              \
     .min_out = 0,                                                                                  \
     .max_out = OUTPUTS,                                                                            \
     .attrs = (const mlc_attr_spec[]){{"activation_alpha", MLC_ATTR_FLOATS},                        \
                                      {"activation_beta", MLC_ATTR_FLOATS},                         \
                                      {"activations", MLC_ATTR_STRINGS},                            \
                                      {"clip", MLC_ATTR_FLOAT},                                     \
                                      {"direction", MLC_ATTR_STRING},                               \
                                      {"hidden_size", MLC_ATTR_INT},                                \
                                      {"layout", MLC_ATTR_INT},                                     \
                                      __VA_ARGS__,                                                  \
                                      {0}},                                                         \
     .infer = infer,                                                                                \
     .eval = eval,                                                                                  \
     .quantize = mlc_quantize_recurrent}

MLC_OPS(Recurrent, ROW("LSTM", 8, 3, "Long short-term memory, unrolled", {"input_forget", MLC_ATTR_INT}),
        ROW("GRU", 6, 2, "Gated recurrent unit, unrolled", {"linear_before_reset", MLC_ATTR_INT}),
        ROW("RNN", 6, 2, "Recurrent layer with one gate, unrolled", {0}));
