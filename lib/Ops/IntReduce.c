/* ReduceSum ReduceMax ReduceMin ArgMax over groups of elements: out[i] is made of
 * x.flat[index[i*n + j]], j < n, where -1 stands for no element. */
#include "Int.h"
#include "IntLower.h"

static int64_t group_size(const mlc_node *node) {
    const mlc_shape *s = &node->in[1]->shape;
    return s->dim[s->rank - 1];
}

static bool reduce_check(mlc_graph *g, mlc_node *node) {
    if (!mlc_int_check(g, node) || !mlc_int_constant(g, node, 1))
        return false;
    mlc_shape shape = node->in[1]->shape;
    if (shape.rank < 1 || shape.dim[shape.rank - 1] < 1)
        return mlc_error_at(g->diag, node, "the index has shape %s, expected [...,n]",
                            mlc_shape_str(g->arena, &shape));
    const int64_t *index = node->in[1]->constant->i;
    int64_t n = group_size(node), elements = mlc_int_elements(node->in[0]);
    for (int64_t i = 0, count = mlc_int_elements(node->in[1]); i < count; i += n) {
        bool empty = true;
        for (int64_t j = 0; j < n; j++) {
            if (index[i + j] < -1 || index[i + j] >= elements)
                return mlc_error_at(g->diag, node, "index %lld is outside the %lld elements of the input",
                                    (long long)index[i + j], (long long)elements);
            if (index[i + j] >= 0)
                empty = false;
        }
        if (empty)
            return mlc_error_at(g->diag, node, "group %lld has no element", (long long)(i / n));
    }
    shape.rank--;
    return mlc_int_reshape(g, node, &shape);
}

static bool argmax_check(mlc_graph *g, mlc_node *node) {
    return reduce_check(g, node) && mlc_int_attr(g, node, "select_last", 0, 1);
}

/* --- interval --- */

static bool sum_interval(mlc_graph *g, mlc_node *node) {
    const int64_t *index = node->in[1]->constant->i;
    int64_t n = group_size(node);
    for (int64_t i = 0, count = mlc_int_elements(node->out[0]); i < count; i++) {
        mlc_int_sum sum = {0};
        for (int64_t j = 0; j < n; j++)
            if (index[i * n + j] >= 0 && !mlc_int_sum_add(&sum, mlc_int_range(node->in[0], index[i * n + j])))
                return mlc_int_overflow(g, node, i, "the sum", sum.partial);
        if (!mlc_int_bound(g, node, i, sum.total))
            return false;
    }
    return true;
}

/* Of one group: the hull of all elements, and the range of their largest and smallest. */
typedef struct group {
    mlc_wide hull, max, min;
} group;

/* Any two elements of a group must have a difference that fits: lower compares by it. */
static bool survey(mlc_graph *g, mlc_node *node, int64_t i, group *out) {
    int64_t n = group_size(node);
    const int64_t *index = node->in[1]->constant->i + i * n;
    mlc_wide highest = {INT64_MIN, INT64_MIN}, lowest = {INT64_MAX, INT64_MAX};
    int64_t members = 0;
    for (int64_t j = 0; j < n; j++) {
        if (index[j] < 0)
            continue;
        mlc_wide x = mlc_int_range(node->in[0], index[j]);
        highest = (mlc_wide){mlc_int_max(highest.lo, x.lo), mlc_int_max(highest.hi, x.hi)};
        lowest = (mlc_wide){mlc_int_min(lowest.lo, x.lo), mlc_int_min(lowest.hi, x.hi)};
        members++;
    }
    *out = (group){.hull = {lowest.lo, highest.hi}, .max = highest, .min = lowest};
    if (members < 2 || mlc_int_fits(highest.hi - lowest.lo))
        return true;
    return mlc_int_overflow(g, node, i, "the difference of two elements in the group", out->hull);
}

static bool max_interval(mlc_graph *g, mlc_node *node) {
    for (int64_t i = 0, count = mlc_int_elements(node->out[0]); i < count; i++) {
        group s;
        if (!survey(g, node, i, &s) || !mlc_int_bound(g, node, i, s.max))
            return false;
    }
    return true;
}

static bool min_interval(mlc_graph *g, mlc_node *node) {
    for (int64_t i = 0, count = mlc_int_elements(node->out[0]); i < count; i++) {
        group s;
        if (!survey(g, node, i, &s) || !mlc_int_bound(g, node, i, s.min))
            return false;
    }
    return true;
}

/* Only positions that may reach the least possible maximum come into question. */
static bool argmax_interval(mlc_graph *g, mlc_node *node) {
    int64_t n = group_size(node);
    for (int64_t i = 0, count = mlc_int_elements(node->out[0]); i < count; i++) {
        const int64_t *index = node->in[1]->constant->i + i * n;
        group s;
        if (!survey(g, node, i, &s))
            return false;
        mlc_wide r = {n, -1};
        for (int64_t j = 0; j < n; j++) {
            if (index[j] < 0 || mlc_int_range(node->in[0], index[j]).hi < s.max.lo)
                continue;
            if (r.hi < 0)
                r.lo = j;
            r.hi = j;
        }
        if (!mlc_int_bound(g, node, i, r))
            return false;
    }
    return true;
}

/* --- reference --- */

static void sum_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    int64_t n = group_size(node);
    for (int64_t i = 0, count = mlc_int_elements(node->out[0]); i < count; i++) {
        out[i] = 0;
        for (int64_t j = 0; j < n; j++)
            if (in[1][i * n + j] >= 0)
                out[i] += in[0][in[1][i * n + j]];
    }
}

static void max_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    int64_t n = group_size(node);
    for (int64_t i = 0, count = mlc_int_elements(node->out[0]); i < count; i++) {
        out[i] = INT64_MIN;
        for (int64_t j = 0; j < n; j++)
            if (in[1][i * n + j] >= 0 && in[0][in[1][i * n + j]] > out[i])
                out[i] = in[0][in[1][i * n + j]];
    }
}

static void min_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    int64_t n = group_size(node);
    for (int64_t i = 0, count = mlc_int_elements(node->out[0]); i < count; i++) {
        out[i] = INT64_MAX;
        for (int64_t j = 0; j < n; j++)
            if (in[1][i * n + j] >= 0 && in[0][in[1][i * n + j]] < out[i])
                out[i] = in[0][in[1][i * n + j]];
    }
}

static void argmax_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    int64_t n = group_size(node);
    bool last = mlc_attr_int(node, "select_last", 0);
    for (int64_t i = 0, count = mlc_int_elements(node->out[0]); i < count; i++) {
        out[i] = -1;
        for (int64_t j = 0; j < n; j++) {
            int64_t at = in[1][i * n + j];
            if (at < 0)
                continue;
            int64_t best = out[i] < 0 ? -1 : in[1][i * n + out[i]];
            if (best < 0 || in[0][at] > in[0][best] || (last && in[0][at] == in[0][best]))
                out[i] = j;
        }
    }
}

/* --- lowering --- */

static LLVMValueRef fold(mlc_lower *l, const mlc_node *node, int64_t i,
                         LLVMValueRef (*combine)(mlc_lower *l, LLVMValueRef a, LLVMValueRef b)) {
    int64_t n = group_size(node);
    const int64_t *index = node->in[1]->constant->i + i * n;
    LLVMValueRef result = NULL;
    for (int64_t j = 0; j < n; j++) {
        if (index[j] < 0)
            continue;
        LLVMValueRef x = mlc_l_input(l, node->in[0], index[j]);
        result = result ? combine(l, result, x) : x;
    }
    return result;
}

static void *sum_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    return fold(l, node, i, mlc_l_add);
}

static void *max_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    return fold(l, node, i, mlc_l_max);
}

static void *min_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    return fold(l, node, i, mlc_l_min);
}

static void *argmax_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    int64_t n = group_size(node), first = -1;
    const int64_t *index = node->in[1]->constant->i + i * n;
    bool last = mlc_attr_int(node, "select_last", 0);
    LLVMValueRef best = NULL, position = NULL;
    for (int64_t j = 0; j < n; j++) {
        if (index[j] < 0)
            continue;
        LLVMValueRef x = mlc_l_input(l, node->in[0], index[j]);
        if (!best) {
            best = x;
            first = j;
            continue;
        }
        /* Negative: the best so far stays (last), or x takes its place (first). */
        LLVMValueRef d = last ? mlc_l_sub(l, x, best) : mlc_l_sub(l, best, x);
        LLVMValueRef mask = mlc_l_sign_mask(l, d), here = mlc_l_const(l, j);
        if (!position)
            position = mlc_int_choose_const(l, mlc_l_is_negative(l, d), last ? first : j, last ? j : first);
        else
            position = last ? mlc_l_select(l, mask, position, here) : mlc_l_select(l, mask, here, position);
        best = last ? mlc_l_select(l, mask, best, x) : mlc_l_select(l, mask, x, best);
    }
    return position ? position : mlc_l_const(l, first);
}

static int64_t reduce_reads(const mlc_node *node, int k) {
    if (k != 0)
        return 1;
    return mlc_int_multiplicity(node->in[1]->constant->i, mlc_int_elements(node->in[1]), 0,
                                mlc_int_elements(node->in[0]));
}

static int64_t sum_cost(const mlc_node *node) {
    return 2 * group_size(node);
}

static int64_t extreme_cost(const mlc_node *node) {
    return 7 * group_size(node);
}

static int64_t argmax_cost(const mlc_node *node) {
    return 12 * group_size(node);
}

static mlc_node *generate(mlc_graph *g, mlc_rng *rng, const char *op) {
    int64_t groups = mlc_rng_range(rng, 1, 6), n = mlc_rng_range(rng, 1, 8);
    mlc_shape x = mlc_int_random_shape(rng, 24), s = {.rank = 2, .dim = {groups, n}};
    if (mlc_int_chance(rng, 4)) {
        s = mlc_int_vector(n);
        groups = 1;
    }
    int64_t *index = MLC_NEW_ARRAY(g->arena, groups * n, int64_t), elements = mlc_shape_elements(&x);
    bool once = mlc_int_chance(rng, 2);
    for (int64_t i = 0; i < groups * n; i++) {
        index[i] = once ? i % elements : mlc_rng_range(rng, 0, elements - 1);
        if (i % n && mlc_int_chance(rng, 6))
            index[i] = -1;
    }
    if (n > 1 && mlc_int_chance(rng, 4))
        index[0] = -1, index[1] = 0;
    mlc_value *in[2] = {mlc_int_random_input(g, rng, &x, INT64_MIN, INT64_MAX),
                        mlc_int_new_constant(g, index, &s)};
    return mlc_int_random_node(g, op, in, 2);
}

static mlc_node *sum_generate(mlc_graph *g, mlc_rng *rng) {
    return mlc_int_settle(g, generate(g, rng, "ReduceSum"), 1);
}

static mlc_node *max_generate(mlc_graph *g, mlc_rng *rng) {
    return mlc_int_settle(g, generate(g, rng, "ReduceMax"), 1);
}

static mlc_node *min_generate(mlc_graph *g, mlc_rng *rng) {
    return mlc_int_settle(g, generate(g, rng, "ReduceMin"), 1);
}

static mlc_node *argmax_generate(mlc_graph *g, mlc_rng *rng) {
    mlc_node *node = generate(g, rng, "ArgMax");
    if (mlc_int_chance(rng, 2))
        mlc_attr_set_int(g, node, "select_last", mlc_rng_range(rng, 0, 1));
    return mlc_int_settle(g, node, 1);
}

#define REDUCTION(op, check_fn, cost_fn)                                                                  \
    .domain = "mlc", .since = 1, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .check = check_fn, \
    .interval = op##_interval, .eval_int = op##_eval, .lower = op##_lower, .block = true,                 \
    .reads = reduce_reads, .cost = cost_fn, .generate = op##_generate

MLC_OPS(IntReduce,
        {.name = "ReduceSum",
         .doc = "sums over groups of elements given by a constant index [...,n], -1: none",
         REDUCTION(sum, reduce_check, sum_cost)},
        {.name = "ReduceMax",
         .doc = "largest of groups of elements given by a constant index [...,n], -1: none",
         REDUCTION(max, reduce_check, extreme_cost)},
        {.name = "ReduceMin",
         .doc = "smallest of groups of elements given by a constant index [...,n], -1: none",
         REDUCTION(min, reduce_check, extreme_cost)},
        {.name = "ArgMax",
         .doc = "position in the group of its largest element, the first or last of equal ones",
         .attrs = (const mlc_attr_spec[]){{"select_last", MLC_ATTR_INT}, {0}},
         REDUCTION(argmax, argmax_check, argmax_cost)});
