#ifndef MLC_RUN_OBJECT_H
#define MLC_RUN_OBJECT_H

#include "Explain.h"
#include "Manifest.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

/* A BPF object file on its way into the kernel. */
typedef struct mlc_object {
    const char *path;
    mlc_manifest *manifest; /* NULL: not made by mlc */
    struct bpf_object *bpf;
    double load_ms; /* what loading took */
} mlc_object;

/* Reads the file and its manifest; nothing is in the kernel yet. Returns false
 * after reporting; nothing is to be closed then. */
bool mlc_object_open(mlc_run *run, const char *path, mlc_object *object);
void mlc_object_close(mlc_object *object);

/* Keeps only `only` of the object's programs from now on. */
void mlc_object_select(mlc_object *object, const struct bpf_program *only);

/* The program `name`, or where that is NULL the only one of `type`. NULL after reporting. */
struct bpf_program *mlc_object_program(mlc_run *run, mlc_object *object, enum bpf_prog_type type,
                                       const char *name);

/* Loads the selected programs; a refusal is reported in words. */
bool mlc_object_load(mlc_run *run, mlc_object *object);

/*
 * The same without reporting: fills *why on failure. `log_level` is libbpf's (0:
 * a log only on failure); the log, valid until the next call, is stored in *log.
 */
bool mlc_object_try_load(mlc_run *run, mlc_object *object, int log_level, const char **log,
                         mlc_rejection *why);

/* The kernel's record of a loaded program. */
bool mlc_program_info(mlc_run *run, int fd, struct bpf_prog_info *info);

/* BPF_PROG_TEST_RUN; returns false after reporting. */
bool mlc_test_run(mlc_run *run, int fd, struct bpf_test_run_opts *opts);

#endif
