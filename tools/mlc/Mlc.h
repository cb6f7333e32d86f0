#ifndef MLC_TOOL_H
#define MLC_TOOL_H

#include "mlc/mlc.h"

#include <stdio.h>

enum { MAX_PRINT_AFTER = 32 };

typedef enum list_kind { LIST_NOTHING, LIST_OPS, LIST_PASSES, LIST_TARGETS, LIST_FEATURES } list_kind;

typedef struct arguments {
    mlc_options options;
    const char *report; /* NULL: none */
    const char *output; /* NULL: derived from the model's name */
    const char *print_after[MAX_PRINT_AFTER + 1];
    int n_print_after;
    bool stats, compare, verbose, markdown;
    list_kind list;
    char choice[64]; /* -O3: the options that give the code that was chosen; empty: none was */
} arguments;

enum { BENCH_MOST = 8 };

/* Objects to be measured in the kernel. */
typedef struct bench {
    char directory[32], run[4096];
    double verified[BENCH_MOST], ns[BENCH_MOST]; /* NAN: not known */
    int n;
} bench;

/* The words of --unroll and --constants, by enum. */
extern const char *const unroll_names[], *const constants_names[];

/* Each returns the exit status. */
int print_list(const arguments *a);
int compile_file(const arguments *a, const char *argv0);
int compare_levels(const arguments *a, const char *argv0);

/* -O3: sets `unroll` and `constants` where the command line leaves them open. Returns
 * false after reporting. */
bool choose_code(arguments *a, const char *argv0);

/* A directory for the objects, removed by bench_close. Each returns false after reporting. */
bool bench_open(bench *b, const char *argv0);
bool bench_add(bench *b, const mlc_result *result);
/* Fills in `verified` and `ns` (the least time, net) as far as mlc-run may; `packets`: of packet filters. */
bool bench_run(bench *b, bool packets);
void bench_close(bench *b);

/* Writes the whole file or leaves what was there. Reports to stderr. */
bool write_file(const char *path, const char *data, size_t size);

#endif
