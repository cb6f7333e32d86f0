/*
 * The form that every rising step function has: its steps in order in a table, and a
 * binary search for how many of them x has reached. With the bits above b known, bit
 * b of that count is
 *
 *   at[count + 2^b - 1] <= x.
 *
 * No branch; one entry is read for each bit.
 */
#include "StepTables.h"

enum { MOST_ENTRIES = 1 << 16 };

/* Where the steps of each class are, 2^bits entries for a class. Steps that it does not have are never
 * reached. */
static mlc_value *places(mlc_quant *q, const mlc_form *f, const mlc_scan *s, int bits) {
    const int64_t room = (int64_t)1 << bits;
    mlc_shape shape = {1, {f->n_cls * room}};
    int64_t *at = MLC_NEW_ARRAY(q->arena, shape.dim[0], int64_t);
    for (int64_t i = 0; i < shape.dim[0]; i++) {
        const mlc_scan *own = &s[i / room];
        at[i] = i % room < own->steps.n ? own->steps.at[i % room] : own->hi + 1;
    }
    return mlc_q_constant(q, at, &shape);
}

/* The first entry of a class plus the number of steps that t has reached. */
static mlc_value *count(mlc_quant *q, const mlc_form *f, const mlc_scan *s, mlc_value *t, int bits) {
    mlc_value *table = places(q, f, s, bits), *found = NULL;
    int64_t *first = MLC_NEW_ARRAY(q->arena, f->n_cls, int64_t),
            *middle = MLC_NEW_ARRAY(q->arena, f->n_cls, int64_t);
    for (int b = bits - 1; b >= 0 && t; b--) {
        const int64_t unit = (int64_t)1 << b;
        mlc_value *place;
        if (b == bits - 1) { /* every x of a class looks at the same */
            for (int c = 0; c < f->n_cls; c++) {
                first[c] = ((int64_t)c << bits) + unit;
                middle[c] = table->constant->i[first[c] - 1];
            }
            place = mlc_step_per_class(q, f, middle);
        } else {
            mlc_value *in[2] = {found, table};
            mlc_attr base = {.name = "base", .kind = MLC_ATTR_INT, .i = 1 - unit};
            place = mlc_q_node(q, "Table", in, 2, &f->x->shape, &base, 1);
        }
        mlc_value *before = place ? mlc_q_binary(q, "Less", t, place) : NULL;
        mlc_value *in[3] = {before, mlc_q_scalar(q, -unit),
                            b == bits - 1 ? mlc_step_per_class(q, f, first) : mlc_q_scalar(q, unit)};
        mlc_attr shift = {.name = "shift", .kind = MLC_ATTR_INT, .i = 0};
        mlc_value *part = mlc_q_node(q, "Rescale", in, 3, NULL, &shift, 1);
        found = b == bits - 1 || !part ? part : mlc_q_binary(q, "Add", found, part);
        if (!found)
            return NULL;
    }
    return found;
}

mlc_value *mlc_step_search(mlc_quant *q, const mlc_form *f, const mlc_scan *s) {
    int bits = 1;
    bool falls = false;
    int64_t *sign = MLC_NEW_ARRAY(q->arena, f->n_cls, int64_t),
            *zero = MLC_NEW_ARRAY(q->arena, f->n_cls, int64_t),
            *result = MLC_NEW_ARRAY(q->arena, f->n_cls, int64_t),
            *last = MLC_NEW_ARRAY(q->arena, f->n_cls, int64_t);
    for (int c = 0; c < f->n_cls; c++) {
        if (!s[c].rising)
            return NULL;
        int own = mlc_q_bits((uint64_t)s[c].steps.n);
        bits = own > bits ? own : bits;
        falls = falls || s[c].sign < 0;
    }
    if (((int64_t)f->n_cls << bits) > MOST_ENTRIES)
        return NULL;
    for (int c = 0; c < f->n_cls; c++) {
        sign[c] = s[c].sign;
        result[c] = s[c].first - ((int64_t)c << bits);
        last[c] = s[c].last;
    }
    mlc_value *t = falls ? mlc_step_rescale(q, f, f->x, sign, zero, 0) : f->x;
    mlc_value *v = count(q, f, s, t, bits);
    v = v ? mlc_q_binary(q, "Add", v, mlc_step_per_class(q, f, result)) : NULL;
    /* For the interval: the count of all bits set is more than there are steps. */
    return v ? mlc_q_binary(q, "Min", v, mlc_step_per_class(q, f, last)) : NULL;
}
