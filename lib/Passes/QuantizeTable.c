/*
 * Tables of real functions: their cells, entries, measured error, and the nodes
 * that look values up.
 *
 * With cells that grow, the position of a distance u is, for s = max(bits(u) - octave - 1, 0),
 *
 *   p = s * 2^(octave + shift) + floor(u * 2^shift / 2^s),
 *
 * continuous and piecewise linear in u. Its upper bits are the cell's number and
 * its lower `shift` bits the place in the cell, as the integer op Table wants them.
 */
#include "Table.h"

#include <math.h>
#include <string.h>

enum {
    DIRECT = 1024,      /* up to so many different inputs every one has an entry */
    LEAST_CELLS = 1024, /* of a uniform table */
    MOST_CELLS = 4096,
    LEAST_OCTAVE = 5,
    MOST_OCTAVE = 8,
    PROBES = 16, /* points per cell at which the error is measured */
    ENTRY_BITS = 30,
    PRODUCT_BITS = 61, /* of differences of entries, one more than ENTRY_BITS, times places in cells */
    MOST_SHIFT = PRODUCT_BITS - ENTRY_BITS - 1,
};

/* Error relative to the function's size that is good enough, and that growing cells,
 * which cost more instructions, aim at. */
#define GOOD 4e-6
#define FINE 1e-6
/* Growing cells are worth it where their error is this part of that of equal ones. */
#define GAIN 0.25

/* Between two probes a parabola through them exceeds the larger by under 1 %; the
 * margin covers cusps of functions that are smooth in pieces. */
#define MARGIN 1.5

typedef struct curve {
    mlc_real_fn fn;
    const void *user;
    double scale;
} curve;

static double at(const curve *c, int64_t x) {
    return c->fn((double)x * c->scale, c->user);
}

/* The integer at distance u from the end where the cells begin. */
static int64_t input_at(const mlc_table *t, int64_t u) {
    return t->spacing == MLC_FROM_LAST ? t->last - u : t->first + u;
}

static int cell_shift(const mlc_table *t, int64_t u) {
    if (t->spacing == MLC_UNIFORM)
        return t->shift;
    int bits = mlc_q_bits((uint64_t)u) - t->octave - 1;
    return bits > 0 ? bits : 0;
}

static int64_t position(const mlc_table *t, int64_t u) {
    if (t->spacing == MLC_UNIFORM)
        return u;
    int s = cell_shift(t, u);
    return ((int64_t)s << (t->octave + t->shift)) + ((u << t->shift) >> s);
}

/* Cells that a position may name, whether or not they lie in the range. */
static int64_t cell_count(const mlc_table *t) {
    int64_t span = t->last - t->first;
    if (t->spacing == MLC_UNIFORM)
        return (span >> t->shift) + 1;
    return ((int64_t)cell_shift(t, span) + 2) << t->octave;
}

/* Where cell i begins. */
static int64_t cell_begin(const mlc_table *t, int64_t i) {
    if (t->spacing == MLC_UNIFORM)
        return i << t->shift;
    int64_t s = (i >> t->octave) - 1;
    return s <= 0 ? i : (i - (s << t->octave)) << s;
}

static double look_up(const mlc_table *t, int64_t u) {
    int64_t p = position(t, u), i = p >> t->shift;
    if (t->shift == 0)
        return (double)t->entries[i] * t->scale;
    int64_t f = p & (((int64_t)1 << t->shift) - 1), half = (int64_t)1 << (t->shift - 1);
    int64_t y = t->entries[i] + (((t->entries[i + 1] - t->entries[i]) * f + half) >> t->shift);
    return (double)y * t->scale;
}

/* What stands at the end, cell_begin(i), of the range's last cell: the straight line
 * through the range's end, where the function need not exist. */
static double beyond(const curve *c, const mlc_table *t, int64_t i, double most) {
    int64_t span = t->last - t->first, begin = cell_begin(t, i - 1);
    double y = at(c, input_at(t, begin)), end = at(c, input_at(t, span));
    if (begin < span)
        end = y + (end - y) * (double)(cell_begin(t, i) - begin) / (double)(span - begin);
    return fmin(fmax(end, -most), most);
}

/* The largest error found in cell i. */
static double cell_error(const curve *c, const mlc_table *t, int64_t i) {
    int64_t begin = cell_begin(t, i), length = cell_begin(t, i + 1) - begin, span = t->last - t->first;
    double worst = 0;
    for (int p = 0; p < PROBES && length > 1; p++) {
        int64_t u = begin + length / PROBES * p + length % PROBES * p / PROBES;
        if (u > span)
            u = span;
        worst = fmax(worst, fabs(look_up(t, u) - at(c, input_at(t, u))));
    }
    return worst;
}

static bool not_finite(mlc_quant *q, const curve *c, const mlc_table *t, int64_t u) {
    return mlc_error_at(q->diag, q->node, "the function is not finite at %g, inside the proven input range",
                        (double)input_at(t, u) * c->scale);
}

/* Entries and error of a table whose cells are decided. */
static bool fill(mlc_quant *q, const curve *c, mlc_table *t) {
    int64_t span = t->last - t->first, cells = cell_count(t), used = (position(t, span) >> t->shift) + 1;
    t->n = t->shift ? cells + 1 : cells;
    double *y = MLC_NEW_ARRAY(q->arena, t->n, double);
    t->size = 0;
    for (int64_t i = 0; i < t->n; i++) {
        y[i] = i < used    ? at(c, input_at(t, cell_begin(t, i)))
               : i == used ? beyond(c, t, i, 2 * t->size)
                           : y[used];
        if (!isfinite(y[i]))
            return not_finite(q, c, t, i < used ? cell_begin(t, i) : span);
        t->size = fmax(t->size, fabs(y[i]));
    }
    int exponent = 0;
    if (t->size > 0)
        frexp(t->size, &exponent);
    t->scale = ldexp(1, exponent - ENTRY_BITS);
    t->entries = MLC_NEW_ARRAY(q->arena, t->n, int64_t);
    for (int64_t i = 0; i < t->n; i++)
        t->entries[i] = (int64_t)rint(y[i] / t->scale);
    double worst = 0, step = 0;
    for (int64_t i = 0; i < used && t->shift; i++) {
        double e = cell_error(c, t, i);
        if (e > worst)
            t->worst = input_at(t, cell_begin(t, i));
        worst = fmax(worst, e);
        if (cell_shift(t, cell_begin(t, i)) > t->shift) /* the position was rounded down */
            step = fmax(step, fabs(y[i + 1] - y[i]));
    }
    /* Rounding of entries, of the interpolation, and of positions. */
    t->err = t->scale + MARGIN * worst + (t->spacing == MLC_UNIFORM ? 0 : ldexp(step, -t->shift));
    return true;
}

bool mlc_table_good(const mlc_table *t) {
    return t->err <= GOOD * t->size + t->scale;
}

static bool uniform(mlc_quant *q, const curve *c, int64_t first, int64_t last, mlc_table *t) {
    for (int64_t cells = LEAST_CELLS; cells <= MOST_CELLS; cells *= 2) {
        *t = (mlc_table){.spacing = MLC_UNIFORM, .first = first, .last = last};
        if (last - first >= DIRECT)
            while (((last - first) >> t->shift) >= cells)
                t->shift++;
        if (!fill(q, c, t))
            return false;
        if (t->err <= GOOD * fmin(t->size, 1))
            break;
    }
    return true;
}

static bool growing(mlc_quant *q, const curve *c, int64_t first, int64_t last, mlc_spacing spacing,
                    mlc_table *t) {
    for (int octave = LEAST_OCTAVE; octave <= MOST_OCTAVE; octave++) {
        *t = (mlc_table){.spacing = spacing, .first = first, .last = last, .octave = octave};
        t->shift = MLC_ACCUMULATOR_BITS - mlc_q_bits((uint64_t)(last - first));
        if (t->shift > MOST_SHIFT)
            t->shift = MOST_SHIFT;
        if (!fill(q, c, t))
            return false;
        if (t->err <= FINE * t->size + t->scale)
            break;
    }
    return true;
}

bool mlc_table_build(mlc_quant *q, mlc_real_fn fn, const void *user, double scale, int64_t first,
                     int64_t last, mlc_table *t) {
    curve c = {.fn = fn, .user = user, .scale = scale};
    if (!uniform(q, &c, first, last, t))
        return false;
    if (mlc_table_good(t))
        return true;
    mlc_table other;
    mlc_spacing end = t->worst - first <= last - t->worst ? MLC_FROM_FIRST : MLC_FROM_LAST;
    if (!growing(q, &c, first, last, end, &other))
        return false;
    if (other.err <= GAIN * t->err)
        *t = other;
    return true;
}

static mlc_value *table_node(mlc_quant *q, mlc_value *x, int64_t base, const mlc_table *t) {
    mlc_shape shape = {.rank = 1, .dim = {t->n}};
    mlc_value *in[2] = {x, mlc_q_constant(q, t->entries, &shape)};
    mlc_attr attrs[3] = {
        {.name = "base", .kind = MLC_ATTR_INT, .i = base},
        {.name = "shift", .kind = MLC_ATTR_INT, .i = t->shift},
        {.name = "interpolate", .kind = MLC_ATTR_INT, .i = t->shift > 0},
    };
    mlc_value *r = mlc_q_node(q, "Table", in, 2, &x->shape, attrs, 3);
    if (r)
        r->scale = t->scale;
    return r;
}

mlc_value *mlc_table_apply(mlc_quant *q, mlc_value *v, const mlc_table *t) {
    if (t->spacing == MLC_UNIFORM)
        return table_node(q, v, t->first, t);
    int bits = mlc_q_bits((uint64_t)(t->last - t->first)) - t->octave - 1;
    mlc_value *u = t->spacing == MLC_FROM_FIRST ? mlc_q_binary(q, "Sub", v, mlc_q_scalar(q, t->first))
                                                : mlc_q_binary(q, "Sub", mlc_q_scalar(q, t->last), v);
    mlc_value *w = u ? mlc_q_shift_left(q, u, t->shift) : NULL;
    if (w && bits > 0) {
        mlc_value *high = mlc_q_binary(q, "ShiftRight", u, mlc_q_scalar(q, t->octave + 1));
        mlc_value *s = high ? mlc_q_node(q, "BitLength", &high, 1, NULL, NULL, 0) : NULL;
        w = s ? mlc_q_binary(q, "ShiftRight", w, s) : NULL;
        /* Never less than w: this tells its interval. */
        int64_t most = ((int64_t)2 << (t->octave + t->shift)) - 1;
        w = w ? mlc_q_binary(q, "Min", w, mlc_q_scalar(q, most)) : NULL;
        s = w ? mlc_q_shift_left(q, s, t->octave + t->shift) : NULL;
        w = s ? mlc_q_binary(q, "Add", s, w) : NULL;
    }
    return w ? table_node(q, w, 0, t) : NULL;
}
