#include "Opt.h"

#include "mlc/npz.h"
#include "mlc/op.h"
#include "mlc/rng.h"

#include <string.h>

/* Independent instances in one graph: one object then tests several. */
enum { INSTANCES = 6 };

static bool is_used(const mlc_graph *g, const mlc_value *v) {
    MLC_FOR_NODES(g, node)
        for (int k = 0; k < node->n_in; k++)
            if (node->in[k] == v) return true;
    return false;
}

mlc_graph *opt_generate(mlc_arena *arena, mlc_diag *diag, const opt_arguments *a) {
    mlc_graph *g = mlc_graph_create(arena, diag);
    g->stage = MLC_INTEGER;
    g->name = "generated";
    mlc_rng rng = {a->seed};
    int n, count = 0;
    const mlc_op *const *ops = mlc_ops(&n);
    const mlc_op **chosen = MLC_NEW_ARRAY(arena, n + 1, const mlc_op *);
    for (int i = 0; i < n; i++)
        if (ops[i]->generate && (strcmp(a->generate, "any") == 0 || strcmp(a->generate, ops[i]->name) == 0))
            chosen[count++] = ops[i];
    if (count == 0) {
        mlc_error(diag, "no integer op '%s'", a->generate);
        return NULL;
    }
    for (int i = 0; i < INSTANCES; i++) chosen[mlc_rng_range(&rng, 0, count - 1)]->generate(g, &rng);
    MLC_FOR_NODES(g, node)
        if (!is_used(g, node->out[0])) mlc_graph_add_output(g, node->out[0]);
    return g;
}

/* Corners first: all low, all high, then each element low or high by chance. */
static int64_t draw(mlc_rng *rng, const mlc_value *v, int64_t i, int sample) {
    if (sample == 0) return v->lo[i];
    if (sample == 1) return v->hi[i];
    if (sample % 2 == 0) return mlc_rng_next(rng) & 1 ? v->hi[i] : v->lo[i];
    return mlc_rng_range(rng, v->lo[i], v->hi[i]);
}

bool opt_write_samples(mlc_graph *g, const opt_arguments *a) {
    if (g->stage != MLC_INTEGER) return mlc_error(g->diag, "--samples takes a graph of stage INTEGER");
    mlc_rng rng = {a->seed};
    mlc_array *arrays = MLC_NEW_ARRAY(g->arena, g->n_inputs + 1, mlc_array);
    for (int k = 0; k < g->n_inputs; k++) {
        const mlc_value *v = g->inputs[k];
        int64_t n = mlc_shape_elements(&v->shape);
        mlc_shape shape = {.rank = 2, .dim = {a->samples, n}};
        mlc_tensor *t = mlc_tensor_create(g->arena, MLC_INT64, &shape);
        for (int s = 0; s < a->samples; s++)
            for (int64_t i = 0; i < n; i++) t->i[s * n + i] = draw(&rng, v, i, s);
        arrays[k] = (mlc_array){.name = v->name, .tensor = t};
    }
    return mlc_npz_write(g->arena, g->diag, a->outputs, arrays, g->n_inputs);
}
