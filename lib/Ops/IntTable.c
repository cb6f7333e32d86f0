/*
 * Table: with i = (x - base) >> shift and f the bits of x - base shifted out,
 *   y = table[i], or interpolated: table[i] + ((table[i+1] - table[i]) * f + half) >> shift.
 */
#include "Int.h"
#include "IntLower.h"

static bool interpolates(const mlc_node *node) {
    return mlc_attr_int(node, "interpolate", 0) != 0;
}

/* Cells: values that i may take. */
static int64_t cells(const mlc_node *node) {
    return mlc_int_elements(node->in[1]) - interpolates(node);
}

static bool table_check(mlc_graph *g, mlc_node *node) {
    if (!mlc_int_check(g, node) || !mlc_int_constant(g, node, 1) || !mlc_int_attr(g, node, "shift", 0, 62) ||
        !mlc_int_attr(g, node, "interpolate", 0, 1))
        return false;
    if (cells(node) < 1)
        return mlc_error_at(g->diag, node, "the table is too short");
    return mlc_int_same_shape(g, node);
}

/* What is added to table[i] at distance f from the beginning of cell i, before the shift. */
static mlc_i128 slope_part(const int64_t *table, int64_t i, int64_t f, int shift) {
    return ((mlc_i128)table[i + 1] - table[i]) * f + (shift ? (int64_t)1 << (shift - 1) : 0);
}

/* No computation between two neighbouring entries leaves int64. */
static bool slopes_fit(mlc_graph *g, mlc_node *node) {
    int shift = (int)mlc_attr_int(node, "shift", 0);
    const int64_t *table = node->in[1]->constant->i;
    for (int64_t i = 0; i < cells(node); i++) {
        mlc_i128 d = (mlc_i128)table[i + 1] - table[i],
                 end = slope_part(table, i, ((int64_t)1 << shift) - 1, shift);
        if (!mlc_int_fits(d) || !mlc_int_fits(end))
            return mlc_error_at(g->diag, node, "the slope between entries %lld and %lld does not fit 64 bits",
                                (long long)i, (long long)(i + 1));
    }
    return true;
}

static void widen(mlc_wide *r, mlc_i128 x) {
    r->lo = mlc_int_min(r->lo, x);
    r->hi = mlc_int_max(r->hi, x);
}

/* Extremes of each run of 2^RUN entries, so that a range of a large table is
 * looked through quickly. */
enum { RUN = 8 };

static mlc_wide *extremes_of_runs(mlc_arena *arena, const int64_t *table, int64_t n) {
    mlc_wide *runs = MLC_NEW_ARRAY(arena, (n >> RUN) + 1, mlc_wide);
    for (int64_t i = 0; i < n; i++) {
        mlc_wide *run = &runs[i >> RUN];
        if (!(i & ((1 << RUN) - 1)))
            *run = (mlc_wide){table[i], table[i]};
        widen(run, table[i]);
    }
    return runs;
}

static void widen_by_entries(mlc_wide *r, const int64_t *table, const mlc_wide *runs, int64_t first,
                             int64_t last) {
    for (int64_t i = first; i <= last; i++) {
        if (!(i & ((1 << RUN) - 1)) && i + (1 << RUN) - 1 <= last) {
            widen(r, runs[i >> RUN].lo);
            widen(r, runs[i >> RUN].hi);
            i += (1 << RUN) - 1;
        } else {
            widen(r, table[i]);
        }
    }
}

/*
 * Between two neighbouring entries the rounded interpolation is monotone in f and
 * stays between them: extremes are at entries and where the range of x ends.
 */
static bool table_interval(mlc_graph *g, mlc_node *node) {
    const int64_t *table = node->in[1]->constant->i;
    int64_t base = mlc_attr_int(node, "base", 0), n = mlc_int_elements(node->in[1]);
    int shift = (int)mlc_attr_int(node, "shift", 0);
    bool interpolate = interpolates(node);
    if (interpolate && !slopes_fit(g, node))
        return false;
    mlc_arena_mark mark = mlc_arena_save(g->arena);
    mlc_wide *runs = extremes_of_runs(g->arena, table, n);
    bool ok = true;
    for (int64_t e = 0, count = mlc_int_elements(node->out[0]); e < count && ok; e++) {
        mlc_wide x = mlc_int_range(node->in[0], e);
        mlc_wide d = {x.lo - base, x.hi - base};
        if (!mlc_int_fits(d.lo) || !mlc_int_fits(d.hi)) {
            ok = mlc_int_overflow(g, node, e, "the distance from the base", d);
            break;
        }
        mlc_wide i = {d.lo >> shift, d.hi >> shift};
        if (i.lo < 0 || i.hi >= cells(node)) {
            ok = mlc_error_at(g->diag, node, "element %lld may look up [%lld, %lld] in a table of %lld",
                              (long long)e, (long long)i.lo, (long long)i.hi, (long long)cells(node));
            break;
        }
        int64_t first = (int64_t)i.lo, last = (int64_t)i.hi;
        mlc_wide r;
        if (interpolate) {
            int64_t unit = (int64_t)1 << shift, f = (int64_t)(d.lo - i.lo * unit),
                    f_last = (int64_t)(d.hi - i.hi * unit);
            mlc_i128 begin = table[first] + (slope_part(table, first, f, shift) >> shift);
            mlc_i128 end = table[last] + (slope_part(table, last, f_last, shift) >> shift);
            r = (mlc_wide){mlc_int_min(begin, end), mlc_int_max(begin, end)};
            widen_by_entries(&r, table, runs, first + 1, last);
        } else {
            r = (mlc_wide){table[first], table[first]};
            widen_by_entries(&r, table, runs, first, last);
        }
        ok = mlc_int_bound(g, node, e, r);
    }
    mlc_arena_restore(g->arena, mark);
    return ok;
}

static void table_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    int64_t base = mlc_attr_int(node, "base", 0), shift = mlc_attr_int(node, "shift", 0);
    int64_t unit = (int64_t)1 << shift;
    for (int64_t e = 0, count = mlc_int_elements(node->out[0]); e < count; e++) {
        int64_t i = (in[0][e] - base) / unit, f = (in[0][e] - base) % unit;
        out[e] = in[1][i];
        if (!interpolates(node))
            continue;
        int64_t part = (in[1][i + 1] - in[1][i]) * f + unit / 2;
        out[e] += part / unit - (part % unit < 0);
    }
}

static void *table_lower(mlc_lower *l, const mlc_node *node, int64_t e) {
    const int64_t *table = node->in[1]->constant->i;
    int64_t base = mlc_attr_int(node, "base", 0), n = mlc_int_elements(node->in[1]);
    int shift = (int)mlc_attr_int(node, "shift", 0);
    LLVMValueRef x = mlc_l_input(l, node->in[0], e);
    if (base)
        x = mlc_l_sub(l, x, mlc_l_const(l, base));
    LLVMValueRef i = mlc_l_ashr(l, x, shift);
    LLVMValueRef y = mlc_l_table(l, table, n, i);
    if (!interpolates(node) || !shift)
        return y;
    LLVMValueRef next = mlc_l_table(l, table, n, mlc_l_add(l, i, mlc_l_const(l, 1)));
    LLVMValueRef f = mlc_l_and(l, x, mlc_l_const(l, ((int64_t)1 << shift) - 1));
    LLVMValueRef part = mlc_l_mul(l, mlc_l_sub(l, next, y), f);
    part = mlc_l_add(l, part, mlc_l_const(l, (int64_t)1 << (shift - 1)));
    return mlc_l_add(l, y, mlc_l_ashr(l, part, shift));
}

static int64_t table_reads(const mlc_node *node, int k) {
    return k == 0 ? 1 : mlc_int_elements(node->out[0]);
}

static int64_t table_cost(const mlc_node *node) {
    return interpolates(node) ? 24 : 9;
}

static mlc_node *table_generate(mlc_graph *g, mlc_rng *rng) {
    int64_t n = mlc_rng_range(rng, 1, mlc_int_chance(rng, 4) ? 700 : 40);
    int64_t shift = mlc_rng_range(rng, 0, mlc_int_chance(rng, 3) ? 62 : 8),
            most = ((int64_t)1 << 62) >> shift;
    if (n > most)
        n = most;
    int64_t length = n << shift;
    int64_t base = mlc_int_chance(rng, 2) ? mlc_rng_range(rng, -length, 0)
                                          : mlc_rng_range(rng, INT64_MIN, INT64_MAX - length);
    bool interpolate = mlc_int_chance(rng, 2);
    mlc_shape shape = mlc_int_random_shape(rng, 16), size = mlc_int_vector(n + interpolate);
    mlc_value *in[2] = {mlc_int_random_input(g, rng, &shape, 0, length - 1),
                        mlc_int_random_constant(g, rng, &size)};
    for (int64_t e = 0; e < mlc_shape_elements(&shape); e++) {
        if (mlc_int_chance(rng, 2)) {
            int64_t a = mlc_rng_range(rng, 0, length - 1), b = mlc_rng_range(rng, 0, length - 1);
            in[0]->lo[e] = a < b ? a : b;
            in[0]->hi[e] = a < b ? b : a;
        }
        in[0]->lo[e] += base;
        in[0]->hi[e] += base;
    }
    mlc_node *node = mlc_int_random_node(g, "Table", in, 2);
    mlc_attr_set_int(g, node, "base", base);
    mlc_attr_set_int(g, node, "shift", shift);
    if (interpolate)
        mlc_attr_set_int(g, node, "interpolate", 1);
    return mlc_int_settle(g, node, 2);
}

MLC_OPS(IntTable,
        {.domain = "mlc",
         .name = "Table",
         .since = 1,
         .doc = "constant table at (x - base) >> shift, with linear interpolation between entries if wanted",
         .min_in = 2,
         .max_in = 2,
         .min_out = 1,
         .max_out = 1,
         .attrs = (const mlc_attr_spec[]){{"base", MLC_ATTR_INT},
                                          {"shift", MLC_ATTR_INT},
                                          {"interpolate", MLC_ATTR_INT},
                                          {0}},
         .check = table_check,
         .interval = table_interval,
         .eval_int = table_eval,
         .lower = table_lower,
         .reads = table_reads,
         .cost = table_cost,
         .elementwise = 1,
         .generate = table_generate});
