#include "Passes.h"

#include <string.h>

static const mlc_pass passes[] = {
#define MLC_PASS(function, title, from, to, text) \
    {.name = title, .doc = text, .before = from, .after = to, .run = mlc_pass_##function},
#include "Passes.def"
#undef MLC_PASS
};

const mlc_pass *mlc_passes(int *n) {
    *n = (int)(sizeof passes / sizeof passes[0]);
    return passes;
}

const mlc_pass *mlc_pass_find(const char *name) {
    int n;
    const mlc_pass *p = mlc_passes(&n);
    for (int i = 0; i < n; i++)
        if (strcmp(p[i].name, name) == 0)
            return &p[i];
    return NULL;
}

mlc_graph *mlc_pass_run(const mlc_pass *pass, mlc_graph *g, mlc_pass_context *context) {
    static const char *const stages[] = {"IMPORTED", "SHAPED", "INTEGER"};
    if (g->stage != pass->before) {
        mlc_error(g->diag, "pass '%s' takes a graph of stage %s, this one is %s", pass->name,
                  stages[pass->before], stages[g->stage]);
        return NULL;
    }
    mlc_graph *result = pass->run(g, context);
    if (!result || !mlc_graph_verify(result))
        return NULL;
    return result;
}
