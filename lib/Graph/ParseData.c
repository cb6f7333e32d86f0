#include "Parse.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define FAIL(p, ...) mlc_scan_error(&(p)->s, (p)->s.line, __VA_ARGS__)

/* --- types --- */

static bool parse_dims(mlc_parser *p, mlc_shape *shape, bool *dynamic_batch) {
    *shape = (mlc_shape){0};
    while (!mlc_scan_accept(&p->s, "]")) {
        if (shape->rank && !mlc_scan_expect(&p->s, ","))
            return false;
        if (shape->rank == MLC_MAX_RANK)
            return FAIL(p, "a shape has at most %d dimensions", MLC_MAX_RANK);
        int64_t dim = 1;
        if (dynamic_batch && shape->rank == 0 && mlc_scan_accept(&p->s, "N"))
            *dynamic_batch = true;
        else if (!mlc_scan_int(&p->s, &dim))
            return false;
        if (dim < 0 || dim > MLC_MAX_ELEMENTS)
            return FAIL(p, "dimension %" PRId64 " is outside 0..%" PRId64, dim, MLC_MAX_ELEMENTS);
        shape->dim[shape->rank++] = dim;
    }
    if (mlc_shape_elements(shape) > MLC_MAX_ELEMENTS)
        return FAIL(p, "shape %s has more than %" PRId64 " elements", mlc_shape_str(p->s.arena, shape),
                    MLC_MAX_ELEMENTS);
    return true;
}

/* `dynamic_batch` may be NULL: N is not allowed then. */
static bool parse_type(mlc_parser *p, mlc_dtype *dtype, mlc_shape *shape, bool *shaped, bool *dynamic_batch) {
    const char *name;
    if (!mlc_scan_name(&p->s, "a dtype", &name))
        return false;
    *dtype = mlc_dtype_from_name(name);
    if (*dtype == MLC_UNDEFINED && strcmp(name, "undefined") != 0)
        return FAIL(p, "dtype '%s' is not known", mlc_escape(name));
    *shaped = mlc_scan_accept(&p->s, "[");
    return !*shaped || parse_dims(p, shape, dynamic_batch);
}

/* "LO..HI" */
static bool parse_interval(mlc_parser *p, int64_t *lo, int64_t *hi) {
    if (!mlc_scan_int(&p->s, lo) || !mlc_scan_expect(&p->s, "..") || !mlc_scan_int(&p->s, hi))
        return false;
    return *lo <= *hi || FAIL(p, "the interval is empty");
}

/* Whether n things of at least 2 characters may still follow: what a file makes
 * the compiler allocate is bounded by its size. */
static bool plausible(mlc_parser *p, int64_t n) {
    return n / 2 <= p->s.end - p->s.p ||
           FAIL(p, "the file ends before the %" PRId64 " elements that the shape asks for", n);
}

/* "LO..HI" for all elements, or "[LO..HI, ...]" */
static bool parse_intervals(mlc_parser *p, mlc_value *v) {
    if (!v->shaped)
        return FAIL(p, "an interval needs a shape");
    int64_t n = mlc_shape_elements(&v->shape);
    bool each = mlc_scan_accept(&p->s, "[");
    if (each && !plausible(p, n))
        return false;
    v->lo = MLC_NEW_ARRAY(p->s.arena, n, int64_t);
    v->hi = MLC_NEW_ARRAY(p->s.arena, n, int64_t);
    if (!each) {
        int64_t lo, hi;
        if (!parse_interval(p, &lo, &hi))
            return false;
        for (int64_t i = 0; i < n; i++) {
            v->lo[i] = lo;
            v->hi[i] = hi;
        }
        return true;
    }
    p->s.nesting++;
    for (int64_t i = 0; i < n; i++)
        if ((i && !mlc_scan_expect(&p->s, ",")) || !parse_interval(p, &v->lo[i], &v->hi[i]))
            return false;
    p->s.nesting--;
    return mlc_scan_expect(&p->s, "]");
}

bool mlc_parse_value_type(mlc_parser *p, mlc_value *v, mlc_interval *summary) {
    if (!parse_type(p, &v->dtype, &v->shape, &v->shaped, &v->dynamic_batch))
        return false;
    if (p->stage != MLC_INTEGER)
        return true;
    if (mlc_scan_accept(&p->s, "in")) {
        if (summary)
            summary->given = true;
        if (summary ? !parse_interval(p, &summary->lo, &summary->hi) : !parse_intervals(p, v))
            return false;
    }
    if (mlc_scan_accept(&p->s, "scale")) {
        if (!mlc_scan_float(&p->s, &v->scale))
            return false;
        if (!isfinite(v->scale) || v->scale <= 0)
            return FAIL(p, "a scale must be positive");
    }
    if (mlc_scan_accept(&p->s, "zero") && !mlc_scan_int(&p->s, &v->zero))
        return false;
    if (mlc_scan_accept(&p->s, "err")) {
        double err;
        if (!mlc_scan_float(&p->s, &err))
            return false;
        if (!(err >= 0) || !v->shaped)
            return FAIL(p, "an error bound must not be negative, and needs a shape");
        int64_t n = mlc_shape_elements(&v->shape);
        v->err = MLC_NEW_ARRAY(p->s.arena, n, double);
        for (int64_t i = 0; i < n; i++)
            v->err[i] = err;
    }
    const char *name;
    if (mlc_scan_accept(&p->s, "as")) {
        if (!mlc_scan_name(&p->s, "a dtype", &name))
            return false;
        v->model_dtype = mlc_dtype_from_name(name);
        if (!mlc_dtype_is_float(v->model_dtype) && !mlc_dtype_is_integer(v->model_dtype))
            return FAIL(p, "a value cannot stand for '%s'", mlc_escape(name));
    }
    return true;
}

/* --- tensors --- */

static bool parse_element(mlc_parser *p, mlc_tensor *t, int64_t i) {
    if (t->dtype == MLC_STRING)
        return mlc_scan_string(&p->s, &t->s[i]);
    if (mlc_dtype_is_float(t->dtype)) {
        double x;
        if (!mlc_scan_float(&p->s, &x))
            return false;
        t->f[i] = mlc_dtype_round(t->dtype, x);
        if (isinf(t->f[i]) && !isinf(x))
            return FAIL(p, "%g is too large for %s", x, mlc_dtype_name(t->dtype));
        return true;
    }
    int64_t lo, hi;
    mlc_dtype_range(t->dtype, &lo, &hi);
    if (!mlc_scan_int(&p->s, &t->i[i]))
        return false;
    if (t->i[i] < lo || t->i[i] > hi)
        return FAIL(p, "%" PRId64 " is outside %s, %" PRId64 "..%" PRId64, t->i[i], mlc_dtype_name(t->dtype),
                    lo, hi);
    return true;
}

bool mlc_parse_elements(mlc_parser *p, mlc_dtype dtype, const mlc_shape *shape, const mlc_tensor **tensor) {
    int64_t n = mlc_shape_elements(shape);
    if (dtype == MLC_UNDEFINED)
        return FAIL(p, "a constant needs a dtype");
    if (!mlc_scan_expect(&p->s, "[") || !plausible(p, n))
        return false;
    mlc_tensor *t = mlc_tensor_create(p->s.arena, dtype, shape);
    p->s.nesting++;
    for (int64_t i = 0; i < n; i++) {
        if (mlc_scan_next_is(&p->s, ']'))
            return FAIL(p, "shape %s asks for %" PRId64 " elements, only %" PRId64 " are there",
                        mlc_shape_str(p->s.arena, shape), n, i);
        if ((i && !mlc_scan_expect(&p->s, ",")) || !parse_element(p, t, i))
            return false;
    }
    if (mlc_scan_next_is(&p->s, ','))
        return FAIL(p, "more than the %" PRId64 " elements that shape %s asks for", n,
                    mlc_shape_str(p->s.arena, shape));
    mlc_scan_space(&p->s);
    p->s.nesting--;
    *tensor = t;
    return mlc_scan_expect(&p->s, "]");
}

/* --- attributes --- */

/* "[a, b]" of ints, floats or strings, as `a->kind` says. */
static bool parse_list(mlc_parser *p, mlc_attr *a) {
    if (!mlc_scan_expect(&p->s, "["))
        return false;
    union {
        int64_t *ints;
        double *floats;
        const char **strings;
        void *any;
    } list = {NULL};
    _Static_assert(sizeof(int64_t) == 8 && sizeof(double) == 8 && sizeof(char *) == 8,
                   "one size of elements");
    int64_t cap = 0;
    while (!mlc_scan_accept(&p->s, "]")) {
        if (a->n && !mlc_scan_expect(&p->s, ","))
            return false;
        if (a->n == cap) {
            cap = cap ? cap * 2 : 4;
            void *grown = MLC_NEW_ARRAY(p->s.arena, cap, int64_t);
            if (a->n)
                memcpy(grown, list.any, (size_t)a->n * sizeof(int64_t));
            list.any = grown;
        }
        bool ok = a->kind == MLC_ATTR_INTS     ? mlc_scan_int(&p->s, &list.ints[a->n])
                  : a->kind == MLC_ATTR_FLOATS ? mlc_scan_float(&p->s, &list.floats[a->n])
                                               : mlc_scan_string(&p->s, &list.strings[a->n]);
        if (!ok)
            return false;
        a->n++;
    }
    if (!list.any)
        list.any = MLC_NEW_ARRAY(p->s.arena, 1, int64_t);
    a->ints = list.ints;
    return true;
}

static bool parse_attr_value(mlc_parser *p, mlc_attr *a) {
    switch (a->kind) {
    case MLC_ATTR_INT:
        return mlc_scan_int(&p->s, &a->i);
    case MLC_ATTR_FLOAT:
        return mlc_scan_float(&p->s, &a->f);
    case MLC_ATTR_STRING:
        return mlc_scan_string(&p->s, &a->s);
    case MLC_ATTR_TENSOR: {
        mlc_dtype dtype;
        mlc_shape shape;
        bool shaped;
        if (!parse_type(p, &dtype, &shape, &shaped, NULL))
            return false;
        if (!shaped)
            return FAIL(p, "a tensor needs a shape");
        return mlc_parse_elements(p, dtype, &shape, &a->t);
    }
    case MLC_ATTR_GRAPH:
        return mlc_scan_expect(&p->s, "graph") && mlc_parse_subgraph(p, &a->g);
    case MLC_ATTR_INTS:
    case MLC_ATTR_FLOATS:
    case MLC_ATTR_STRINGS:
        return parse_list(p, a);
    }
    return false;
}

static bool unknown_attr(mlc_parser *p, const mlc_op *op, const char *name) {
    const char *names[64];
    int n = 0;
    for (const mlc_attr_spec *s = op->attrs; s && s->name && n < 64; s++)
        names[n++] = s->name;
    const char *closest = mlc_closest(name, names, n);
    return FAIL(p, "%s has no attribute '%s'%s%s%s", op->name, mlc_escape(name),
                closest ? "; did you mean '" : "", closest ? closest : "", closest ? "'?" : "");
}

static bool parse_attr(mlc_parser *p, const mlc_op *op, const mlc_attr *before, int n, mlc_attr *a) {
    if (!mlc_scan_name(&p->s, "an attribute", &a->name))
        return false;
    for (int k = 0; k < n; k++)
        if (strcmp(before[k].name, a->name) == 0)
            return FAIL(p, "attribute '%s' is given twice", mlc_escape(a->name));
    const mlc_attr_spec *spec = op->attrs;
    while (spec && spec->name && strcmp(spec->name, a->name) != 0)
        spec++;
    if (!spec || !spec->name)
        return unknown_attr(p, op, a->name);
    a->kind = spec->kind;
    return mlc_scan_expect(&p->s, "=") && parse_attr_value(p, a);
}

bool mlc_parse_attrs(mlc_parser *p, const mlc_op *op, mlc_attr **attrs, int *n) {
    int specs = 0;
    while (op->attrs && op->attrs[specs].name)
        specs++;
    *n = 0;
    *attrs = MLC_NEW_ARRAY(p->s.arena, specs + 1, mlc_attr); /* no attribute comes twice */
    if (!mlc_scan_accept(&p->s, "{"))
        return true;
    p->s.nesting++;
    while (!mlc_scan_next_is(&p->s, '}')) {
        if (*n && !mlc_scan_expect(&p->s, ","))
            return false;
        if (!parse_attr(p, op, *attrs, *n, &(*attrs)[*n]))
            return false;
        ++*n;
    }
    p->s.nesting--;
    return mlc_scan_expect(&p->s, "}");
}
