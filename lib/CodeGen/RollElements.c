/* Element-wise values as loops over their elements, and what of a model becomes such a loop. */
#include "Dense.h"
#include "Loop.h"
#include "Pattern.h"

/* Elements of one round. */
enum { UNROLL = 4 };

/* Unrolled instructions from which an element-wise loop pays. */
enum { LEAST_FAST = 1000, LEAST_SMALL = 100 };

static bool worth(const mlc_lower *l, const mlc_node *node) {
    const mlc_options *options = l->cg->options;
    int64_t n = mlc_shape_elements(&node->out[0]->shape), cost = n * mlc_lower_cost(l, node);
    if (n < 2 * UNROLL || options->unroll == MLC_UNROLL_FULL)
        return false;
    if (options->unroll == MLC_UNROLL_NONE)
        return true;
    return options->opt_level != '0' && cost >= (options->opt_level == 's' ? LEAST_SMALL : LEAST_FAST);
}

mlc_pattern *mlc_roll_pattern(mlc_lower *l, const mlc_node *node, const mlc_node *root) {
    if (!root->op->block)
        return worth(l, node) ? mlc_pattern_make(l, node, NULL) : NULL;
    if (root->op != mlc_iop("Linear") || !mlc_is_rolled(root))
        return NULL;
    const mlc_place *x = &l->cg->layout.place[root->in[0]->id];
    return x->area != MLC_AREA_NONE && !x->features
               ? mlc_pattern_make(l, node, mlc_dense_bottom(l, node, root))
               : NULL;
}

static void emit_elements(mlc_lower *l, mlc_pattern *p, LLVMValueRef element, int64_t first, int64_t n) {
    p->element = element;
    for (p->plus = first; p->plus < first + n; p->plus++)
        mlc_pattern_store(l, p);
}

void mlc_lower_rolled_elements(mlc_lower *l, mlc_pattern *p) {
    mlc_loop loop = {.count = p->elements / UNROLL};
    mlc_loop_begin(l, &loop);
    emit_elements(l, p, mlc_l_mul_const(l, loop.at, UNROLL), 0, UNROLL);
    mlc_loop_end(l, &loop);
    emit_elements(l, p, mlc_l_const(l, 0), loop.count * UNROLL, p->elements % UNROLL);
}
