/* What rolled dense layers do behind their lanes. */
#include "DenseLanes.h"

#include <string.h>

/* In multiplications: what it costs to look up the shift of an output. */
#define SHIFT_COST 1.5

static int own_shift(const mlc_node *requantize, int64_t i) {
    const mlc_value *shift = requantize->in[1];
    return (int)shift->constant->i[mlc_shape_broadcast_index(&shift->shape, &requantize->out[0]->shape, i)];
}

/* Of output n, after scaling. */
static int shift_of(const mlc_dense *d, int64_t n) {
    return d->shift_column < 0 ? d->shift : own_shift(d->requantize, n);
}

/* Exact lower bounds of all chunks, one that is common to all outputs where the
 * lanes of a single chunk have room for that. It then need not be looked up, and it
 * is a multiple of the table's step, so that the lane's upper bits are the index. */
static void choose_low(mlc_lower *l, mlc_dense *d) {
    int64_t first = d->requantize ? mlc_attr_int(d->requantize, "first", 0) : 0;
    d->low = MLC_NEW_ARRAY(l->arena, d->n_chunks * d->outputs, int64_t);
    d->low_column = -1;
    d->all_low = (int64_t)(0 - ((uint64_t)first << d->shift));
    if (d->lanes == 1 && d->shift_column < 0)
        return;
    mlc_dense_wide *total = MLC_NEW_ARRAY(l->arena, d->outputs, mlc_dense_wide), least = 0, most = 0;
    for (int64_t n = 0; n < d->outputs && d->lanes > 1; n++) {
        total[n] = d->bias[n];
        for (int64_t c = 0; c < d->n_chunks; c++) {
            mlc_dense_wide low = mlc_dense_lowest(d, n, d->chunk[c], d->chunk[c + 1]);
            total[n] += low;
            d->low[c * d->outputs + n] = (int64_t)(uint64_t)(low + (c ? 0 : d->bias[n]));
        }
        least = n == 0 || total[n] < least ? total[n] : least;
    }
    least -= least & (((mlc_dense_wide)1 << d->shift) - 1);
    for (int64_t n = 0; n < d->outputs; n++) {
        mlc_dense_wide s = total[n] - least + mlc_dense_spread(d, n, 0, d->inputs);
        most = s > most ? s : most;
    }
    if (d->n_chunks == 1 && most >> d->width == 0 && d->shift_column < 0) {
        d->all_low = (int64_t)((uint64_t)least + (uint64_t)d->all_low);
        d->direct = d->requantize && d->all_low >= 0;
        for (int64_t n = 0; n < d->outputs; n++)
            d->low[n] = (int64_t)(uint64_t)least;
        return;
    }
    int64_t *column = MLC_NEW_ARRAY(l->arena, d->rows * d->outputs, int64_t);
    for (int64_t i = 0; i < d->rows * d->outputs; i++) {
        int64_t n = i % d->outputs;
        column[i] = (int64_t)((uint64_t)total[n] - ((uint64_t)first << shift_of(d, n)));
    }
    d->low_column = mlc_pattern_add_column(l, d->pattern, column);
}

/* A Requantize that treats all rows alike. */
static bool fits(const mlc_node *requantize, int64_t outputs) {
    if (requantize->op != mlc_iop("Requantize"))
        return false;
    for (int64_t i = outputs; i < mlc_shape_elements(&requantize->out[0]->shape); i++)
        if (own_shift(requantize, i) != own_shift(requantize, i - outputs))
            return false;
    return true;
}

const mlc_node *mlc_dense_bottom(const mlc_lower *l, const mlc_node *node, const mlc_node *linear) {
    for (const mlc_node *n = node, *next; n && n != linear; n = next) {
        next = NULL;
        for (int k = 0; k < n->n_in && !next; k++) {
            const mlc_value *x = n->in[k];
            if (x->producer && l->cg->layout.place[x->id].area == MLC_AREA_NONE &&
                mlc_lower_root(l, x->producer) == linear)
                next = x->producer;
        }
        if (next == linear && fits(n, linear->in[1]->shape.dim[0]))
            return n;
    }
    return linear;
}

/* Differences of shifts beyond any use; bits that scaled sums may have. */
enum { MAX_SCALING = 30, MAX_SCALED_BITS = 62 };

/* (x << d) >> (s + d) is x >> s: outputs scaled to the largest shift need not look up
 * their own. False where that is impossible or there is nothing to scale. */
static bool scale(mlc_lower *l, mlc_dense *d) {
    if (!d->requantize)
        return false;
    int least = 63, most = 0;
    for (int64_t n = 0; n < d->outputs; n++) {
        int s = own_shift(d->requantize, n);
        least = s < least ? s : least;
        most = s > most ? s : most;
    }
    d->shift = most;
    if (least == most)
        return true;
    int64_t first = mlc_attr_int(d->requantize, "first", 0),
            entries = mlc_shape_elements(&d->requantize->in[2]->shape);
    int bits = mlc_dense_bits((first < 0 ? -(mlc_dense_wide)first : (mlc_dense_wide)first) + entries);
    if (most - least > MAX_SCALING || most + bits > MAX_SCALED_BITS)
        return false;
    int64_t *w = MLC_NEW_ARRAY(l->arena, d->outputs * d->inputs, int64_t),
            *bias = MLC_NEW_ARRAY(l->arena, d->outputs, int64_t);
    for (int64_t n = 0; n < d->outputs; n++) {
        int by = most - own_shift(d->requantize, n);
        bias[n] = (int64_t)((uint64_t)d->bias[n] << by);
        for (int64_t k = n * d->inputs; k < (n + 1) * d->inputs; k++)
            w[k] = (int64_t)((uint64_t)d->w[k] << by);
    }
    d->w = w;
    d->bias = bias;
    return true;
}

static void look_up_shifts(mlc_lower *l, mlc_dense *d) {
    int64_t *column = MLC_NEW_ARRAY(l->arena, d->rows * d->outputs, int64_t);
    for (int64_t i = 0; i < d->rows * d->outputs; i++)
        column[i] = own_shift(d->requantize, i % d->outputs);
    d->shift = 0;
    d->shift_column = mlc_pattern_add_column(l, d->pattern, column);
}

mlc_dense mlc_dense_plan(mlc_lower *l, mlc_pattern *p, const mlc_node *linear) {
    mlc_dense d = {.node = linear,
                   .requantize = p->bottom == linear ? NULL : p->bottom,
                   .shift_column = -1,
                   .apart = 1,
                   .low_column = -1,
                   .w = linear->in[1]->constant->i,
                   .bias = linear->in[2]->constant->i,
                   .pattern = p,
                   .x = l->cg->layout.place[linear->in[0]->id],
                   .outputs = linear->in[1]->shape.dim[0],
                   .inputs = linear->in[1]->shape.dim[1]};
    d.rows = mlc_shape_elements(&linear->in[0]->shape) / d.inputs;
    d.row = d.inputs;
    d.counted = !mlc_loop_is_free(l);
    d.range = mlc_dense_inputs(l, &d);
    mlc_dense limited = d;
    d.counted = !mlc_loop_is_free(l) || d.requantize || mlc_pattern_looks_up(p);
    mlc_dense scaled = d;
    double cost = mlc_dense_choose_lanes(l, &d);
    if (mlc_dense_clamp(l, &limited, 1.1 * cost + SHIFT_COST))
        return limited;
    if (scale(l, &scaled) && mlc_dense_choose_lanes(l, &scaled) <= cost + SHIFT_COST)
        d = scaled;
    else if (d.requantize)
        look_up_shifts(l, &d);
    choose_low(l, &d);
    return d;
}
