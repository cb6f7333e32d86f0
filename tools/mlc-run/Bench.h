#ifndef MLC_RUN_BENCH_H
#define MLC_RUN_BENCH_H

#include "Run.h"

/* Samples or packets to rotate through. */
enum { MLC_BENCH_SAMPLES = 1024 };

typedef struct mlc_bench_options {
    const char *inputs, *program; /* NULL: random samples; the only program */
    int repeat;                   /* runs in a round; 0: as many as fit */
    int cold;                     /* copies of the object to rotate through; 0: one, with hot caches */
    bool fixed;                   /* the first input every time */
    bool json;
} mlc_bench_options;

/* A program in the kernel and an empty one that is reached in the same way. */
typedef struct mlc_subject {
    const char *path, *name;
    const char *empty_name; /* what is subtracted, in words */
    int64_t samples;        /* different inputs */
    bool random;
    /* Time of `repeat` runs of the program, or of the empty one, in ns per run. */
    bool (*time)(mlc_run *run, struct mlc_subject *s, bool empty, int repeat, double *ns);
    void (*close)(struct mlc_subject *s);
    void *state; /* of these two */
} mlc_subject;

/* Each loads the object at `path`; false after reporting, with nothing to close. */
bool mlc_bench_raw(mlc_run *run, const mlc_bench_options *o, const char *path, mlc_subject *s);
bool mlc_bench_xdp(mlc_run *run, const mlc_bench_options *o, const char *path, mlc_subject *s);

#endif
