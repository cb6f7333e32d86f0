/*
 * INTEGER: a Rescale by an integer and another one behind it become one, also
 * through limits and reshapes between them. Exactly so, element by element:
 *
 *   ((x*m + a)*M + A) >> s        ==  (x*(m*M) + (a*M + A)) >> s
 *   (min(x, c)*M + A) >> s        ==  min((x*M + A) >> s, (c*M + A) >> s)    M > 0
 */
#include "Passes.h"

#include "mlc/op.h"

/* Operands are written out for every element; larger tensors stay as they are. */
enum { MAX_ELEMENTS = 4096, MAX_LIMITS = 8 };

__extension__ typedef __int128 i128;

/* x -> (x * multiplier + addend) >> shift, and the limits behind it, the last first. */
typedef struct composed {
    mlc_value *x;
    int64_t n;
    int64_t *multiplier, *addend;
    int shift, rescales, n_limits;
    const mlc_op *op[MAX_LIMITS];
    int64_t *limit[MAX_LIMITS];
} composed;

static bool fits(i128 x) {
    return x >= INT64_MIN && x <= INT64_MAX;
}

/* Operand k of `node` for element i of its output. */
static int64_t operand(const mlc_node *node, int k, int64_t i) {
    const mlc_value *v = node->in[k];
    return v->constant->i[mlc_shape_broadcast_index(&v->shape, &node->out[0]->shape, i)];
}

static bool same_size(const mlc_node *node, int k, int64_t n) {
    return mlc_shape_elements(&node->in[k]->shape) == n && mlc_shape_elements(&node->out[0]->shape) == n;
}

/* Puts `node`, a Rescale without shift, in front. */
static bool absorb_rescale(composed *c, const mlc_node *node) {
    for (int64_t i = 0; i < c->n; i++) {
        int64_t m = operand(node, 1, i), a = operand(node, 2, i);
        i128 product = (i128)m * c->multiplier[i], sum = (i128)a * c->multiplier[i] + c->addend[i];
        if (m <= 0 || !fits(product) || !fits(sum))
            return false;
        c->multiplier[i] = (int64_t)product;
        c->addend[i] = (int64_t)sum;
    }
    c->rescales++;
    return true;
}

/* Puts `node`, a Max or Min with a constant, behind. */
static bool absorb_limit(mlc_graph *g, composed *c, const mlc_node *node, int k) {
    if (c->n_limits == MAX_LIMITS)
        return false;
    int64_t *limit = MLC_NEW_ARRAY(g->arena, c->n + 1, int64_t);
    for (int64_t i = 0; i < c->n; i++) {
        i128 y = ((i128)operand(node, k, i) * c->multiplier[i] + c->addend[i]) >> c->shift;
        if (!fits(y))
            return false;
        limit[i] = (int64_t)y;
    }
    c->op[c->n_limits] = node->op;
    c->limit[c->n_limits++] = limit;
    return true;
}

static bool absorb(mlc_graph *g, composed *c, const mlc_node *node, const int *uses) {
    if (!node || uses[c->x->id] != 1 || mlc_graph_is_output(g, c->x))
        return false;
    if (mlc_is_identity(node) && same_size(node, 0, c->n)) {
        c->x = node->in[0];
        return true;
    }
    if (node->op == mlc_iop("Rescale") && mlc_attr_int(node, "shift", 0) == 0) {
        /* Absorbed in part it would be wrong: on failure c is not used any more. */
        if (!absorb_rescale(c, node)) {
            c->n = 0;
            return false;
        }
        c->x = node->in[0];
        return true;
    }
    if (node->op != mlc_iop("Max") && node->op != mlc_iop("Min"))
        return false;
    int k = node->in[1]->constant ? 1 : 0;
    if (!node->in[k]->constant || !same_size(node, 1 - k, c->n) || !absorb_limit(g, c, node, k))
        return false;
    c->x = node->in[1 - k];
    return true;
}

static mlc_value *constant(mlc_graph *g, const int64_t *x, const mlc_shape *shape) {
    mlc_tensor *t = mlc_tensor_create(g->arena, MLC_INT64, shape);
    for (int64_t i = 0; i < mlc_shape_elements(shape); i++)
        t->i[i] = x[i];
    return mlc_graph_constant(g, NULL, t);
}

static mlc_node *insert(mlc_graph *g, mlc_node *before, const mlc_op *op, mlc_value *const *in, int n_in,
                        const mlc_shape *shape) {
    mlc_value *out = mlc_value_like(g, before->out[0], shape);
    mlc_node *node = mlc_graph_insert(g, before, op, NULL, in, n_in, &out, 1);
    node->origin = before->origin;
    return node;
}

static void compose(mlc_graph *g, mlc_node *rescale, const int *uses) {
    int64_t n = mlc_shape_elements(&rescale->out[0]->shape);
    if (n > MAX_ELEMENTS || n == 0)
        return;
    composed c = {.x = rescale->in[0],
                  .n = n,
                  .multiplier = MLC_NEW_ARRAY(g->arena, n, int64_t),
                  .addend = MLC_NEW_ARRAY(g->arena, n, int64_t),
                  .shift = (int)mlc_attr_int(rescale, "shift", 0)};
    for (int64_t i = 0; i < n; i++) {
        c.multiplier[i] = operand(rescale, 1, i);
        c.addend[i] = operand(rescale, 2, i);
        if (c.multiplier[i] <= 0)
            return;
    }
    while (absorb(g, &c, c.x->producer, uses)) {}
    if (!c.n || !c.rescales)
        return;
    const mlc_shape *shape = &c.x->shape;
    mlc_value *in[3] = {c.x, constant(g, c.multiplier, shape), constant(g, c.addend, shape)};
    mlc_node *node = insert(g, rescale, rescale->op, in, 3, shape);
    if (c.shift)
        mlc_attr_set_int(g, node, "shift", c.shift);
    if (!mlc_interval_provable(g, node))
        return; /* nobody reads it */
    for (int k = c.n_limits; k-- > 0;) {
        mlc_value *both[2] = {node->out[0], constant(g, c.limit[k], shape)};
        node = insert(g, rescale, c.op[k], both, 2, shape);
    }
    if (!mlc_shape_equal(shape, &rescale->out[0]->shape))
        node = mlc_insert_identity(g, rescale, node->out[0], rescale->out[0]);
    mlc_graph_replace(g, rescale->out[0], node->out[0]);
}

mlc_graph *mlc_pass_compose(mlc_graph *g, mlc_pass_context *context) {
    if (context->options->opt_level == '0')
        return g;
    int *uses = mlc_graph_uses(g, g->arena), n = g->n_values;
    MLC_FOR_NODES (g, node)
        if (node->op == mlc_iop("Rescale") && node->out[0]->id < n && !mlc_graph_is_output(g, node->out[0]))
            compose(g, node, uses);
    mlc_graph_sweep(g);
    return mlc_update_intervals(g) ? g : NULL;
}
