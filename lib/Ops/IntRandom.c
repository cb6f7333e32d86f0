/* Random instances of the integer ops for the differential tests. */
#include "Int.h"
#include "IntPacking.h"

bool mlc_int_chance(mlc_rng *rng, int n) {
    return mlc_rng_range(rng, 1, n) == 1;
}

mlc_shape mlc_int_vector(int64_t n) {
    return (mlc_shape){.rank = 1, .dim = {n}};
}

mlc_shape mlc_int_random_shape(mlc_rng *rng, int64_t max) {
    mlc_shape s = {.rank = (int)mlc_rng_range(rng, 0, 3)};
    for (int d = 0; d < s.rank; d++) {
        s.dim[d] = mlc_rng_range(rng, 1, max < 5 ? max : 5);
        max /= s.dim[d];
    }
    return s;
}

mlc_shape mlc_int_random_operand_shape(mlc_rng *rng, const mlc_shape *shape) {
    if (!mlc_int_chance(rng, 3))
        return *shape;
    int dropped = (int)mlc_rng_range(rng, 0, shape->rank);
    mlc_shape s = {.rank = shape->rank - dropped};
    for (int d = 0; d < s.rank; d++)
        s.dim[d] = mlc_int_chance(rng, 2) ? 1 : shape->dim[d + dropped];
    return s;
}

int64_t mlc_int_random_number(mlc_rng *rng) {
    int bits = (int)mlc_rng_range(rng, 0, 62);
    int64_t power = (int64_t)1 << bits;
    switch (mlc_rng_range(rng, 0, 9)) {
    case 0:
        return 0;
    case 1:
        return 1;
    case 2:
        return -1;
    case 3:
        return power;
    case 4:
        return -power;
    case 5:
        return mlc_int_chance(rng, 2) ? INT64_MAX : INT64_MIN;
    case 6:
        return mlc_rng_range(rng, -9, 9);
    default:
        return mlc_rng_range(rng, -power, power);
    }
}

static void random_interval(mlc_rng *rng, int64_t *lo, int64_t *hi) {
    int64_t a = mlc_int_random_number(rng), b = mlc_int_random_number(rng);
    switch (mlc_rng_range(rng, 0, 11)) {
    case 0:
    case 1:
        a = mlc_rng_range(rng, -3, 3), b = a + mlc_rng_range(rng, 0, 3);
        break;
    case 2:
        a = 0, b = 255;
        break;
    case 3:
        a = -128, b = 127;
        break;
    case 4:
        a = mlc_rng_range(rng, INT16_MIN, INT16_MAX), b = mlc_rng_range(rng, INT16_MIN, INT16_MAX);
        break;
    case 5:
        a = INT32_MIN, b = INT32_MAX;
        break;
    case 6:
        a = INT64_MIN, b = INT64_MAX;
        break;
    case 7:
        b = a;
        break;
    case 8:
        a = mlc_rng_range(rng, -1000, -1), b = mlc_rng_range(rng, -1000, -1);
        break;
    case 9:
        a = mlc_rng_range(rng, -1000, -1), b = mlc_rng_range(rng, 1, 1000);
        break;
    default:
        break;
    }
    *lo = a < b ? a : b;
    *hi = a < b ? b : a;
}

static int64_t clamp(int64_t x, int64_t lo, int64_t hi) {
    return x < lo ? lo : x > hi ? hi : x;
}

mlc_value *mlc_int_random_input(mlc_graph *g, mlc_rng *rng, const mlc_shape *shape, int64_t lo, int64_t hi) {
    mlc_value *v = mlc_graph_value(g, NULL);
    int64_t n = mlc_shape_elements(shape);
    v->dtype = MLC_INT64;
    v->shape = *shape;
    v->shaped = true;
    v->scale = 1;
    v->lo = MLC_NEW_ARRAY(g->arena, n, int64_t);
    v->hi = MLC_NEW_ARRAY(g->arena, n, int64_t);
    bool uniform = mlc_int_chance(rng, 2);
    int64_t a = 0, b = 0;
    for (int64_t i = 0; i < n; i++) {
        if (i == 0 || !uniform)
            random_interval(rng, &a, &b);
        v->lo[i] = clamp(a, lo, hi);
        v->hi[i] = clamp(b, lo, hi);
    }
    mlc_graph_add_input(g, v);
    return v;
}

mlc_value *mlc_int_new_constant(mlc_graph *g, const int64_t *x, const mlc_shape *shape) {
    mlc_tensor *t = mlc_tensor_create(g->arena, MLC_INT64, shape);
    int64_t n = mlc_shape_elements(shape);
    for (int64_t i = 0; i < n; i++)
        t->i[i] = x[i];
    mlc_value *v = mlc_graph_constant(g, NULL, t);
    v->scale = 1;
    return v;
}

mlc_value *mlc_int_random_constant(mlc_graph *g, mlc_rng *rng, const mlc_shape *shape) {
    static const int widths[] = {1, 3, 7, 7, 15, 31, 62};
    int64_t limit = (int64_t)1 << widths[mlc_rng_range(rng, 0, 6)];
    int64_t n = mlc_shape_elements(shape);
    int64_t *x = MLC_NEW_ARRAY(g->arena, n, int64_t);
    bool extremes = mlc_int_chance(rng, 4);
    for (int64_t i = 0; i < n; i++) {
        int64_t y = mlc_int_random_number(rng);
        if (!extremes)
            y = mlc_int_chance(rng, 3) ? clamp(y, -limit, limit) : mlc_rng_range(rng, -limit, limit);
        x[i] = y;
    }
    return mlc_int_new_constant(g, x, shape);
}

mlc_node *mlc_int_random_node(mlc_graph *g, const char *op, mlc_value *const *in, int n_in) {
    mlc_value *out = mlc_graph_value(g, NULL);
    out->dtype = MLC_INT64;
    out->scale = 1;
    return mlc_graph_insert(g, NULL, mlc_iop(op), NULL, in, n_in, &out, 1);
}

static uint64_t absolute(int64_t x) {
    return x < 0 ? 0 - (uint64_t)x : (uint64_t)x;
}

/* The larger end of element i. */
static uint64_t element_magnitude(const mlc_value *v, int64_t i) {
    if (v->constant)
        return absolute(v->constant->i[i]);
    uint64_t lo = absolute(v->lo[i]), hi = absolute(v->hi[i]);
    return lo > hi ? lo : hi;
}

static uint64_t magnitude(const mlc_value *v) {
    uint64_t most = 0;
    for (int64_t i = 0, n = mlc_int_elements(v); i < n; i++) {
        uint64_t m = element_magnitude(v, i);
        if (m > most)
            most = m;
    }
    return most;
}

/* Halves the elements above half the largest; small ones stay what they are. */
static void halve(const mlc_value *v) {
    uint64_t limit = magnitude(v) / 2;
    for (int64_t i = 0, n = mlc_int_elements(v); i < n; i++) {
        if (element_magnitude(v, i) <= limit)
            continue;
        if (v->constant) { /* lo and hi are the same array */
            v->constant->i[i] /= 2;
        } else {
            v->lo[i] /= 2;
            v->hi[i] /= 2;
        }
    }
}

static void discard(void *user, mlc_severity severity, const char *line) {
    (void)user, (void)severity, (void)line;
}

static bool valid(mlc_graph *g, mlc_node *node) {
    mlc_diag quiet = {.sink = discard}, *diag = g->diag;
    g->diag = &quiet;
    bool ok = node->op->check(g, node);
    if (ok) {
        mlc_value *out = node->out[0];
        if (!out->lo) {
            out->lo = MLC_NEW_ARRAY(g->arena, mlc_int_elements(out), int64_t);
            out->hi = MLC_NEW_ARRAY(g->arena, mlc_int_elements(out), int64_t);
        }
        ok = node->op->interval(g, node);
    }
    g->diag = diag;
    return ok;
}

mlc_node *mlc_int_settle(mlc_graph *g, mlc_node *node, unsigned shrinkable) {
    while (!valid(g, node)) {
        int largest = -1;
        uint64_t most = 0;
        for (int k = 0; k < node->n_in; k++) {
            uint64_t m = shrinkable >> k & 1 ? magnitude(node->in[k]) : 0;
            if (m > most)
                most = m, largest = k;
        }
        if (largest < 0)
            break; /* the caller's mistake: the verifier will say so */
        halve(node->in[largest]);
    }
    return node;
}

static int64_t *random_order(mlc_graph *g, mlc_rng *rng, int64_t n, int64_t group) {
    int64_t *order = MLC_NEW_ARRAY(g->arena, n, int64_t);
    bool shuffled = mlc_int_chance(rng, 2);
    for (int64_t i = 0; i < n; i++) { /* inside each group */
        int64_t other = shuffled ? mlc_rng_range(rng, i / group * group, i) : i;
        order[i] = order[other];
        order[other] = i;
    }
    return order;
}

/* Lanes for a part of the sum, in words of random sizes. False where that takes no chunks. */
static bool random_chunks(mlc_graph *g, mlc_node *node, mlc_rng *rng, const int64_t *order) {
    int64_t n = node->in[1]->shape.dim[0], lanes = 2 * mlc_rng_range(rng, 1, MLC_INT_LANES / 2), n_words = 0;
    int64_t *starts = MLC_NEW_ARRAY(g->arena, node->in[1]->shape.dim[1], int64_t);
    int64_t n_chunks = n < lanes ? 0 : mlc_int_cut(g->arena, node, (int)(64 / lanes), starts);
    if (n_chunks < 2)
        return false;
    int64_t *words = MLC_NEW_ARRAY(g->arena, n, int64_t);
    for (int64_t at = 0; at < n; at += words[n_words++]) {
        int64_t most = n - at < lanes ? n - at : lanes;
        words[n_words] = at == 0 || !mlc_int_chance(rng, 3) ? most : mlc_rng_range(rng, 1, most);
    }
    mlc_attr_set_ints(g, node, "order", order, n);
    mlc_attr_set_ints(g, node, "words", words, n_words);
    mlc_attr_set_ints(g, node, "chunks", starts, n_chunks - 1);
    return true;
}

mlc_node *mlc_int_random_packing(mlc_graph *g, mlc_node *node, mlc_rng *rng) {
    int64_t n = node->in[1]->shape.dim[0], group = n / mlc_attr_int(node, "group", 1), n_words = 0;
    if (mlc_int_chance(rng, 3))
        return node;
    int64_t *order = random_order(g, rng, n, group), *words = MLC_NEW_ARRAY(g->arena, n, int64_t);
    if (!mlc_attr_find(node, "align") && mlc_int_chance(rng, 2)) {
        int64_t *align = MLC_NEW_ARRAY(g->arena, n, int64_t);
        for (int64_t i = 0; i < n; i++)
            align[i] = mlc_rng_range(rng, 0, 12);
        mlc_attr_set_ints(g, node, "align", align, n);
    }
    if (node->op == mlc_iop("Linear") && mlc_int_chance(rng, 2) && random_chunks(g, node, rng, order))
        return node;
    int *width = MLC_NEW_ARRAY(g->arena, n, int), used = 0, lane = 0;
    mlc_int_channel_widths(node, width);
    if (mlc_attr_find(node, "pool") || mlc_int_chance(rng, 4)) {
        for (int64_t i = 0; i < n; i++)
            lane = width[i] >= lane ? width[i] + 1 : lane;
        if (lane > 64) { /* no bit to spare */
            mlc_attr_set_ints(g, node, "align", NULL, 0);
            return node;
        }
        for (int64_t i = 0; i < n; i++)
            width[i] = lane;
        mlc_attr_set_int(g, node, "lane", lane);
    }
    for (int64_t i = 0; i < n; i++) {
        int bits = width[order[i]];
        bool fits = i % group && used + bits <= 64 && words[n_words - 1] < MLC_INT_LANES;
        if (!fits || mlc_int_chance(rng, 9)) {
            n_words++;
            used = 0;
        }
        words[n_words - 1]++;
        used += bits;
    }
    mlc_attr_set_ints(g, node, "order", order, n);
    mlc_attr_set_ints(g, node, "words", words, n_words);
    return node;
}

mlc_node *mlc_int_generate_broadcast(mlc_graph *g, mlc_rng *rng, const char *op, int n_in) {
    mlc_value *in[3];
    mlc_shape shape = mlc_int_random_shape(rng, 16);
    int constant = mlc_int_chance(rng, 3) ? (int)mlc_rng_range(rng, 0, n_in - 1) : -1;
    for (int k = 0; k < n_in; k++) {
        mlc_shape s = mlc_int_random_operand_shape(rng, &shape);
        in[k] = k == constant ? mlc_int_random_constant(g, rng, &s)
                              : mlc_int_random_input(g, rng, &s, INT64_MIN, INT64_MAX);
    }
    return mlc_int_settle(g, mlc_int_random_node(g, op, in, n_in), (1u << n_in) - 1);
}

mlc_node *mlc_int_generate_unary(mlc_graph *g, mlc_rng *rng, const char *op, int64_t lo, int64_t hi) {
    mlc_shape shape = mlc_int_random_shape(rng, 16);
    mlc_value *x = mlc_int_random_input(g, rng, &shape, lo, hi);
    return mlc_int_settle(g, mlc_int_random_node(g, op, &x, 1), 1);
}
