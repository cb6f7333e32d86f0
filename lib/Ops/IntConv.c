/*
 * Conv: convolution of x [1,C,spatial...] with constant weights w [O,C/group,kernel...];
 * with attribute `pool` the largest result of each window of positions.
 */
#include "Int.h"
#include "IntLower.h"

enum { MAX_SPATIAL = 3 };

typedef struct conv {
    int rank;                  /* of the spatial part */
    int64_t channels, outputs; /* of one group */
    int64_t size[MAX_SPATIAL], kernel[MAX_SPATIAL], out[MAX_SPATIAL];
    int64_t stride[MAX_SPATIAL], dilation[MAX_SPATIAL], pad[MAX_SPATIAL];
    int64_t pool[MAX_SPATIAL], pool_stride[MAX_SPATIAL];
    int64_t in_area, kernel_area, out_area, pool_area; /* products of size, kernel, out, pool */
    int64_t pad_value;
} conv;

static void fill_attr(const mlc_node *node, const char *name, int64_t missing, int rank, int64_t *out) {
    int64_t n;
    const int64_t *x = mlc_attr_ints(node, name, &n);
    for (int d = 0; d < rank; d++)
        out[d] = n ? x[d] : missing;
}

static conv describe(const mlc_node *node) {
    const mlc_shape *x = &node->in[0]->shape, *w = &node->in[1]->shape, *y = &node->out[0]->shape;
    int64_t group = mlc_attr_int(node, "group", 1);
    conv c = {.rank = x->rank - 2,
              .channels = w->dim[1],
              .outputs = w->dim[0] / group,
              .in_area = 1,
              .kernel_area = 1,
              .out_area = 1,
              .pool_area = 1,
              .pad_value = mlc_attr_int(node, "pad_value", 0)};
    fill_attr(node, "strides", 1, c.rank, c.stride);
    fill_attr(node, "dilations", 1, c.rank, c.dilation);
    fill_attr(node, "pads", 0, c.rank, c.pad);
    fill_attr(node, "pool", 1, c.rank, c.pool);
    fill_attr(node, "pool_strides", 1, c.rank, c.pool_stride);
    for (int d = 0; d < c.rank; d++) {
        c.in_area *= c.size[d] = x->dim[2 + d];
        c.kernel_area *= c.kernel[d] = w->dim[2 + d];
        c.out_area *= c.out[d] = y->dim[2 + d];
        c.pool_area *= c.pool[d];
    }
    return c;
}

static bool check_ints(mlc_graph *g, mlc_node *node, const char *name, int rank, int64_t lo) {
    int64_t n;
    const int64_t *x = mlc_attr_ints(node, name, &n);
    if (n && n != rank)
        return mlc_error_at(g->diag, node, "attribute '%s' has %lld numbers, expected %d", name, (long long)n,
                            rank);
    for (int64_t d = 0; d < n; d++)
        if (x[d] < lo || x[d] > MLC_MAX_ELEMENTS)
            return mlc_error_at(g->diag, node, "attribute '%s' holds %lld, which is out of range", name,
                                (long long)x[d]);
    return true;
}

static bool check_pool(mlc_graph *g, mlc_node *node, int rank) {
    int64_t n, n_words;
    const int64_t *pool = mlc_attr_ints(node, "pool", &n);
    mlc_attr_ints(node, "words", &n_words);
    if (!check_ints(g, node, "pool", rank, 1) || !check_ints(g, node, "pool_strides", rank, 1))
        return false;
    for (int64_t d = 0, area = 1; d < n; d++)
        if ((area *= pool[d]) > MLC_MAX_ELEMENTS)
            return mlc_error_at(g->diag, node, "the windows of attribute 'pool' are too large");
    const conv c = describe(node);
    for (int d = 0; d < rank; d++)
        if (c.out[d] && (c.out[d] - 1) * c.pool_stride[d] + c.pool[d] > MLC_MAX_ELEMENTS)
            return mlc_error_at(g->diag, node, "the windows of attribute 'pool' reach too far");
    if (n && n_words && !mlc_attr_int(node, "lane", 0))
        return mlc_error_at(g->diag, node, "attributes 'pool' and 'words' need attribute 'lane'");
    return true;
}

static bool conv_check(mlc_graph *g, mlc_node *node) {
    if (!mlc_int_check(g, node) || !mlc_int_constant(g, node, 1) || !mlc_int_constant(g, node, 2))
        return false;
    const mlc_shape *x = &node->in[0]->shape, *w = &node->in[1]->shape, *bias = &node->in[2]->shape;
    const mlc_value *out = node->out[0];
    if (!out->shaped)
        return mlc_error_at(g->diag, node, "the shape of the output must be given");
    const mlc_shape *y = &out->shape;
    if (x->rank < 3 || x->rank > 2 + MAX_SPATIAL || w->rank != x->rank || y->rank != x->rank ||
        bias->rank != 1 || x->dim[0] != 1 || y->dim[0] != 1)
        return mlc_error_at(g->diag, node,
                            "shapes %s, %s, %s and %s, expected [1,C,...], [O,C/group,...], [O] and "
                            "[1,O,...]",
                            mlc_shape_str(g->arena, x), mlc_shape_str(g->arena, w),
                            mlc_shape_str(g->arena, bias), mlc_shape_str(g->arena, y));
    int64_t group = mlc_attr_int(node, "group", 1);
    if (group < 1 || w->dim[0] < 1 || w->dim[0] % group || w->dim[1] < 1 || x->dim[1] % group ||
        x->dim[1] / group != w->dim[1] || bias->dim[0] != w->dim[0] || y->dim[1] != w->dim[0])
        return mlc_error_at(g->diag, node, "channels of shapes %s, %s and %s do not match in %lld groups",
                            mlc_shape_str(g->arena, x), mlc_shape_str(g->arena, w),
                            mlc_shape_str(g->arena, y), (long long)group);
    for (int d = 2; d < w->rank; d++)
        if (w->dim[d] < 1)
            return mlc_error_at(g->diag, node, "the kernel is empty");
    int rank = x->rank - 2;
    return check_ints(g, node, "strides", rank, 1) && check_ints(g, node, "dilations", rank, 1) &&
           check_ints(g, node, "pads", rank, 0) && check_pool(g, node, rank) &&
           mlc_int_packing_check(g, node);
}

/* Coordinates of flat index i in a space of `size`. */
static void unflatten(int rank, const int64_t *size, int64_t i, int64_t *at) {
    for (int d = rank - 1; d >= 0; d--) {
        at[d] = i % size[d];
        i /= size[d];
    }
}

/* The element of x under kernel tap `tap` of channel k at position `window` of the window
 * of output element `index`; -1: padding. */
static int64_t source(const conv *c, int64_t index, int64_t window, int64_t k, int64_t tap) {
    int64_t to[MAX_SPATIAL], in[MAX_SPATIAL], at[MAX_SPATIAL];
    int64_t group = index / c->out_area / c->outputs, flat = group * c->channels + k;
    unflatten(c->rank, c->out, index % c->out_area, to);
    unflatten(c->rank, c->pool, window, in);
    unflatten(c->rank, c->kernel, tap, at);
    for (int d = 0; d < c->rank; d++) {
        int64_t from =
            (to[d] * c->pool_stride[d] + in[d]) * c->stride[d] + at[d] * c->dilation[d] - c->pad[d];
        if (from < 0 || from >= c->size[d])
            return -1;
        flat = flat * c->size[d] + from;
    }
    return flat;
}

/* One piece of code for all positions needs one interval for all of them. */
static void hull_of_positions(mlc_value *y, const conv *c) {
    for (int64_t i = 0, n = mlc_int_elements(y); i < n; i += c->out_area) {
        for (int64_t p = 1; p < c->out_area; p++) {
            if (y->lo[i + p] < y->lo[i])
                y->lo[i] = y->lo[i + p];
            if (y->hi[i + p] > y->hi[i])
                y->hi[i] = y->hi[i + p];
        }
        for (int64_t p = 1; p < c->out_area; p++) {
            y->lo[i + p] = y->lo[i];
            y->hi[i + p] = y->hi[i];
        }
    }
}

/* Of the accumulator at one position of a window. */
static bool position_interval(mlc_graph *g, mlc_node *node, const conv *c, int64_t i, int64_t window,
                              mlc_wide *out) {
    int64_t o = i / c->out_area, bias = node->in[2]->constant->i[o];
    const int64_t *row = node->in[1]->constant->i + o * c->channels * c->kernel_area;
    mlc_int_sum sum = {0};
    bool fits = mlc_int_sum_add(&sum, (mlc_wide){bias, bias});
    for (int64_t k = 0; k < c->channels; k++)
        for (int64_t tap = 0; tap < c->kernel_area && fits; tap++) {
            int64_t from = source(c, i, window, k, tap), weight = row[k * c->kernel_area + tap];
            mlc_wide x = {c->pad_value, c->pad_value};
            if (from >= 0)
                x = mlc_int_range(node->in[0], from);
            fits = mlc_int_sum_add(&sum, mlc_int_product((mlc_wide){weight, weight}, x));
        }
    *out = sum.total;
    return fits || mlc_int_overflow(g, node, i, "the accumulator", sum.partial);
}

/* Of a window, that of all its accumulators: they share the layout of lanes with their maximum. */
static bool conv_interval(mlc_graph *g, mlc_node *node) {
    conv c = describe(node);
    mlc_value *y = node->out[0];
    for (int64_t i = 0, n = mlc_int_elements(y); i < n; i++) {
        mlc_wide hull, one;
        for (int64_t window = 0; window < c.pool_area; window++) {
            if (!position_interval(g, node, &c, i, window, &one))
                return false;
            hull.lo = window ? mlc_int_min(hull.lo, one.lo) : one.lo;
            hull.hi = window ? mlc_int_max(hull.hi, one.hi) : one.hi;
        }
        if (!mlc_int_bound(g, node, i, hull))
            return false;
    }
    if (mlc_attr_int(node, "roll", 0))
        hull_of_positions(y, &c);
    for (int64_t i = 0, n = c.pool_area > 1 ? mlc_int_elements(y) : 0; i < n; i++) {
        mlc_wide difference = {0, (mlc_i128)y->hi[i] - mlc_int_lane_low(node, i / c.out_area, i)};
        if (!mlc_int_fits(difference.hi))
            return mlc_int_overflow(g, node, i, "the difference of two accumulators", difference);
    }
    return mlc_int_packing_fits(g, node);
}

/* Geometry with three spatial dimensions; missing ones have one position. */
static conv extend(conv c) {
    for (int d = c.rank; d < MAX_SPATIAL; d++) {
        c.size[d] = c.kernel[d] = c.out[d] = c.stride[d] = c.dilation[d] = c.pool[d] = c.pool_stride[d] = 1;
        c.pad[d] = 0;
    }
    return c;
}

/* The accumulator of channel o at a position. */
static int64_t accumulate(const conv *c, const int64_t *const *in, int64_t o, const int64_t position[3]) {
    const int64_t *w = in[1] + o * c->channels * c->kernel_area, *X = c->size, *W = c->kernel,
                  *D = c->dilation;
    int64_t sum = in[2][o], start[3];
    for (int d = 0; d < 3; d++)
        start[d] = position[d] * c->stride[d] - c->pad[d];
    for (int64_t k = 0; k < c->channels; k++) {
        const int64_t *x = in[0] + (o / c->outputs * c->channels + k) * c->in_area;
        for (int64_t a = start[0], i = 0; i < W[0]; i++, a += D[0])
            for (int64_t b = start[1], j = 0; j < W[1]; j++, b += D[1])
                for (int64_t e = start[2], h = 0; h < W[2]; h++, e += D[2]) {
                    bool inside = a >= 0 && a < X[0] && b >= 0 && b < X[1] && e >= 0 && e < X[2];
                    sum += *w++ * (inside ? x[(a * X[1] + b) * X[2] + e] : c->pad_value);
                }
    }
    return sum;
}

static void conv_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    conv c = extend(describe(node));
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        int64_t to[3], at[3], position[3], most = INT64_MIN;
        unflatten(3, c.out, i % c.out_area, to);
        for (int64_t window = 0; window < c.pool_area; window++) {
            unflatten(3, c.pool, window, at);
            for (int d = 0; d < 3; d++)
                position[d] = to[d] * c.pool_stride[d] + at[d];
            int64_t sum = accumulate(&c, in, i / c.out_area, position);
            most = sum > most ? sum : most;
        }
        out[i] = most;
    }
}

/* Bias and what padding contributes to output element i at a position of its window. */
static int64_t fixed_part(const conv *c, const mlc_node *node, int64_t i, int64_t window) {
    int64_t o = i / c->out_area, sum = node->in[2]->constant->i[o];
    const int64_t *row = node->in[1]->constant->i + o * c->channels * c->kernel_area;
    for (int64_t k = 0; c->pad_value && k < c->channels; k++)
        for (int64_t tap = 0; tap < c->kernel_area; tap++)
            if (source(c, i, window, k, tap) < 0)
                sum += row[k * c->kernel_area + tap] * c->pad_value;
    return sum;
}

/* The accumulators of a block at a position of its window. */
static void accumulate_block(mlc_lower *l, const conv *c, int64_t index, int64_t window,
                             mlc_int_block *block) {
    const mlc_node *node = block->node;
    const int64_t *w = node->in[1]->constant->i;
    int64_t weight[MLC_INT_WORDS * MLC_INT_LANES], fixed[MLC_INT_WORDS * MLC_INT_LANES];
    for (int64_t k = 0; k < c->channels; k++)
        for (int64_t tap = 0; tap < c->kernel_area; tap++) {
            int64_t from = source(c, index, window, k, tap);
            if (from < 0)
                continue;
            for (int j = 0; j < block->n; j++)
                weight[j] = w[(block->channel[j] * c->channels + k) * c->kernel_area + tap];
            mlc_int_block_add(l, block, node->in[0], from, weight);
        }
    for (int j = 0; j < block->n; j++)
        fixed[j] = fixed_part(c, node, block->out[j], window);
    mlc_int_block_close(l, block, fixed);
}

/* A block is channels of one group at one position: they read the same inputs. */
static void *conv_lower(mlc_lower *l, const mlc_node *node, int64_t index) {
    conv c = describe(node);
    const mlc_int_block empty = mlc_int_block_of(node, index / c.out_area, c.outputs,
                                                 node->in[1]->shape.dim[0], index % c.out_area, c.out_area);
    mlc_int_block most = empty;
    accumulate_block(l, &c, index, 0, &most);
    for (int64_t window = 1; window < c.pool_area; window++) {
        mlc_int_block next = empty;
        accumulate_block(l, &c, index, window, &next);
        mlc_int_block_max(l, &most, &next);
    }
    mlc_int_block_finish(l, &most);
    return NULL;
}

/* All channels of a position before the next position. */
static int64_t conv_order(const mlc_node *node, int64_t step) {
    conv c = describe(node);
    int64_t channels = node->in[1]->shape.dim[0];
    return mlc_int_packing_order(node, step % channels) * c.out_area + step / channels;
}

static int64_t conv_reads(const mlc_node *node, int k) {
    conv c = describe(node);
    return k == 0 ? c.kernel_area * c.outputs * c.pool_area : 1;
}

static int64_t conv_cost(const mlc_node *node) {
    conv c = describe(node);
    return mlc_int_cost_weights(node) * c.pool_area;
}

static mlc_node *conv_generate(mlc_graph *g, mlc_rng *rng) {
    int rank = (int)mlc_rng_range(rng, 1, MAX_SPATIAL);
    int64_t group = mlc_rng_range(rng, 1, 2), channels = mlc_rng_range(rng, 1, 3),
            outputs = mlc_rng_range(rng, 1, 5);
    mlc_shape x = {.rank = rank + 2, .dim = {1, group * channels}};
    mlc_shape w = {.rank = rank + 2, .dim = {group * outputs, channels}};
    mlc_shape y = {.rank = rank + 2, .dim = {1, group * outputs}};
    bool strided = mlc_int_chance(rng, 3), dilated = mlc_int_chance(rng, 3), padded = mlc_int_chance(rng, 2);
    bool pooled = mlc_int_chance(rng, 2);
    int64_t strides[MAX_SPATIAL], dilations[MAX_SPATIAL], pads[MAX_SPATIAL], pool[MAX_SPATIAL],
        pool_strides[MAX_SPATIAL], macs = group * outputs * channels;
    for (int d = 0; d < rank; d++) {
        strides[d] = strided ? mlc_rng_range(rng, 1, 3) : 1;
        dilations[d] = dilated ? mlc_rng_range(rng, 1, 2) : 1;
        pads[d] = padded ? mlc_rng_range(rng, 0, 3) : 0;
        pool[d] = pooled ? mlc_rng_range(rng, 1, 3) : 1;
        pool_strides[d] = pooled ? mlc_rng_range(rng, 1, 3) : 1;
        x.dim[2 + d] = mlc_rng_range(rng, 1, 6);
        w.dim[2 + d] = mlc_rng_range(rng, 1, 4 - rank + 1);
        /* The last position has its first tap in the input, or just behind it. */
        y.dim[2 + d] = mlc_rng_range(rng, 1, (x.dim[2 + d] + pads[d]) / strides[d] / pool_strides[d] + 1);
        macs *= w.dim[2 + d] * y.dim[2 + d] * pool[d];
    }
    for (int d = 2; d < y.rank; d++)
        for (; macs > 300 && y.dim[d] > 1; y.dim[d]--)
            macs = macs / y.dim[d] * (y.dim[d] - 1);
    mlc_shape bias = mlc_int_vector(group * outputs);
    mlc_value *in[3] = {mlc_int_random_input(g, rng, &x, INT64_MIN, INT64_MAX),
                        mlc_int_random_constant(g, rng, &w), mlc_int_random_constant(g, rng, &bias)};
    mlc_node *node = mlc_int_random_node(g, "Conv", in, 3);
    node->out[0]->shape = y;
    node->out[0]->shaped = true;
    if (group > 1 || mlc_int_chance(rng, 2))
        mlc_attr_set_int(g, node, "group", group);
    if (strided)
        mlc_attr_set_ints(g, node, "strides", strides, rank);
    if (dilated)
        mlc_attr_set_ints(g, node, "dilations", dilations, rank);
    if (padded)
        mlc_attr_set_ints(g, node, "pads", pads, rank);
    if (pooled) {
        mlc_attr_set_ints(g, node, "pool", pool, rank);
        mlc_attr_set_ints(g, node, "pool_strides", pool_strides, rank);
    }
    if (padded && mlc_int_chance(rng, 2))
        mlc_attr_set_int(g, node, "pad_value",
                         mlc_int_chance(rng, 4) ? mlc_int_random_number(rng) : mlc_rng_range(rng, -255, 255));
    return mlc_int_random_packing(g, mlc_int_settle(g, node, 7), rng);
}

MLC_OPS(IntConv,
        {.domain = "mlc",
         .name = "Conv",
         .since = 1,
         .doc = "convolution; inputs x [1,C,...], w [O,C/group,...], bias [O]; pads are those at the begin",
         .min_in = 3,
         .max_in = 3,
         .min_out = 1,
         .max_out = 1,
         .attrs = (const mlc_attr_spec[]){{"strides", MLC_ATTR_INTS},
                                          {"dilations", MLC_ATTR_INTS},
                                          {"pads", MLC_ATTR_INTS},
                                          {"group", MLC_ATTR_INT},
                                          {"pad_value", MLC_ATTR_INT},
                                          {"pool", MLC_ATTR_INTS},
                                          {"pool_strides", MLC_ATTR_INTS},
                                          {"roll", MLC_ATTR_INT},
                                          MLC_INT_PACKING_ATTRS,
                                          {0}},
         .check = conv_check,
         .interval = conv_interval,
         .eval_int = conv_eval,
         .lower = conv_lower,
         .block = true,
         .reads = conv_reads,
         .cost = conv_cost,
         .order = conv_order,
         .generate = conv_generate});
