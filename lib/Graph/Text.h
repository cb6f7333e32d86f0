#ifndef MLC_GRAPH_TEXT_H
#define MLC_GRAPH_TEXT_H

#include "mlc/graph.h"
#include "mlc/str.h"

/* What printing and parsing of the text form share (README.md). */

/* By mlc_stage; ended by NULL. */
extern const char *const mlc_stage_names[];

/* The invariants that hold in every stage: names, arity, attributes, order.
 * Diagnostics name node->line, the line of the text. */
bool mlc_graph_verify_structure(mlc_graph *g);

/* Whether `c` may stand in a name that is not quoted. */
bool mlc_text_is_name(char c);
/* "text"; \" \\ \n and \xNN stand for what is not printable ASCII. */
void mlc_text_quote(mlc_str *s, const char *text);
/* Quoted only where it must be. */
void mlc_text_name(mlc_str *s, const char *name);
/* The shortest decimal that gives x again when rounded to `dtype`. */
void mlc_text_real(mlc_str *s, double x, mlc_dtype dtype);
/* A double, as a word that cannot be taken for an integer; "0.1f" is 0.1 rounded to float. */
void mlc_text_float(mlc_str *s, double x);
/* "float[1,20]", "float[N,20]", "float" where the shape is not known. */
void mlc_text_type(mlc_str *s, mlc_dtype dtype, const mlc_shape *shape, bool dynamic_batch);

/*
 * A cursor over the text. Functions that return bool return false after
 * reporting "file:line: error: ...".
 */
typedef struct mlc_scanner {
    mlc_arena *arena;
    mlc_diag *diag;
    const char *p, *end;
    int line;
    int nesting; /* above 0: a newline is mere space */
} mlc_scanner;

bool mlc_scan_error(mlc_scanner *s, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Skips spaces and comments. */
void mlc_scan_space(mlc_scanner *s);
/* Skips `token`, a word or punctuation, if it is next. */
bool mlc_scan_accept(mlc_scanner *s, const char *token);
bool mlc_scan_expect(mlc_scanner *s, const char *token);
/* Whether the character c is next. */
bool mlc_scan_next_is(mlc_scanner *s, char c);
bool mlc_scan_name(mlc_scanner *s, const char *what, const char **name);
bool mlc_scan_string(mlc_scanner *s, const char **text);
bool mlc_scan_int(mlc_scanner *s, int64_t *x);
/* A double, also with the suffix f. */
bool mlc_scan_float(mlc_scanner *s, double *x);
/* The end of a statement: of the line, of the text, or a closing brace ahead. */
bool mlc_scan_end(mlc_scanner *s);

#endif
