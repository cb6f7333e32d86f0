/* libFuzzer target: any bytes as an ONNX file. Errors are expected, everything else is a bug. */
#include "mlc/import.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *user, mlc_severity severity, const char *line) {
    (void)user;
    (void)severity;
    (void)line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { CAP = 256 << 20 };
    mlc_arena *arena = mlc_arena_create(CAP);
    mlc_diag diag = {.sink = ignore};
    jmp_buf exhausted;
    if (!arena)
        return 0;
    mlc_arena_guard(arena, &exhausted);
    if (setjmp(exhausted) == 0) {
        mlc_graph *g = mlc_import_onnx_memory(arena, &diag, "fuzz.onnx", data, size);
        if (!g && diag.errors == 0)
            __builtin_trap(); /* failed without a word */
        if (g && !mlc_graph_verify(g))
            __builtin_trap(); /* accepted a graph that breaks the invariants */
    }
    mlc_arena_destroy(arena);
    return 0;
}
