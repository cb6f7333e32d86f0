#include "mlc/graph.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Text forms of the largest models that unroll are some ten megabytes. */
enum { MAX_TEXT = 256 << 20 };

static void close_file(void *file) {
    fclose(file);
}

mlc_graph *mlc_graph_read(mlc_arena *arena, mlc_diag *diag, const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        mlc_error(diag, "cannot open: %s", strerror(errno));
        return NULL;
    }
    mlc_arena_defer(arena, close_file, f);
    size_t cap = 1 << 16, size = 0, n;
    char *text = mlc_arena_alloc(arena, cap);
    while ((n = fread(text + size, 1, cap - size, f)) > 0) {
        size += n;
        if (size < cap)
            continue;
        if (cap >= MAX_TEXT) {
            mlc_error(diag, "larger than %d MiB", MAX_TEXT >> 20);
            return NULL;
        }
        char *grown = mlc_arena_alloc(arena, cap *= 2);
        memcpy(grown, text, size);
        text = grown;
    }
    if (ferror(f)) {
        mlc_error(diag, "cannot read: %s", strerror(errno));
        return NULL;
    }
    return mlc_graph_parse(arena, diag, text, size);
}
