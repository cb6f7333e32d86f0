#ifndef MLC_RUN_BACKEND_H
#define MLC_RUN_BACKEND_H

#include "Object.h"

/*
 * A bpf-raw object ready to evaluate batches of samples: fill entry i of `in`,
 * run, read entry i of `out`.
 */
typedef struct mlc_backend {
    uint8_t *in, *out;
    size_t in_stride, out_stride; /* bytes between samples */
    int64_t capacity;             /* samples in a batch */
    /* Evaluates entries 0..n-1, n <= capacity. Returns false after reporting. */
    bool (*run)(mlc_run *run, struct mlc_backend *b, int64_t n);

    /* Kernel. */
    mlc_object object;
    int program, globals; /* file descriptors */
    size_t next_at, count_at, globals_size;
    /* Host. */
    void (*model)(const uint8_t *in, uint8_t *out, uint8_t *scratch);
    uint8_t *scratch;
} mlc_backend;

/* Loads `mlc_raw` with room for `n` samples, or fewer when they are many. `object`
 * is open, and belongs to the backend from now on. */
bool mlc_kernel_backend(mlc_run *run, mlc_object *object, int64_t n, mlc_backend *b);

/* Time of `repeat` runs rotating over entries 0..n-1, in ns per run. */
bool mlc_kernel_time(mlc_run *run, mlc_backend *b, int64_t n, int repeat, double *ns);

/* Maps the object's host image. It is run as it is: the file is trusted. */
bool mlc_host_backend(mlc_run *run, const char *path, const mlc_manifest *manifest, int64_t n,
                      mlc_backend *b);

void mlc_backend_close(mlc_backend *b);

#endif
