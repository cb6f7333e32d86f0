#include "Elementwise.h"
#include "Movement.h"
#include "Real.h"
#include "Reduction.h"

#include <math.h>

typedef enum kind { SUM, MEAN, MAX, MIN, PROD, SUM_SQUARE, L1, L2, LOG_SUM, LOG_SUM_EXP } kind;

static kind kind_of(const mlc_node *node) {
    static const char *const names[] = {"Sum",       "Mean", "Max", "Min",    "Prod",
                                        "SumSquare", "L1",   "L2",  "LogSum", "LogSumExp"};
    int k = 0;
    while (strcmp(node->op->name + strlen("Reduce"), names[k]))
        k++;
    return (kind)k;
}

/* Replaces axes that are not given, or empty, by all; or by none where the node says so. */
static int default_axes(const mlc_node *node, int rank, int axes[MLC_MAX_RANK], int n) {
    if (n > 0 || mlc_attr_int(node, "noop_with_empty_axes", 0))
        return n > 0 ? n : 0;
    for (int d = 0; d < rank; d++)
        axes[d] = d;
    return rank;
}

/* Axes are input 1 from version 13 (ReduceSum) or 18 (all others) on. */
static int axes_input(const mlc_node *node) {
    return node->op->max_in == 2 ? 1 : -1;
}

static bool infer(mlc_graph *g, mlc_node *node) {
    const mlc_shape *from = &node->in[0]->shape;
    int axes[MLC_MAX_RANK], n;
    if (!mlc_infer_number(g, node, 0) || !mlc_infer_axes(g, node, axes_input(node), from->rank, axes, &n))
        return false;
    n = default_axes(node, from->rank, axes, n);
    mlc_shape shape = mlc_reduced_shape(from, axes, n, mlc_attr_int(node, "keepdims", 1) != 0);
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

mlc_groups mlc_reduce_groups(const mlc_node *node, const mlc_shape *from) {
    int axes[MLC_MAX_RANK];
    int n = mlc_node_axes(node, axes_input(node), from->rank, axes);
    return mlc_group(from, axes, default_axes(node, from->rank, axes, n));
}

static double max_real(double a, double b) {
    return isnan(a) || a > b ? a : b;
}
static double min_real(double a, double b) {
    return isnan(a) || a < b ? a : b;
}

static double reduce_real(kind k, const mlc_tensor *t, const mlc_groups *r, int64_t start) {
    double acc = k == PROD ? 1 : k == MAX || k == LOG_SUM_EXP ? -INFINITY : k == MIN ? INFINITY : 0;
    for (int64_t j = 0; j < r->inner; j++) {
        double x = mlc_tensor_real(t, start + mlc_group_offset(r, j));
        if (k == MAX || k == LOG_SUM_EXP)
            acc = max_real(x, acc);
        else if (k == MIN)
            acc = min_real(x, acc);
        else if (k == PROD)
            acc *= x;
        else if (k == SUM_SQUARE || k == L2)
            acc += x * x;
        else
            acc += k == L1 ? fabs(x) : x;
    }
    switch (k) {
    case MEAN:
        return acc / (double)r->inner;
    case L2:
        return sqrt(acc);
    case LOG_SUM:
        return log(acc);
    case LOG_SUM_EXP: {
        double sum = 0;
        for (int64_t j = 0; isfinite(acc) && j < r->inner; j++)
            sum += exp(mlc_tensor_real(t, start + mlc_group_offset(r, j)) - acc);
        return isfinite(acc) ? acc + log(sum) : acc;
    }
    default:
        return acc;
    }
}

static int64_t reduce_int(kind k, const mlc_tensor *t, const mlc_groups *r, int64_t start) {
    int64_t lo, hi;
    mlc_dtype_range(t->dtype, &lo, &hi);
    int64_t acc = k == PROD ? 1 : k == MAX ? lo : k == MIN ? hi : 0;
    for (int64_t j = 0; j < r->inner; j++) {
        int64_t x = t->i[start + mlc_group_offset(r, j)];
        if (k == MAX)
            acc = x > acc ? x : acc;
        else if (k == MIN)
            acc = x < acc ? x : acc;
        else if (k == PROD)
            acc = mlc_wrap_mul(acc, x);
        else if (k == L1)
            acc = mlc_wrap_add(acc, x < 0 ? mlc_wrap_sub(0, x) : x);
        else
            acc = mlc_wrap_add(acc, k == SUM_SQUARE ? mlc_wrap_mul(x, x) : x);
    }
    return mlc_wrap(t->dtype, acc);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    kind k = kind_of(node);
    mlc_groups r = mlc_reduce_groups(node, &in[0]->shape);
    bool is_float = mlc_dtype_is_float(in[0]->dtype);
    for (int64_t o = 0; o < r.outer; o++) {
        int64_t start = mlc_group_start(&r, o);
        if (is_float)
            out[0]->f[o] = reduce_real(k, in[0], &r, start);
        else if (k == MEAN || k == L2 || k == LOG_SUM || k == LOG_SUM_EXP)
            out[0]->i[o] = mlc_real_to_int(out[0]->dtype, reduce_real(k, in[0], &r, start));
        else
            out[0]->i[o] = reduce_int(k, in[0], &r, start);
    }
}

static double log_of(double x, const void *user) {
    (void)user;
    return log(x);
}
static double exp_of(double x, const void *user) {
    (void)user;
    return exp(x);
}

/* `v` must be proven positive, error included. */
static mlc_value *quantize_log_sum(mlc_quant *q, mlc_value *v) {
    if (!v)
        return NULL;
    double lo = mlc_q_min_real(v);
    if (lo <= 0) {
        mlc_error_at(q->diag, q->node, "the logarithm of a sum that may be as low as %g is not defined", lo);
        return NULL;
    }
    return mlc_q_function(q, v, log_of, NULL, 1 / lo);
}

/* Element j of each group, multiplied one after the other. */
static mlc_value *quantize_product(mlc_quant *q, mlc_value *v, const int64_t *index, const mlc_groups *r,
                                   const mlc_shape *shape) {
    mlc_value *product = NULL;
    int64_t *column = MLC_NEW_ARRAY(q->arena, r->outer, int64_t);
    for (int64_t j = 0; j < r->inner; j++) {
        for (int64_t o = 0; o < r->outer; o++)
            column[o] = index[o * r->inner + j];
        mlc_value *x = mlc_q_gather(q, &v, 1, column, 0, shape);
        product = x && product ? mlc_q_mul(q, product, x) : x;
        if (!product)
            return NULL;
    }
    return product;
}

/* The logarithm's slope from 1 on, and a little before, where clamping rounds to. */
#define LOG_SLOPE 1.01

/* max + log(sum of exp(x - max)): the exponentials are at most 1 and one of them is 1,
 * so that the sum is at least 1 whatever its error. */
static mlc_value *quantize_log_sum_exp(mlc_quant *q, const mlc_node *node, mlc_value *v, const int64_t *index,
                                       const mlc_groups *r) {
    int axes[MLC_MAX_RANK], rank = v->shape.rank;
    int n = default_axes(node, rank, axes, mlc_node_axes(node, axes_input(node), rank, axes));
    mlc_shape kept = mlc_reduced_shape(&v->shape, axes, n, true);
    mlc_value *max = mlc_q_reduce(q, MLC_REDUCE_MAX, v, index, r->inner, &kept);
    mlc_value *x = max ? mlc_q_sub(q, v, max) : NULL;
    x = x ? mlc_q_at_most(q, x, 0) : NULL;
    x = x ? mlc_q_function(q, x, exp_of, NULL, 1) : NULL;
    x = x ? mlc_q_reduce(q, MLC_REDUCE_SUM, x, index, r->inner, &kept) : NULL;
    x = x ? mlc_q_clamp(q, x, 1, (double)r->inner) : NULL;
    x = x ? mlc_q_function(q, x, log_of, NULL, LOG_SLOPE) : NULL;
    x = x ? mlc_q_add(q, x, max) : NULL;
    return x ? mlc_q_reshape(q, x, &node->out[0]->shape) : NULL;
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    kind k = kind_of(node);
    mlc_value *v = mlc_q_value(q, node->in[0]);
    if (!v)
        return false;
    mlc_groups r = mlc_reduce_groups(node, &v->shape);
    const mlc_shape *shape = &node->out[0]->shape;
    if (!mlc_dtype_is_float(node->in[0]->dtype) && (k == MEAN || k == L2 || k == LOG_SUM || k == LOG_SUM_EXP))
        return mlc_error_at(q->diag, node, "'%s' is %s; this reduction needs a float input",
                            mlc_escape(node->in[0]->name), mlc_dtype_name(node->in[0]->dtype));
    if (r.inner == 0)
        return mlc_error_at(q->diag, node, "'%s' of shape %s is empty", mlc_escape(node->in[0]->name),
                            mlc_shape_str(q->arena, &v->shape));

    const int64_t *index = mlc_group_index(q->arena, &r, false);
    if (k == PROD)
        return mlc_q_result(q, node, quantize_product(q, v, index, &r, shape));
    if (k == LOG_SUM_EXP)
        return mlc_q_result(q, node, quantize_log_sum_exp(q, node, v, index, &r));
    if (k == SUM_SQUARE || k == L1 || k == L2)
        v = mlc_q_abs(q, v);
    if (v && (k == SUM_SQUARE || k == L2))
        v = mlc_q_mul(q, v, v);
    mlc_reduce reduce = k == MAX ? MLC_REDUCE_MAX : k == MIN ? MLC_REDUCE_MIN : MLC_REDUCE_SUM;
    v = v ? mlc_q_reduce(q, reduce, v, index, r.inner, shape) : NULL;
    if (v && k == MEAN)
        v = mlc_q_scale_by(q, v, 1 / (double)r.inner);
    if (v && k == L2)
        v = mlc_q_sqrt(q, v);
    return mlc_q_result(q, node, k == LOG_SUM ? quantize_log_sum(q, v) : v);
}

#define ROW(NAME, DOC, SINCE, UNTIL, MAX_IN, ...)                                       \
    {                                                                                   \
        .domain = "",                                                                   \
        .name = "Reduce" NAME,                                                          \
        .since = SINCE,                                                                 \
        .until = UNTIL,                                                                 \
        .doc = DOC " along axes.",                                                      \
        .min_in = 1,                                                                    \
        .max_in = MAX_IN,                                                               \
        .min_out = 1,                                                                   \
        .max_out = 1,                                                                   \
        .attrs = (const mlc_attr_spec[]){{"keepdims", MLC_ATTR_INT}, __VA_ARGS__, {0}}, \
        .infer = infer,                                                                 \
        .eval = eval,                                                                   \
        .quantize = quantize,                                                           \
    }
/* `FROM`: the first version whose axes are an input. */
#define BOTH(NAME, DOC, FROM)                                \
    ROW(NAME, DOC, 1, FROM - 1, 1, {"axes", MLC_ATTR_INTS}), \
        ROW(NAME, DOC, FROM, 0, 2, {"noop_with_empty_axes", MLC_ATTR_INT})

MLC_OPS(Reduce, BOTH("Sum", "Sum", 13), BOTH("Mean", "Mean", 18), BOTH("Max", "Largest element", 18),
        BOTH("Min", "Smallest element", 18), BOTH("Prod", "Product", 18),
        BOTH("SumSquare", "Sum of squares", 18), BOTH("L1", "Sum of absolute values", 18),
        BOTH("L2", "Root of the sum of squares", 18), BOTH("LogSum", "Logarithm of the sum", 18),
        BOTH("LogSumExp", "Logarithm of the sum of exponentials", 18));
