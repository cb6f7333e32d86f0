/* Rolled dense layers whose outputs are limited without a table, some at once. */
#include "DenseLanes.h"
#include "Ops/IntClamp.h"

enum { GROUP = MLC_INT_CLAMPED, PITCH = 64 / GROUP };

/* Weights that are shifted further leave no room for others. */
enum { MOST_SHIFT = 16 };

bool mlc_dense_clamps(const mlc_node *requantize, const mlc_node *linear) {
    int64_t N = linear->in[1]->shape.dim[0], elements = mlc_shape_elements(&requantize->out[0]->shape);
    if (linear->op != mlc_iop("Linear") || requantize->in[0] != linear->out[0] ||
        (elements != N && N % GROUP))
        return false;
    int64_t most = mlc_int_clamp_most(requantize);
    for (int64_t i = N; most && i < elements; i++) {
        mlc_int_numbers a = mlc_int_clamp_numbers(requantize, i, most),
                        b = mlc_int_clamp_numbers(requantize, i - N, most);
        if (a.shift != b.shift || a.zero != b.zero)
            return false;
    }
    return most > 0;
}

/* The shift that the outputs of n's group have in common: they have two at most, which follow one another. */
static int common_shift(const mlc_dense *d, const mlc_int_numbers *numbers, int64_t n) {
    int64_t first = n / GROUP * GROUP, end = first + GROUP < d->outputs ? first + GROUP : d->outputs;
    int most = 0;
    bool alike = true;
    for (int64_t i = first; i < end; i++) {
        int shift = numbers[i].shift;
        alike = alike && shift == numbers[first].shift;
        most = shift > most ? shift : most;
    }
    return alike ? most : most - 1;
}

/* Outputs with smaller shifts are scaled: (x << d) >> (s + d) is x >> s. */
static bool scale_groups(mlc_lower *l, mlc_dense *d) {
    mlc_dense_limits *limits = &d->limits;
    int64_t *w = MLC_NEW_ARRAY(l->arena, d->outputs * d->inputs, int64_t),
            *bias = MLC_NEW_ARRAY(l->arena, d->outputs, int64_t),
            *slack = MLC_NEW_ARRAY(l->arena, d->outputs, int64_t);
    limits->shift = MLC_NEW_ARRAY(l->arena, d->outputs, int);
    limits->zero = MLC_NEW_ARRAY(l->arena, d->outputs, int64_t);
    limits->halved = MLC_NEW_ARRAY(l->arena, d->outputs, bool);
    mlc_int_numbers *numbers = MLC_NEW_ARRAY(l->arena, d->outputs, mlc_int_numbers);
    for (int64_t n = 0; n < d->outputs; n++)
        numbers[n] = mlc_int_clamp_numbers(d->requantize, n, limits->most);
    for (int64_t n = 0; n < d->outputs; n++) {
        int own = numbers[n].shift, common = common_shift(d, numbers, n),
            by = common > own ? common - own : 0;
        if (common >= MOST_SHIFT)
            return false;
        limits->zero[n] = numbers[n].zero;
        limits->shift[n] = common;
        limits->halved[n] = own > common;
        limits->any_halved = limits->any_halved || own > common;
        slack[n] = ((int64_t)1 << (own + by)) - 1;
        bias[n] = (int64_t)((uint64_t)d->bias[n] << by);
        for (int64_t k = n * d->inputs; k < (n + 1) * d->inputs; k++)
            w[k] = (int64_t)((uint64_t)d->w[k] << by);
    }
    d->w = w;
    d->bias = bias;
    d->slack = slack;
    return true;
}

/* Lower bounds of the chunks' sums, which together are a multiple of the step. Returns it in steps. */
static int64_t choose_low(mlc_dense *d, int64_t n) {
    mlc_dense_wide total = d->bias[n];
    for (int64_t c = 0; c < d->n_chunks; c++) {
        mlc_dense_wide low = mlc_dense_lowest(d, n, d->chunk[c], d->chunk[c + 1]);
        total += low;
        d->low[c * d->outputs + n] = (int64_t)(uint64_t)(low + (c ? 0 : d->bias[n]));
    }
    d->low[n] -= (int64_t)(total & d->slack[n]);
    return (int64_t)(total >> (d->limits.shift[n] + d->limits.halved[n]));
}

/* The numbers of output n over all rows, less their zero, have room in a group. */
static bool has_room(const mlc_dense *d, int64_t n, int64_t low) {
    const int64_t half = (int64_t)1 << (PITCH - 1);
    for (int64_t row = 0; row < d->rows; row++) {
        mlc_int_numbers t = mlc_int_clamp_numbers(d->requantize, row * d->outputs + n, d->limits.most);
        if (t.first - t.zero < -half + d->limits.most + 1 || t.last - t.zero >= half || t.first < low ||
            (t.last - low) >> (PITCH - d->limits.halved[n]))
            return false;
    }
    return true;
}

bool mlc_dense_clamp(mlc_lower *l, mlc_dense *d, double most) {
    mlc_dense c = *d;
    if (!d->requantize || d->pattern->node != d->requantize || !mlc_dense_clamps(d->requantize, d->node) ||
        8 * l->cg->layout.place[d->requantize->out[0]->id].storage.width != PITCH)
        return false;
    c.limits.most = mlc_int_clamp_most(d->requantize);
    c.limits.bits = mlc_dense_bits(c.limits.most);
    if (!scale_groups(l, &c))
        return false;
    if (mlc_dense_choose_lanes(l, &c) > most)
        return false;
    c.low = MLC_NEW_ARRAY(l->arena, c.n_chunks * c.outputs, int64_t);
    for (int64_t n = 0; n < c.outputs; n++) {
        int64_t low = choose_low(&c, n);
        if (!has_room(&c, n, low))
            return false;
        c.limits.zero[n] -= low;
    }
    *d = c;
    return true;
}
