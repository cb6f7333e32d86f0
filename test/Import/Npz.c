/*
 * Reads each FILE.npz, .npy or .csv given; arrays are written again to OUT.npz,
 * of tables the shape, the header and the corners are printed.
 *
 * RUN: rm -rf %t && mkdir %t && cd %t && %python %S/Inputs/npz.py %build/test/Import/Npz
 */
#include "mlc/npz.h"

#include <stdio.h>
#include <string.h>

static bool table(mlc_arena *arena, mlc_diag *diag, const char *path) {
    const char *const *header;
    const mlc_tensor *t = mlc_csv_read(arena, diag, path, &header);
    if (!t)
        return false;
    printf("%s", mlc_shape_str(arena, &t->shape));
    for (int64_t k = 0; header && k < t->shape.dim[1]; k++)
        printf(" %s", mlc_escape(header[k]));
    printf(" %g %g\n", t->f[0], t->f[mlc_shape_elements(&t->shape) - 1]);
    return true;
}

static bool run(mlc_arena *arena, mlc_diag *diag, const char *out, const char *path) {
    size_t n = strlen(path);
    if (n > 4 && strcmp(path + n - 4, ".csv") == 0)
        return table(arena, diag, path);
    const mlc_arrays *arrays = mlc_npz_read(arena, diag, path);
    return arrays && mlc_npz_write(arena, diag, out, arrays->array, arrays->n);
}

int main(int argc, char **argv) {
    volatile bool ok = argc > 1;
    for (int i = 2; i < argc; i++) {
        mlc_arena *arena = mlc_arena_create((size_t)256 << 20);
        mlc_diag diag = {0};
        jmp_buf exhausted;
        if (!arena)
            return 1;
        mlc_arena_guard(arena, &exhausted);
        if (setjmp(exhausted) == 0)
            ok = run(arena, &diag, argv[1], argv[i]) && ok;
        else
            ok = mlc_error(&diag, "%s: out of memory", argv[i]);
        mlc_arena_destroy(arena);
    }
    return !ok;
}
