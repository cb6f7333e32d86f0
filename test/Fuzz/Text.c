/* Any bytes as the text form: refused with a diagnostic, or printed so that they read again. */
#include "mlc/graph.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *user, mlc_severity severity, const char *line) {
    (void)user, (void)severity, (void)line;
}

static void require(bool condition) {
    if (!condition)
        abort();
}

static void check(mlc_graph *g, mlc_arena *arena) {
    const char *text = mlc_graph_print(g, arena);
    mlc_graph *again = mlc_graph_parse(arena, g->diag, text, strlen(text));
    require(again != NULL);
    require(strcmp(mlc_graph_print(again, arena), text) == 0);
    mlc_graph_dot(g, arena);
    mlc_graph_sweep(g);
    require(mlc_graph_verify(g));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mlc_arena *arena = mlc_arena_create((size_t)64 << 20);
    mlc_diag diag = {.file = "fuzz", .sink = ignore};
    jmp_buf exhausted;
    mlc_arena_guard(arena, &exhausted);
    if (setjmp(exhausted) == 0) {
        mlc_graph *g = mlc_graph_parse(arena, &diag, (const char *)data, size);
        require(g || diag.errors > 0);
        if (g)
            check(g, arena);
    }
    mlc_arena_destroy(arena);
    return 0;
}
