/*
 * INTEGER: chooses the convolutions whose positions share one piece of code
 * (attribute `roll`). Unrolled, a convolution costs an instruction or more for
 * every multiplication at every position; rolled, only for those at one position.
 * All positions must then look alike: padding is written out as data, and
 * intervals are hulls over the positions of a channel.
 */
#include "Passes.h"

#include "mlc/cost.h"
#include "mlc/op.h"

#include <string.h>

/* Fewer positions are not worth a loop. */
enum { LEAST_POSITIONS = 4 };

static int64_t attr_at(const mlc_node *node, const char *name, int d, int64_t missing) {
    int64_t n;
    const int64_t *x = mlc_attr_ints(node, name, &n);
    return n ? x[d] : missing;
}

/* Positions that the kernel reaches in dimension d of the padded input. */
static int64_t reach(const mlc_node *node, int d) {
    int64_t last = (node->out[0]->shape.dim[2 + d] - 1) * attr_at(node, "pool_strides", d, 1) +
                   attr_at(node, "pool", d, 1) - 1;
    return last * attr_at(node, "strides", d, 1) +
           (node->in[1]->shape.dim[2 + d] - 1) * attr_at(node, "dilations", d, 1) + 1;
}

static bool worth(const mlc_node *node, char level, mlc_unroll unroll) {
    const mlc_value *y = node->out[0];
    int64_t elements = mlc_shape_elements(&y->shape), channels = y->shape.dim[1];
    if (channels == 0 || elements / channels < LEAST_POSITIONS)
        return false;
    if (unroll != MLC_UNROLL_AUTO)
        return unroll == MLC_UNROLL_NONE;
    return level != '0' && node->op->cost(node) * elements >= mlc_least_conv(level);
}

/* The input with its padding as data, and no larger than the kernel reaches. */
static void write_out_padding(mlc_graph *g, mlc_node *node) {
    mlc_value *x = node->in[0];
    mlc_shape padded = x->shape;
    int rank = padded.rank - 2;
    for (int d = 0; d < rank; d++)
        padded.dim[2 + d] = reach(node, d);
    int64_t n = mlc_shape_elements(&padded), outside = mlc_shape_elements(&x->shape), strides[MLC_MAX_RANK];
    mlc_shape_strides(&x->shape, strides);
    mlc_tensor *index = mlc_tensor_create(g->arena, MLC_INT64, &padded);
    for (int64_t i = 0; i < n; i++) {
        int64_t rest = i, flat = 0;
        bool inside = true;
        for (int d = padded.rank - 1; d >= 0; d--) {
            int64_t at = rest % padded.dim[d] - (d >= 2 ? attr_at(node, "pads", d - 2, 0) : 0);
            rest /= padded.dim[d];
            inside = inside && at >= 0 && at < x->shape.dim[d];
            flat += at * strides[d];
        }
        index->i[i] = inside ? flat : outside;
    }
    mlc_tensor *fill = mlc_tensor_scalar_i(g->arena, mlc_attr_int(node, "pad_value", 0));
    mlc_value *out = mlc_graph_value(g, NULL);
    mlc_value *in[3] = {x, mlc_graph_constant(g, NULL, fill), mlc_graph_constant(g, NULL, index)};
    mlc_node *gather = mlc_graph_insert(g, node, mlc_iop("Gather"), NULL, in, 3, &out, 1);
    gather->origin = node->origin;
    out->dtype = MLC_INT64;
    out->shape = padded;
    out->shaped = true;
    out->scale = x->scale;
    out->lo = MLC_NEW_ARRAY(g->arena, n + 1, int64_t);
    out->hi = MLC_NEW_ARRAY(g->arena, n + 1, int64_t);
    if (x->err) {
        out->err = MLC_NEW_ARRAY(g->arena, n + 1, double);
        for (int64_t i = 0; i < n; i++)
            if (index->i[i] < outside)
                out->err[i] = x->err[index->i[i]];
    }
    node->in[0] = out;
    int64_t *zero = MLC_NEW_ARRAY(g->arena, rank, int64_t);
    mlc_attr_set_ints(g, node, "pads", zero, rank);
}

static bool needs_copy(const mlc_node *node, bool packet) {
    const mlc_value *x = node->in[0];
    for (int d = 0; d < x->shape.rank - 2; d++)
        if (attr_at(node, "pads", d, 0) != 0 || reach(node, d) > x->shape.dim[2 + d])
            return true;
    /* The body reads its input from memory, at an offset; packet features are scattered. */
    return packet || x->constant || (x->producer && x->producer->op == mlc_iop("Gather"));
}

/* Hulls are wider than single intervals: where a later node then cannot be proved
 * any more, the convolution stays unrolled. */
static void roll(mlc_graph *g, mlc_node *node, bool packet) {
    mlc_value *x = node->in[0];
    int64_t n;
    const int64_t *pads = mlc_attr_ints(node, "pads", &n);
    if (needs_copy(node, packet))
        write_out_padding(g, node);
    mlc_attr_set_int(g, node, "roll", 1);
    if (mlc_intervals_provable(g))
        return;
    node->in[0] = x;
    mlc_attr_set_int(g, node, "roll", 0);
    if (n)
        mlc_attr_set_ints(g, node, "pads", pads, n);
    mlc_graph_sweep(g);
    mlc_intervals_provable(g); /* what it was before */
}

mlc_graph *mlc_pass_roll(mlc_graph *g, mlc_pass_context *context) {
    MLC_FOR_NODES (g, node)
        if (node->op == mlc_iop("Conv") && worth(node, context->options->opt_level, context->options->unroll))
            roll(g, node, context->binding != NULL);
    return g;
}
