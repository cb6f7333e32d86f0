/* Element-wise values as loops over their elements, and what of a model becomes such a loop. */
#include "Aside.h"
#include "Dense.h"
#include "Pattern.h"

/* Elements of one round. */
enum { UNROLL = 4 };

/* Unrolled instructions from which an element-wise loop pays. */
enum { LEAST_FAST = 2000, LEAST_SMALL = 200 };

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

static void emit_elements(mlc_lower *l, mlc_pattern *p, int64_t n) {
    for (p->plus = 0; p->plus < n; p->plus++)
        mlc_pattern_store(l, p);
}

void mlc_lower_rolled_elements(mlc_lower *l, mlc_pattern *p) {
    static const char *const names[2] = {"first", "unused"};
    LLVMValueRef at[2], zero[2] = {mlc_l_const(l, 0), mlc_l_const(l, 0)};
    mlc_aside aside = mlc_aside_begin(l, p->node->line, names, (const int64_t[2]){1, 0}, at);
    mlc_loop loop = {.count = p->elements / UNROLL,
                     .counted = !mlc_loop_is_free(l) || mlc_pattern_looks_up(p)};
    int64_t behind = UNROLL * (mlc_loop_reach(l, &loop) - loop.count);
    mlc_pattern_begin(l, p, at[0], behind + 1);
    int first = mlc_pattern_carry(l, p, &loop, UNROLL);
    mlc_loop_begin(l, &loop);
    mlc_pattern_enter(p, &loop, first);
    emit_elements(l, p, UNROLL);
    mlc_loop_end(l, &loop);
    mlc_pattern_enter(p, &loop, first);
    emit_elements(l, p, p->elements % UNROLL);
    mlc_aside_end(l, &aside);
    mlc_aside_call(l, &aside, zero);
}
