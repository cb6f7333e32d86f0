#include "Product.h"

#include "Real.h"

#include <math.h>

static mlc_shape leading(const mlc_shape *s) {
    mlc_shape lead = {.rank = s->rank > 2 ? s->rank - 2 : 0};
    for (int d = 0; d < lead.rank; d++)
        lead.dim[d] = s->dim[d];
    return lead;
}

bool mlc_product_of(mlc_graph *g, const mlc_node *node, const mlc_shape *a, const mlc_shape *b, bool trans_a,
                    bool trans_b, mlc_product *p, mlc_shape *shape) {
    if (a->rank < 1 || b->rank < 1)
        return mlc_error_at(g->diag, node, "a product needs vectors or matrices, not scalars");
    *p = (mlc_product){.trans_a = trans_a, .trans_b = trans_b, .a_batch = leading(a), .b_batch = leading(b)};
    const int64_t a_rows = a->rank > 1 ? a->dim[a->rank - 2] : 1, a_columns = a->dim[a->rank - 1];
    const int64_t b_rows = b->rank > 1 ? b->dim[b->rank - 2] : b->dim[0];
    const int64_t b_columns = b->rank > 1 ? b->dim[b->rank - 1] : 1;
    p->M = trans_a ? a_columns : a_rows;
    p->K = trans_a ? a_rows : a_columns;
    p->N = trans_b ? b_rows : b_columns;
    if (p->K != (trans_b ? b_columns : b_rows) ||
        !mlc_shape_broadcast(&p->a_batch, &p->b_batch, &p->batch_shape))
        return mlc_error_at(g->diag, node, "shapes %s%s and %s%s cannot be multiplied",
                            mlc_shape_str(g->arena, a), trans_a ? " (transposed)" : "",
                            mlc_shape_str(g->arena, b), trans_b ? " (transposed)" : "");
    *shape = p->batch_shape;
    if (a->rank > 1)
        shape->dim[shape->rank++] = p->M;
    if (b->rank > 1)
        shape->dim[shape->rank++] = p->N;
    p->batch = mlc_shape_elements(&p->batch_shape);
    return true;
}

int64_t mlc_product_a(const mlc_product *p, int64_t i, int64_t m, int64_t k) {
    const int64_t matrix = mlc_shape_broadcast_index(&p->a_batch, &p->batch_shape, i) * p->M * p->K;
    return matrix + (p->trans_a ? k * p->M + m : m * p->K + k);
}

int64_t mlc_product_b(const mlc_product *p, int64_t i, int64_t k, int64_t n) {
    const int64_t matrix = mlc_shape_broadcast_index(&p->b_batch, &p->batch_shape, i) * p->K * p->N;
    return matrix + (p->trans_b ? n * p->K + k : k * p->N + n);
}

/* Where row m of a and column n of b start, and the distance of their elements. */
typedef struct walk {
    int64_t a, b, a_step, b_step;
} walk;

static walk walk_of(const mlc_product *p, int64_t i, int64_t m, int64_t n) {
    return (walk){mlc_product_a(p, i, m, 0), mlc_product_b(p, i, 0, n), p->trans_a ? p->M : 1,
                  p->trans_b ? 1 : p->N};
}

double mlc_product_sum(const mlc_product *p, const mlc_tensor *a, double a_zero, const mlc_tensor *b,
                       double b_zero, int64_t i, int64_t m, int64_t n) {
    const walk w = walk_of(p, i, m, n);
    double sum = 0;
    for (int64_t k = 0; k < p->K; k++)
        sum += (mlc_tensor_real(a, w.a + k * w.a_step) - a_zero) *
               (mlc_tensor_real(b, w.b + k * w.b_step) - b_zero);
    return sum;
}

static int64_t integer_sum(const mlc_product *p, const mlc_tensor *a, const mlc_tensor *b, int64_t i,
                           int64_t m, int64_t n) {
    const walk w = walk_of(p, i, m, n);
    int64_t sum = 0;
    for (int64_t k = 0; k < p->K; k++)
        sum = mlc_wrap_add(sum, mlc_wrap_mul(a->i[w.a + k * w.a_step], b->i[w.b + k * w.b_step]));
    return sum;
}

/* Neighbouring elements of the result, summed side by side: each in the order of k, as ever, but without
 * one addition waiting for the other. */
enum { COLUMNS = 8 };

static void float_columns(const mlc_product *p, double alpha, const mlc_tensor *a, const mlc_tensor *b,
                          int64_t i, int64_t m, int64_t n, int64_t count, double *y) {
    const walk w = walk_of(p, i, m, n);
    const double *x = a->f + w.a, *column = b->f + w.b;
    int64_t next = p->trans_b ? p->K : 1;
    double sum[COLUMNS] = {0};
    for (int64_t k = 0; k < p->K; k++, x += w.a_step, column += w.b_step)
        for (int64_t j = 0; j < count; j++)
            sum[j] += *x * column[j * next];
    for (int64_t j = 0; j < count; j++)
        y[j] = alpha * sum[j];
}

void mlc_product_eval(const mlc_product *p, double alpha, const mlc_tensor *a, const mlc_tensor *b,
                      mlc_tensor *y) {
    int64_t at = 0;
    for (int64_t i = 0; i < p->batch; i++)
        for (int64_t m = 0; m < p->M; m++)
            for (int64_t n = 0; n < p->N;) {
                int64_t count = 1;
                if (mlc_dtype_is_float(y->dtype)) {
                    count = p->N - n < COLUMNS ? p->N - n : COLUMNS;
                    float_columns(p, alpha, a, b, i, m, n, count, y->f + at);
                } else {
                    y->i[at] = mlc_wrap(y->dtype, integer_sum(p, a, b, i, m, n));
                }
                n += count;
                at += count;
            }
}

/* a as [batch,M,K]. */
static mlc_value *rows_of(mlc_quant *q, const mlc_product *p, mlc_value *a) {
    const mlc_shape shape = {3, {p->batch, p->M, p->K}};
    if (!p->trans_a && mlc_shape_elements(&p->a_batch) == p->batch)
        return mlc_q_reshape(q, a, &shape);
    int64_t *index = MLC_NEW_ARRAY(q->arena, mlc_shape_elements(&shape), int64_t), at = 0;
    for (int64_t i = 0; i < p->batch; i++)
        for (int64_t m = 0; m < p->M; m++)
            for (int64_t k = 0; k < p->K; k++)
                index[at++] = mlc_product_a(p, i, m, k);
    return mlc_q_gather(q, &a, 1, index, 0, &shape);
}

/* b as [batch,K,N]. */
static mlc_value *columns_of(mlc_quant *q, const mlc_product *p, mlc_value *b) {
    const mlc_shape shape = {3, {p->batch, p->K, p->N}};
    if (!p->trans_b && mlc_shape_elements(&p->b_batch) == p->batch)
        return mlc_q_reshape(q, b, &shape);
    int64_t *index = MLC_NEW_ARRAY(q->arena, mlc_shape_elements(&shape), int64_t), at = 0;
    for (int64_t i = 0; i < p->batch; i++)
        for (int64_t k = 0; k < p->K; k++)
            for (int64_t n = 0; n < p->N; n++)
                index[at++] = mlc_product_b(p, i, k, n);
    return mlc_q_gather(q, &b, 1, index, 0, &shape);
}

/* Elements [first, first + rows*K) of x as [rows,K]. */
static mlc_value *part(mlc_quant *q, mlc_value *x, int64_t first, int64_t rows, int64_t K) {
    const mlc_shape shape = {2, {rows, K}};
    int64_t *index = MLC_NEW_ARRAY(q->arena, rows * K, int64_t);
    for (int64_t j = 0; j < rows * K; j++)
        index[j] = first + j;
    return mlc_q_gather(q, &x, 1, index, 0, &shape);
}

/* One linear layer over all rows, or one for each matrix of b. */
mlc_value *mlc_q_product_right(mlc_quant *q, const mlc_product *p, double alpha, mlc_value *a,
                               const mlc_tensor *b, const double *bias, const mlc_shape *shape) {
    mlc_value *x = rows_of(q, p, a);
    if (!x)
        return NULL;
    const int64_t parts = mlc_shape_elements(&p->b_batch) == 1 ? 1 : p->batch;
    const int64_t rows = p->batch / parts * p->M;
    mlc_value **y = MLC_NEW_ARRAY(q->arena, parts, mlc_value *);
    for (int64_t i = 0; i < parts; i++) {
        double *w = MLC_NEW_ARRAY(q->arena, p->N * p->K, double);
        for (int64_t n = 0; n < p->N; n++)
            for (int64_t k = 0; k < p->K; k++)
                w[n * p->K + k] = alpha * mlc_tensor_real(b, mlc_product_b(p, i, k, n));
        mlc_value *part_x = parts == 1 ? x : part(q, x, i * rows * p->K, rows, p->K);
        const mlc_shape part_shape = parts == 1 ? *shape : (mlc_shape){2, {rows, p->N}};
        y[i] = part_x ? mlc_q_linear(q, part_x, rows, p->K, p->N, w, bias, &part_shape) : NULL;
        if (!y[i])
            return NULL;
    }
    if (parts == 1)
        return y[0];
    const int64_t total = mlc_shape_elements(shape);
    int64_t *index = MLC_NEW_ARRAY(q->arena, total, int64_t);
    for (int64_t j = 0; j < total; j++)
        index[j] = j;
    return mlc_q_gather(q, y, (int)parts, index, 0, shape);
}

/* a * b for a constant a: the transpose of b' * a'. */
static mlc_value *constant_left(mlc_quant *q, const mlc_product *p, double alpha, const mlc_tensor *a,
                                mlc_value *b, const mlc_shape *shape) {
    const mlc_product turned = {.batch = p->batch,
                                .M = p->N,
                                .K = p->K,
                                .N = p->M,
                                .batch_shape = p->batch_shape,
                                .a_batch = p->b_batch,
                                .b_batch = p->a_batch,
                                .trans_a = !p->trans_b,
                                .trans_b = !p->trans_a};
    const mlc_shape turned_shape = {3, {p->batch, p->N, p->M}};
    mlc_value *y = mlc_q_product_right(q, &turned, alpha, b, a, NULL, &turned_shape);
    if (!y || p->N == 1 || p->M == 1)
        return y ? mlc_q_reshape(q, y, shape) : NULL;
    int64_t *index = MLC_NEW_ARRAY(q->arena, mlc_shape_elements(shape), int64_t), at = 0;
    for (int64_t i = 0; i < p->batch; i++)
        for (int64_t m = 0; m < p->M; m++)
            for (int64_t n = 0; n < p->N; n++)
                index[at++] = (i * p->N + n) * p->M + m;
    return mlc_q_gather(q, &y, 1, index, 0, shape);
}

static double magnitude(const mlc_value *v, int64_t i) {
    return fmax(fabs((double)v->lo[i]), fabs((double)v->hi[i])) * v->scale;
}

/* Bounds |a*b - real| for y = a*b, with a as [batch,M,K] and b as [batch,K,N]. */
static void product_error(mlc_quant *q, const mlc_product *p, const mlc_value *a, const mlc_value *b,
                          mlc_value *y) {
    if (!a->err && !b->err)
        return;
    y->err = MLC_NEW_ARRAY(q->arena, mlc_shape_elements(&y->shape), double);
    int64_t at = 0;
    for (int64_t i = 0; i < p->batch; i++)
        for (int64_t m = 0; m < p->M; m++)
            for (int64_t n = 0; n < p->N; n++, at++)
                for (int64_t k = 0; k < p->K; k++) {
                    const int64_t ia = (i * p->M + m) * p->K + k, ib = (i * p->K + k) * p->N + n;
                    const double ea = mlc_q_err(a, ia), eb = mlc_q_err(b, ib);
                    y->err[at] += magnitude(a, ia) * eb + magnitude(b, ib) * ea + ea * eb;
                }
}

/* Takes bits from the wider factor until a sum of K products fits the accumulator. */
static bool fit_products(mlc_quant *q, int64_t K, mlc_value **a, mlc_value **b) {
    enum { ROOM = 62 };
    mlc_value **side[2] = {a, b};
    int bits[2], log = 0;
    while (log < 40 && ((int64_t)1 << log) < K)
        log++;
    for (int k = 0; k < 2; k++) {
        bits[k] = 0;
        frexp(mlc_q_max_abs(*side[k]) / (*side[k])->scale + 1, &bits[k]);
    }
    while (bits[0] + bits[1] > ROOM - log)
        bits[bits[1] > bits[0]]--;
    *a = mlc_q_narrow(q, *a, bits[0]);
    *b = mlc_q_narrow(q, *b, bits[1]);
    return *a && *b;
}

/* Neither side is constant, or the numbers are integers that must stay exact. */
static mlc_value *both_dynamic(mlc_quant *q, const mlc_product *p, double alpha, mlc_value *a, mlc_value *b,
                               bool exact, const mlc_shape *shape) {
    a = rows_of(q, p, a);
    b = columns_of(q, p, b);
    if (!a || !b || (!exact && !fit_products(q, p->K, &a, &b)))
        return NULL;
    const mlc_shape product_shape = {3, {p->batch, p->M, p->N}};
    mlc_value *y = mlc_q_node(q, "MatMul", (mlc_value *const[]){a, b}, 2, &product_shape, NULL, 0);
    if (!y)
        return NULL;
    y->scale = a->scale * b->scale;
    product_error(q, p, a, b, y);
    if (!exact && (y = mlc_q_settle(q, y)) && alpha != 1)
        y = mlc_q_scale_by(q, y, alpha);
    return y ? mlc_q_reshape(q, y, shape) : NULL;
}

mlc_value *mlc_q_product(mlc_quant *q, const mlc_product *p, double alpha, const mlc_value *a,
                         const mlc_value *b, const double *bias, const mlc_shape *shape) {
    const bool exact = !mlc_dtype_is_float(a->dtype);
    mlc_value *y;
    if (b->constant && !exact) {
        mlc_value *x = mlc_q_value(q, a);
        return x ? mlc_q_product_right(q, p, alpha, x, b->constant, bias, shape) : NULL;
    }
    if (a->constant && !exact) {
        mlc_value *x = mlc_q_value(q, b);
        y = x ? constant_left(q, p, alpha, a->constant, x, shape) : NULL;
    } else {
        mlc_value *x = mlc_q_value(q, a), *z = mlc_q_value(q, b);
        y = x && z ? both_dynamic(q, p, alpha, x, z, exact, shape) : NULL;
    }
    const mlc_shape bias_shape = {1, {p->N}};
    return y && bias ? mlc_q_add_real(q, y, bias, &bias_shape) : y;
}

mlc_value *mlc_q_product_both(mlc_quant *q, const mlc_product *p, mlc_value *a, mlc_value *b,
                              const mlc_shape *shape) {
    return both_dynamic(q, p, 1, a, b, false, shape);
}

mlc_value *mlc_q_integer_product(mlc_quant *q, const mlc_product *p, mlc_value *a, mlc_value *b,
                                 const mlc_shape *shape) {
    return both_dynamic(q, p, 1, a, b, true, shape);
}
