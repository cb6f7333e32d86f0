#include "mlc/diag.h"

#include "mlc/op.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Longer lines are cut. */
enum { MAX_LINE = 4096 };

static void append(char line[MAX_LINE], size_t *used, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void vappend(char line[MAX_LINE], size_t *used, const char *fmt, va_list args) {
    int n = vsnprintf(line + *used, MAX_LINE - *used, fmt, args);
    if (n > 0)
        *used = *used + (size_t)n < MAX_LINE ? *used + (size_t)n : MAX_LINE - 1;
}

static void append(char line[MAX_LINE], size_t *used, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vappend(line, used, fmt, args);
    va_end(args);
}

static void report(mlc_diag *diag, mlc_severity severity, const mlc_node *node, const char *fmt,
                   va_list args) {
    static const char *const words[] = {"note", "warning", "error"};
    char line[MAX_LINE];
    size_t used = 0;
    append(line, &used, "%s:", diag->file ? diag->file : "mlc");
    if (diag->line > 0)
        append(line, &used, "%d:", diag->line);
    append(line, &used, " ");
    if (node) {
        const char *domain = node->op->domain;
        append(line, &used, "node '%s' (%s%s%s", mlc_escape(node->name), domain, domain[0] ? "." : "",
               node->op->name);
        if (node->origin)
            append(line, &used, " from '%s'", mlc_escape(node->origin));
        append(line, &used, "): ");
    }
    append(line, &used, "%s: ", words[severity]);
    vappend(line, &used, fmt, args);

    diag->errors += severity == MLC_ERROR;
    diag->warnings += severity == MLC_WARNING;
    if (diag->sink)
        diag->sink(diag->user, severity, line);
    else
        fprintf(stderr, "%s\n", line);
}

#define REPORT(severity, node)                   \
    do {                                         \
        va_list args;                            \
        va_start(args, fmt);                     \
        report(diag, severity, node, fmt, args); \
        va_end(args);                            \
        return false;                            \
    } while (0)

bool mlc_error(mlc_diag *diag, const char *fmt, ...) {
    REPORT(MLC_ERROR, NULL);
}

bool mlc_error_at(mlc_diag *diag, const mlc_node *node, const char *fmt, ...) {
    REPORT(MLC_ERROR, node);
}

bool mlc_warning(mlc_diag *diag, const char *fmt, ...) {
    REPORT(MLC_WARNING, NULL);
}

bool mlc_warning_at(mlc_diag *diag, const mlc_node *node, const char *fmt, ...) {
    REPORT(MLC_WARNING, node);
}

bool mlc_note(mlc_diag *diag, const char *fmt, ...) {
    REPORT(MLC_NOTE, NULL);
}
