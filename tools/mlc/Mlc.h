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
} arguments;

/* The words of --unroll and --constants, by enum. */
extern const char *const unroll_names[], *const constants_names[];

/* Each returns the exit status. */
int print_list(const arguments *a);
int compile_file(const arguments *a);
int compare_levels(const arguments *a, const char *argv0);

/* Writes the whole file or leaves what was there. Reports to stderr. */
bool write_file(const char *path, const char *data, size_t size);

#endif
