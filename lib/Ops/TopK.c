#include "Elementwise.h"
#include "Movement.h"
#include "Real.h"

#include <math.h>

/* k, from the attribute (version 1) or the constant input. */
static int64_t k_of(const mlc_node *node, const mlc_tensor *k) {
    return node->op->since == 1 ? mlc_attr_int(node, "k", 0) : k->i[0];
}

static bool infer(mlc_graph *g, mlc_node *node) {
    mlc_shape shape = node->in[0]->shape;
    int axis;
    int64_t k = mlc_attr_int(node, "k", 0);
    if (!mlc_infer_number(g, node, 0) ||
        !mlc_infer_axis(g, node, mlc_attr_int(node, "axis", -1), shape.rank, &axis) ||
        (node->op->since > 1 && !mlc_infer_int(g, node, 1, &k)))
        return false;
    if (k < 0 || k > shape.dim[axis])
        return mlc_error_at(g->diag, node, "k is %lld for an axis of %lld elements", (long long)k,
                            (long long)shape.dim[axis]);
    /* eval looks at every element k times. */
    if (k > 0 && mlc_shape_elements(&shape) > ((int64_t)1 << 30) / k)
        return mlc_error_at(g->diag, node, "the %lld largest of shape %s are too many to sort", (long long)k,
                            mlc_shape_str(g->arena, &shape));
    shape.dim[axis] = k;
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape) &&
           mlc_infer_set(g, node, 1, MLC_INT64, &shape);
}

static bool largest(const mlc_node *node) {
    return mlc_attr_int(node, "largest", 1) != 0;
}

/* Whether element a precedes element b: better, or as good and earlier. */
static bool precedes(const mlc_tensor *t, int64_t a, int64_t b, bool large) {
    if (!mlc_dtype_is_float(t->dtype)) {
        if (t->i[a] != t->i[b])
            return large ? t->i[a] > t->i[b] : t->i[a] < t->i[b];
        return a < b;
    }
    double x = t->f[a], y = t->f[b];
    if (isnan(x) || isnan(y))
        return isnan(x) == isnan(y) ? a < b : isnan(x) == large;
    if (x != y)
        return large ? x > y : x < y;
    return a < b;
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    int axis = mlc_axis(mlc_attr_int(node, "axis", -1), in[0]->shape.rank);
    mlc_axis_view from = mlc_view_axis(&in[0]->shape, axis), to = from;
    to.n = k_of(node, node->n_in > 1 ? in[1] : NULL);
    for (int64_t o = 0; o < from.outer; o++)
        for (int64_t i = 0; i < from.inner; i++) {
            int64_t last = -1;
            for (int64_t k = 0; k < to.n; k++) {
                int64_t best = -1;
                for (int64_t j = 0; j < from.n; j++) {
                    int64_t at = mlc_view_at(&from, o, j, i);
                    bool left = last < 0 || precedes(in[0], last, at, largest(node));
                    if (left && (best < 0 || precedes(in[0], at, best, largest(node))))
                        best = at;
                }
                last = best;
                if (mlc_has_out(node, 0))
                    mlc_move(out[0], mlc_view_at(&to, o, k, i), in[0], best);
                if (mlc_has_out(node, 1))
                    out[1]->i[mlc_view_at(&to, o, k, i)] = best / from.inner % from.n;
            }
        }
}

/* The parts, one per rank, interleaved along the axis. */
static bool bind_ranks(mlc_quant *q, const mlc_node *node, int k, mlc_value **part, const mlc_axis_view *to) {
    if (!mlc_has_out(node, k))
        return true;
    const mlc_shape *shape = &node->out[k]->shape;
    int64_t n = mlc_shape_elements(shape), *index = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++) {
        int64_t group = i / to->inner / to->n * to->inner + i % to->inner;
        index[i] = i / to->inner % to->n * to->outer * to->inner + group;
    }
    mlc_value *v = mlc_q_gather(q, part, (int)to->n, index, 0, shape);
    return v && mlc_q_bind(q, node->out[k], v);
}

/*
 * Takes the maximum and its position k times, each time replacing the element that
 * was taken by a number below all others. Sorted values move no more than their
 * elements: the error bound stays that of the input.
 */
static bool quantize(mlc_quant *q, const mlc_node *node) {
    const mlc_shape *shape = &node->in[0]->shape;
    mlc_axis_view from = mlc_view_axis(shape, mlc_axis(mlc_attr_int(node, "axis", -1), shape->rank)),
                  to = from;
    to.n = k_of(node, node->n_in > 1 ? node->in[1]->constant : NULL);
    int64_t groups = from.outer * from.inner, total = groups * from.n;
    if (to.n == 0)
        return mlc_error_at(q->diag, node, "k is 0: there is nothing to compute");

    int64_t *rows = MLC_NEW_ARRAY(q->arena, total, int64_t), *index = MLC_NEW_ARRAY(q->arena, total, int64_t);
    int64_t *position = MLC_NEW_ARRAY(q->arena, from.n, int64_t);
    for (int64_t i = 0; i < total; i++) {
        int64_t group = i / from.n;
        rows[i] = mlc_view_at(&from, group / from.inner, i % from.n, group % from.inner);
        index[i] = i;
        position[i % from.n] = i % from.n;
    }
    mlc_shape matrix = {.rank = 2, .dim = {groups, from.n}}, column = {.rank = 2, .dim = {groups, 1}};
    mlc_value *x = mlc_q_value(q, node->in[0]);
    x = x ? mlc_q_gather(q, &x, 1, rows, 0, &matrix) : NULL;
    if (x && !largest(node))
        x = mlc_q_neg(q, x);
    if (!x)
        return false;
    int64_t below = INT64_MAX;
    for (int64_t i = 0; i < total; i++)
        below = x->lo[i] < below ? x->lo[i] : below;
    if (__builtin_sub_overflow(below, 1, &below))
        return mlc_error_at(q->diag, node, "the elements of '%s' may be too small",
                            mlc_escape(node->in[0]->name));
    mlc_value *taken = mlc_q_scalar(q, below), *iota = mlc_q_constant(q, position, &(mlc_shape){1, {from.n}});
    taken->scale = x->scale;

    double *err = x->err;
    mlc_value **best = MLC_NEW_ARRAY(q->arena, to.n, mlc_value *),
              **at = MLC_NEW_ARRAY(q->arena, to.n, mlc_value *);
    for (int64_t k = 0; k < to.n; k++) {
        best[k] = mlc_q_reduce(q, MLC_REDUCE_MAX, x, index, from.n, &column);
        at[k] = mlc_q_reduce(q, MLC_REDUCE_ARGMAX, x, index, from.n, &column);
        if (!best[k] || !at[k])
            return false;
        if (k + 1 < to.n) {
            mlc_value *here = mlc_q_equal(q, iota, at[k]);
            x = here ? mlc_q_where(q, here, taken, x) : NULL;
            if (!x)
                return false;
            x->err = err;
        }
        if (!largest(node))
            best[k] = mlc_q_neg(q, best[k]);
    }
    return bind_ranks(q, node, 0, best, &to) && bind_ranks(q, node, 1, at, &to);
}

#define ROW(SINCE, UNTIL, N_IN, ...)                                                   \
    {                                                                                  \
        .domain = "",                                                                  \
        .name = "TopK",                                                                \
        .since = SINCE,                                                                \
        .until = UNTIL,                                                                \
        .doc = "The k largest elements along an axis, in order, and their positions.", \
        .limits = "k must be a constant",                                              \
        .min_in = N_IN,                                                                \
        .max_in = N_IN,                                                                \
        .min_out = 2,                                                                  \
        .max_out = 2,                                                                  \
        .attrs = (const mlc_attr_spec[]){{"axis", MLC_ATTR_INT}, __VA_ARGS__, {0}},    \
        .infer = infer,                                                                \
        .eval = eval,                                                                  \
        .quantize = quantize,                                                          \
    }

MLC_OPS(TopK, ROW(1, 9, 1, {"k", MLC_ATTR_INT}), ROW(10, 10, 2, {0}),
        ROW(11, 0, 2, {"largest", MLC_ATTR_INT}, {"sorted", MLC_ATTR_INT}));
