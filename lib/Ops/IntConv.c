/* Conv: convolution of x [1,C,spatial...] with constant weights w [O,C/group,kernel...]. */
#include "Int.h"
#include "IntLower.h"

enum { MAX_SPATIAL = 3 };

typedef struct conv {
    int rank;                  /* of the spatial part */
    int64_t channels, outputs; /* of one group */
    int64_t size[MAX_SPATIAL], kernel[MAX_SPATIAL], out[MAX_SPATIAL];
    int64_t stride[MAX_SPATIAL], dilation[MAX_SPATIAL], pad[MAX_SPATIAL];
    int64_t in_area, kernel_area, out_area; /* products of size, kernel, out */
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
              .pad_value = mlc_attr_int(node, "pad_value", 0)};
    fill_attr(node, "strides", 1, c.rank, c.stride);
    fill_attr(node, "dilations", 1, c.rank, c.dilation);
    fill_attr(node, "pads", 0, c.rank, c.pad);
    for (int d = 0; d < c.rank; d++) {
        c.in_area *= c.size[d] = x->dim[2 + d];
        c.kernel_area *= c.kernel[d] = w->dim[2 + d];
        c.out_area *= c.out[d] = y->dim[2 + d];
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
           check_ints(g, node, "pads", rank, 0) && mlc_int_packing_check(g, node);
}

/* Coordinates of flat index i in a space of `size`. */
static void unflatten(int rank, const int64_t *size, int64_t i, int64_t *at) {
    for (int d = rank - 1; d >= 0; d--) {
        at[d] = i % size[d];
        i /= size[d];
    }
}

/* The element of x under kernel tap `tap` of channel k at output element `index`; -1: padding. */
static int64_t source(const conv *c, int64_t index, int64_t k, int64_t tap) {
    int64_t to[MAX_SPATIAL], at[MAX_SPATIAL];
    int64_t group = index / c->out_area / c->outputs, flat = group * c->channels + k;
    unflatten(c->rank, c->out, index % c->out_area, to);
    unflatten(c->rank, c->kernel, tap, at);
    for (int d = 0; d < c->rank; d++) {
        int64_t from = to[d] * c->stride[d] + at[d] * c->dilation[d] - c->pad[d];
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

static bool conv_interval(mlc_graph *g, mlc_node *node) {
    const int64_t *w = node->in[1]->constant->i, *bias = node->in[2]->constant->i;
    conv c = describe(node);
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        int64_t o = i / c.out_area;
        const int64_t *row = w + o * c.channels * c.kernel_area;
        mlc_int_sum sum = {0};
        bool fits = mlc_int_sum_add(&sum, (mlc_wide){bias[o], bias[o]});
        for (int64_t k = 0; k < c.channels; k++)
            for (int64_t tap = 0; tap < c.kernel_area && fits; tap++) {
                int64_t from = source(&c, i, k, tap), weight = row[k * c.kernel_area + tap];
                mlc_wide x = {c.pad_value, c.pad_value};
                if (from >= 0)
                    x = mlc_int_range(node->in[0], from);
                fits = mlc_int_sum_add(&sum, mlc_int_product((mlc_wide){weight, weight}, x));
            }
        if (!fits)
            return mlc_int_overflow(g, node, i, "the accumulator", sum.partial);
        if (!mlc_int_bound(g, node, i, sum.total))
            return false;
    }
    if (mlc_attr_int(node, "roll", 0))
        hull_of_positions(node->out[0], &c);
    return mlc_int_packing_fits(g, node);
}

/* Plain loops over three spatial dimensions; missing ones have one position. */
static void conv_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    conv c = describe(node);
    int64_t X[3] = {1, 1, 1}, W[3] = {1, 1, 1}, Y[3] = {1, 1, 1}, S[3] = {1, 1, 1}, D[3] = {1, 1, 1},
            P[3] = {0};
    for (int d = 0; d < c.rank; d++) {
        X[d] = c.size[d], W[d] = c.kernel[d], Y[d] = c.out[d];
        S[d] = c.stride[d], D[d] = c.dilation[d], P[d] = c.pad[d];
    }
    for (int64_t o = 0; o < node->out[0]->shape.dim[1]; o++)
        for (int64_t p = 0; p < Y[0]; p++)
            for (int64_t q = 0; q < Y[1]; q++)
                for (int64_t r = 0; r < Y[2]; r++) {
                    int64_t sum = in[2][o];
                    const int64_t *w = in[1] + o * c.channels * W[0] * W[1] * W[2];
                    for (int64_t k = 0; k < c.channels; k++) {
                        const int64_t *x = in[0] + (o / c.outputs * c.channels + k) * X[0] * X[1] * X[2];
                        for (int64_t a = p * S[0] - P[0], i = 0; i < W[0]; i++, a += D[0])
                            for (int64_t b = q * S[1] - P[1], j = 0; j < W[1]; j++, b += D[1])
                                for (int64_t e = r * S[2] - P[2], h = 0; h < W[2]; h++, e += D[2]) {
                                    bool inside =
                                        a >= 0 && a < X[0] && b >= 0 && b < X[1] && e >= 0 && e < X[2];
                                    sum += *w++ * (inside ? x[(a * X[1] + b) * X[2] + e] : c.pad_value);
                                }
                    }
                    *out++ = sum;
                }
}

/* Bias and what padding contributes to output element i. */
static int64_t fixed_part(const conv *c, const mlc_node *node, int64_t i) {
    int64_t o = i / c->out_area, sum = node->in[2]->constant->i[o];
    const int64_t *row = node->in[1]->constant->i + o * c->channels * c->kernel_area;
    for (int64_t k = 0; c->pad_value && k < c->channels; k++)
        for (int64_t tap = 0; tap < c->kernel_area; tap++)
            if (source(c, i, k, tap) < 0)
                sum += row[k * c->kernel_area + tap] * c->pad_value;
    return sum;
}

/* A block is neighbouring channels of one group at one position: they read the same inputs. */
static void *conv_lower(mlc_lower *l, const mlc_node *node, int64_t index) {
    conv c = describe(node);
    const int64_t *w = node->in[1]->constant->i;
    mlc_int_block block = mlc_int_block_of(node, index / c.out_area, c.outputs, node->in[1]->shape.dim[0],
                                           index % c.out_area, c.out_area);
    int64_t weight[MLC_INT_WORDS * MLC_INT_LANES], fixed[MLC_INT_WORDS * MLC_INT_LANES];
    for (int64_t k = 0; k < c.channels; k++)
        for (int64_t tap = 0; tap < c.kernel_area; tap++) {
            int64_t from = source(&c, index, k, tap);
            if (from < 0)
                continue;
            for (int j = 0; j < block.n; j++)
                weight[j] = w[(block.channel[j] * c.channels + k) * c.kernel_area + tap];
            mlc_int_block_add(l, &block, node->in[0], from, weight);
        }
    for (int j = 0; j < block.n; j++)
        fixed[j] = fixed_part(&c, node, block.out[j]);
    mlc_int_block_finish(l, &block, fixed);
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
    return k == 0 ? c.kernel_area * c.outputs : 1;
}

static mlc_node *conv_generate(mlc_graph *g, mlc_rng *rng) {
    int rank = (int)mlc_rng_range(rng, 1, MAX_SPATIAL);
    int64_t group = mlc_rng_range(rng, 1, 2), channels = mlc_rng_range(rng, 1, 3),
            outputs = mlc_rng_range(rng, 1, 5);
    mlc_shape x = {.rank = rank + 2, .dim = {1, group * channels}};
    mlc_shape w = {.rank = rank + 2, .dim = {group * outputs, channels}};
    mlc_shape y = {.rank = rank + 2, .dim = {1, group * outputs}};
    bool strided = mlc_int_chance(rng, 3), dilated = mlc_int_chance(rng, 3), padded = mlc_int_chance(rng, 2);
    int64_t strides[MAX_SPATIAL], dilations[MAX_SPATIAL], pads[MAX_SPATIAL],
        macs = group * outputs * channels;
    for (int d = 0; d < rank; d++) {
        strides[d] = strided ? mlc_rng_range(rng, 1, 3) : 1;
        dilations[d] = dilated ? mlc_rng_range(rng, 1, 2) : 1;
        pads[d] = padded ? mlc_rng_range(rng, 0, 3) : 0;
        x.dim[2 + d] = mlc_rng_range(rng, 1, 6);
        w.dim[2 + d] = mlc_rng_range(rng, 1, 4 - rank + 1);
        /* The last position has its first tap in the input, or just behind it. */
        y.dim[2 + d] = mlc_rng_range(rng, 1, (x.dim[2 + d] + pads[d]) / strides[d] + 1);
        macs *= w.dim[2 + d] * y.dim[2 + d];
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
                                          {"roll", MLC_ATTR_INT},
                                          MLC_INT_PACKING_ATTRS,
                                          {0}},
         .check = conv_check,
         .interval = conv_interval,
         .eval_int = conv_eval,
         .lower = conv_lower,
         .block = true,
         .reads = conv_reads,
         .cost = mlc_int_cost_weights,
         .order = conv_order,
         .generate = conv_generate});
