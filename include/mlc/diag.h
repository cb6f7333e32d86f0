#ifndef MLC_DIAG_H
#define MLC_DIAG_H

#include <stdbool.h>

/*
 * Diagnostics. A user's error is reported here and the reporting function
 * returns false (or NULL); a bug of the compiler is an assertion. One line each:
 *
 *   model.onnx: node 'Conv_3' (Conv): error: dilations [2,2] are not supported
 *   model.onnx: note: ...what to do
 *
 * `%s` arguments that come from a model must pass through mlc_escape.
 */
typedef enum mlc_severity { MLC_NOTE, MLC_WARNING, MLC_ERROR } mlc_severity;

typedef struct mlc_diag {
    /* Receives each finished line, without newline. NULL prints to stderr. */
    void (*sink)(void *user, mlc_severity severity, const char *line);
    void *user;
    const char *file; /* named in every line; not owned; may be NULL */
    int errors, warnings;
    int line;         /* of the file, named after it; 0: none */
} mlc_diag;

struct mlc_node;

/* All of these return false, so that `return mlc_error(...)` reads well. */
bool mlc_error(mlc_diag *diag, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool mlc_error_at(mlc_diag *diag, const struct mlc_node *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool mlc_warning(mlc_diag *diag, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool mlc_warning_at(mlc_diag *diag, const struct mlc_node *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool mlc_note(mlc_diag *diag, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * A model's string made safe to print: printable ASCII stays, backslash, quotes
 * and everything else become \xNN; cut after 200 bytes. Returns one of 8
 * rotating thread-local buffers, valid until the eighth next call.
 */
const char *mlc_escape(const char *s);

/* The closest of `n` candidates to `word` by edit distance, or NULL when none is close. */
const char *mlc_closest(const char *word, const char *const *candidates, int n);

#endif
