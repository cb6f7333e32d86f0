#include "Grid.h"
#include "Real.h"

#include <math.h>

/*
 * Softmax, LogSoftmax, Hardmax and QLinearSoftmax. From opset 13 on they work
 * along one axis; before, the dimensions from the axis on are one row.
 */
static bool is_flat(const mlc_node *node) {
    return (*node->op->domain ? mlc_attr_int(node, "opset", 13) : node->opset) < 13;
}

static mlc_axis_view rows_of(const mlc_node *node, const mlc_shape *x) {
    const bool flat = is_flat(node);
    if (x->rank == 0)
        return (mlc_axis_view){1, 1, 1};
    const int axis = mlc_axis(mlc_attr_int(node, "axis", flat ? 1 : -1), x->rank);
    mlc_axis_view v = mlc_view_axis(x, axis);
    if (flat) {
        v.n *= v.inner;
        v.inner = 1;
    }
    return v;
}

static bool check_axis(mlc_graph *g, mlc_node *node) {
    const mlc_shape *x = &node->in[0]->shape;
    int axis;
    return x->rank == 0 ||
           mlc_infer_axis(g, node, mlc_attr_int(node, "axis", is_flat(node) ? 1 : -1), x->rank, &axis);
}

static bool infer(mlc_graph *g, mlc_node *node) {
    return check_axis(g, node) && mlc_infer_real(g, node);
}

static double maximum(const double *x, const mlc_axis_view *v, int64_t o, int64_t i) {
    double most = -INFINITY;
    for (int64_t j = 0; j < v->n; j++)
        most = fmax(most, x[mlc_view_at(v, o, j, i)]);
    return most;
}

/* The sum of exp(x - most). */
static double total(const double *x, const mlc_axis_view *v, int64_t o, int64_t i, double most) {
    double sum = 0;
    for (int64_t j = 0; j < v->n; j++)
        sum += exp(x[mlc_view_at(v, o, j, i)] - most);
    return sum;
}

static void eval(const mlc_node *node, const double *x, double *y, bool logarithm) {
    const mlc_axis_view v = rows_of(node, &node->in[0]->shape);
    for (int64_t o = 0; o < v.outer; o++)
        for (int64_t i = 0; i < v.inner; i++) {
            const double most = maximum(x, &v, o, i), sum = total(x, &v, o, i, most);
            for (int64_t j = 0; j < v.n; j++) {
                const int64_t at = mlc_view_at(&v, o, j, i);
                y[at] = logarithm ? x[at] - most - log(sum) : exp(x[at] - most) / sum;
            }
        }
}

static void eval_softmax(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    eval(node, in[0]->f, out[0]->f, false);
}

static void eval_log_softmax(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    eval(node, in[0]->f, out[0]->f, true);
}

static void eval_hardmax(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const mlc_axis_view v = rows_of(node, &node->in[0]->shape);
    for (int64_t o = 0; o < v.outer; o++)
        for (int64_t i = 0; i < v.inner; i++) {
            int64_t best = 0;
            for (int64_t j = 1; j < v.n; j++)
                if (in[0]->f[mlc_view_at(&v, o, j, i)] > in[0]->f[mlc_view_at(&v, o, best, i)])
                    best = j;
            if (v.n > 0)
                out[0]->f[mlc_view_at(&v, o, best, i)] = 1;
        }
}

/* x seen as [outer,n,inner], with reductions along n to [outer,1,inner]. */
typedef struct rows {
    mlc_axis_view view;
    mlc_shape shape, reduced;
    int64_t *index;
    mlc_value *x;
    double *err; /* of each element of x, once this is taken for exact: the largest error in its row */
} rows;

/*
 * An error e of all x moves results by e/2 at most, and their logarithms by 2e. Bounds made of
 * those of the parts do not see that these move together: the parts are computed from
 * x as if it were exact, and this is added in the end.
 */
static void carry_error(mlc_quant *q, const rows *r, mlc_value *y, double times) {
    const int64_t n = mlc_shape_elements(&y->shape);
    double *err = MLC_NEW_ARRAY(q->arena, n + 1, double);
    for (int64_t i = 0; i < n; i++)
        err[i] = mlc_q_err(y, i) + times * r->err[i];
    y->err = err;
}

static bool rows_begin(mlc_quant *q, mlc_axis_view v, mlc_value *x, rows *r) {
    r->view = v;
    r->shape = (mlc_shape){3, {v.outer, v.n, v.inner}};
    r->reduced = (mlc_shape){3, {v.outer, 1, v.inner}};
    r->index = MLC_NEW_ARRAY(q->arena, v.outer * v.n * v.inner, int64_t);
    int64_t at = 0;
    for (int64_t o = 0; o < v.outer; o++)
        for (int64_t i = 0; i < v.inner; i++)
            for (int64_t j = 0; j < v.n; j++)
                r->index[at++] = mlc_view_at(&v, o, j, i);
    r->x = x ? mlc_q_reshape(q, x, &r->shape) : NULL;
    return r->x != NULL;
}

static mlc_value *reduce(mlc_quant *q, const rows *r, mlc_reduce kind, mlc_value *v) {
    return v ? mlc_q_reduce(q, kind, v, r->index, r->view.n, &r->reduced) : NULL;
}

static double exponential(double x, const void *user) {
    (void)user;
    return exp(x);
}

static double logarithm_of(double x, const void *user) {
    (void)user;
    return log(x);
}

static void take_for_exact(mlc_quant *q, rows *r) {
    const int64_t n = r->view.n, rows_n = r->view.outer * r->view.inner;
    r->err = MLC_NEW_ARRAY(q->arena, rows_n * n + 1, double);
    for (int64_t row = 0; row < rows_n; row++) {
        double most = 0;
        for (int64_t j = 0; j < n; j++)
            most = fmax(most, mlc_q_err(r->x, r->index[row * n + j]));
        for (int64_t j = 0; j < n; j++)
            r->err[r->index[row * n + j]] = most;
    }
    r->x->err = NULL;
}

/* x - max, and the sum of its exponentials: at least 1, because one of them is exp(0). */
static bool shifted(mlc_quant *q, rows *r, mlc_value **difference, mlc_value **powers, mlc_value **sum) {
    take_for_exact(q, r);
    mlc_value *most = reduce(q, r, MLC_REDUCE_MAX, r->x);
    *difference = most ? mlc_q_sub(q, r->x, most) : NULL;
    *difference = *difference ? mlc_q_at_most(q, *difference, 0) : NULL;
    *powers = *difference ? mlc_q_bounded_function(q, *difference, exponential, NULL, 1, 0, 1) : NULL;
    *sum = reduce(q, r, MLC_REDUCE_SUM, *powers);
    *sum = *sum ? mlc_q_clamp(q, *sum, 1, (double)r->view.n) : NULL;
    return *sum != NULL;
}

mlc_value *mlc_q_softmax(mlc_quant *q, mlc_value *x, mlc_axis_view view) {
    rows r;
    mlc_value *difference, *powers, *sum;
    if (!rows_begin(q, view, x, &r) || !shifted(q, &r, &difference, &powers, &sum))
        return NULL;
    mlc_value *y = mlc_q_div(q, powers, sum);
    if (!y)
        return NULL;
    carry_error(q, &r, y, 0.5);
    mlc_q_bounded(q, y, 0, 1);
    return mlc_q_reshape(q, y, &x->shape);
}

static mlc_value *softmax(mlc_quant *q, const mlc_node *node, mlc_value *x) {
    return mlc_q_softmax(q, x, rows_of(node, &node->in[0]->shape));
}

static bool quantize_softmax(mlc_quant *q, const mlc_node *node) {
    return mlc_q_result(q, node, softmax(q, node, mlc_q_value(q, node->in[0])));
}

/* com.microsoft QLinearSoftmax: inputs x, its scale and zero point, the result's. */
enum { X, X_SCALE, X_ZERO, Y_SCALE, Y_ZERO };

static bool infer_quantized(mlc_graph *g, mlc_node *node) {
    const mlc_value *x = node->in[X];
    if (x->dtype != MLC_INT8 && x->dtype != MLC_UINT8)
        return mlc_error_at(g->diag, node, "input '%s' is of type %s, int8 or uint8 is needed",
                            mlc_escape(x->name), mlc_dtype_name(x->dtype));
    return check_axis(g, node) && mlc_grid_check(g, node, X_SCALE, X_ZERO, 0) &&
           mlc_grid_check(g, node, Y_SCALE, Y_ZERO, 0) && mlc_infer_same(g, node);
}

/* The zero point cancels out. */
static void eval_quantized(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const mlc_axis_view v = rows_of(node, &node->in[X]->shape);
    const double scale = in[X_SCALE]->f[0];
    for (int64_t o = 0; o < v.outer; o++)
        for (int64_t i = 0; i < v.inner; i++) {
            int64_t most = INT64_MIN;
            double sum = 0;
            for (int64_t j = 0; j < v.n; j++)
                most = in[X]->i[mlc_view_at(&v, o, j, i)] > most ? in[X]->i[mlc_view_at(&v, o, j, i)] : most;
            for (int64_t j = 0; j < v.n; j++)
                sum += exp((double)(in[X]->i[mlc_view_at(&v, o, j, i)] - most) * scale);
            for (int64_t j = 0; j < v.n; j++) {
                const int64_t at = mlc_view_at(&v, o, j, i);
                const double y = mlc_f32(exp((double)(in[X]->i[at] - most) * scale) / sum);
                out[0]->i[at] =
                    mlc_to_grid(out[0]->dtype, mlc_f32(y / in[Y_SCALE]->f[0]), mlc_grid_zero(in[Y_ZERO], 0));
            }
        }
}

static bool quantize_quantized(mlc_quant *q, const mlc_node *node) {
    mlc_grid from, to;
    if (!mlc_q_grid(q, node, X_SCALE, X_ZERO, &node->in[X]->shape, 0, 0, &from) ||
        !mlc_q_grid(q, node, Y_SCALE, Y_ZERO, &node->in[X]->shape, 0, 0, &to))
        return false;
    mlc_value *y = softmax(q, node, mlc_q_from_grid(q, mlc_q_value(q, node->in[X]), &from));
    return mlc_q_result(q, node, mlc_q_to_grid(q, y, &to, node->out[0]->dtype));
}

static bool quantize_log_softmax(mlc_quant *q, const mlc_node *node) {
    rows r;
    mlc_value *difference, *powers, *sum;
    if (!rows_begin(q, rows_of(node, &node->in[0]->shape), mlc_q_value(q, node->in[0]), &r) ||
        !shifted(q, &r, &difference, &powers, &sum))
        return false;
    mlc_value *log_sum = mlc_q_function(q, sum, logarithm_of, NULL, 1.01);
    mlc_value *y = log_sum ? mlc_q_sub(q, difference, log_sum) : NULL;
    if (y)
        carry_error(q, &r, y, 2);
    return mlc_q_result(q, node, y);
}

static bool quantize_hardmax(mlc_quant *q, const mlc_node *node) {
    rows r;
    if (!rows_begin(q, rows_of(node, &node->in[0]->shape), mlc_q_value(q, node->in[0]), &r))
        return false;
    mlc_value *best = reduce(q, &r, MLC_REDUCE_ARGMAX, r.x);
    int64_t *numbers = MLC_NEW_ARRAY(q->arena, r.view.n, int64_t);
    for (int64_t j = 0; j < r.view.n; j++)
        numbers[j] = j;
    const mlc_shape column = {3, {1, r.view.n, 1}};
    mlc_value *position = mlc_q_constant(q, numbers, &column);
    return mlc_q_result(q, node, best ? mlc_q_equal(q, position, best) : NULL);
}

#define ROW(NAME, FUNCTION, SINCE, UNTIL, DOC)                      \
    {.domain = "",                                                  \
     .name = NAME,                                                  \
     .since = SINCE,                                                \
     .until = UNTIL,                                                \
     .doc = DOC,                                                    \
     .min_in = 1,                                                   \
     .max_in = 1,                                                   \
     .min_out = 1,                                                  \
     .max_out = 1,                                                  \
     .attrs = (const mlc_attr_spec[]){{"axis", MLC_ATTR_INT}, {0}}, \
     .infer = infer,                                                \
     .eval = eval_##FUNCTION,                                       \
     .quantize = quantize_##FUNCTION}
#define VERSIONS(NAME, FUNCTION, DOC)                                    \
    ROW(NAME, FUNCTION, 1, 12, DOC " over all dimensions from axis on"), \
        ROW(NAME, FUNCTION, 13, 0, DOC " along an axis")

MLC_OPS(Softmax, VERSIONS("Softmax", softmax, "exp(x) / sum of exp(x)"),
        VERSIONS("LogSoftmax", log_softmax, "Logarithm of Softmax"),
        VERSIONS("Hardmax", hardmax, "1 for the first largest element, 0 for the others,"),
        {.domain = "com.microsoft",
         .name = "QLinearSoftmax",
         .since = 1,
         .doc = "Softmax of a quantized tensor, quantized",
         .limits = "constant scales and zero points",
         .min_in = 5,
         .max_in = 5,
         .min_out = 1,
         .max_out = 1,
         .attrs = (const mlc_attr_spec[]){{"axis", MLC_ATTR_INT}, {"opset", MLC_ATTR_INT}, {0}},
         .infer = infer_quantized,
         .eval = eval_quantized,
         .quantize = quantize_quantized});
