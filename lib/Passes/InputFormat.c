/*
 * --input-format and metadata `mlc.input_format`: how float inputs come as integers.
 *
 *   q15.16                                     all float inputs: integer and fraction bits, sign apart
 *   x=q15.16; y=scale:0.02,zero:3,bits:u8      by name; real = (q - zero) * scale, 8 bits, unsigned
 */
#include "Quant.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BITS = 32 };

/* "q15.16" or "q0.8". */
static bool parse_fixed(const char *text, mlc_input_grid *g) {
    char *end;
    if (text[0] != 'q' && text[0] != 'Q')
        return false;
    long m = strtol(text + 1, &end, 10);
    if (end == text + 1 || *end != '.' || text[1] < '0' || text[1] > '9' || end[1] < '0' || end[1] > '9')
        return false;
    long n = strtol(end + 1, &end, 10);
    if (*end || m < 0 || n < 0 || m >= MOST_BITS || n >= MOST_BITS || m + n >= MOST_BITS || m + n == 0)
        return false;
    int64_t limit = (int64_t)1 << (m + n);
    *g = (mlc_input_grid){.scale = ldexp(1, (int)-n), .lo = -limit, .hi = limit - 1};
    return true;
}

static bool parse_integer(const char *text, long least, long most, long *x) {
    char *end;
    errno = 0;
    *x = strtol(text, &end, 10);
    return !errno && end != text && !*end && *x >= least && *x <= most;
}

/* One of "scale:S", "zero:Z", "bits:B", "bits:uB". */
static bool parse_part(const char *part, mlc_input_grid *g) {
    long x;
    if (strncmp(part, "scale:", 6) == 0) {
        char *end;
        g->scale = strtod(part + 6, &end);
        return end != part + 6 && !*end && g->scale > 0 && isfinite(g->scale) && isfinite(1 / g->scale);
    }
    if (strncmp(part, "zero:", 5) == 0) {
        bool ok = parse_integer(part + 5, INT32_MIN, UINT32_MAX, &x);
        g->zero = x;
        return ok;
    }
    if (strncmp(part, "bits:", 5) != 0)
        return false;
    bool is_unsigned = part[5] == 'u';
    if (!parse_integer(part + 5 + is_unsigned, 1, MOST_BITS, &x))
        return false;
    g->lo = is_unsigned ? 0 : -((int64_t)1 << (x - 1));
    g->hi = ((int64_t)1 << (is_unsigned ? x : x - 1)) - 1;
    return true;
}

static bool parse_format(mlc_arena *arena, const char *text, mlc_input_grid *g) {
    if (parse_fixed(text, g))
        return true;
    *g = (mlc_input_grid){.lo = -((int64_t)1 << (MOST_BITS - 1)), .hi = ((int64_t)1 << (MOST_BITS - 1)) - 1};
    for (char *part = mlc_arena_strdup(arena, text); part;) {
        char *comma = strchr(part, ',');
        if (comma)
            *comma = '\0';
        if (!parse_part(part, g))
            return false;
        part = comma ? comma + 1 : NULL;
    }
    return g->scale > 0 && g->zero >= g->lo && g->zero <= g->hi;
}

static char *trimmed(char *s) {
    while (*s == ' ')
        s++;
    for (size_t n = strlen(s); n > 0 && s[n - 1] == ' '; n--)
        s[n - 1] = '\0';
    return s;
}

static bool is_float_input(const mlc_graph *g, const char *name) {
    for (int k = 0; k < g->n_inputs; k++)
        if (strcmp(g->inputs[k]->name, name) == 0)
            return mlc_dtype_is_float(g->inputs[k]->dtype);
    return false;
}

bool mlc_input_format(mlc_graph *graph, const char *spec, const mlc_value *input, mlc_input_grid *g,
                      bool *given) {
    *given = false;
    for (char *item = mlc_arena_strdup(graph->arena, spec); item;) {
        char *semicolon = strchr(item, ';');
        if (semicolon)
            *semicolon = '\0';
        item = trimmed(item);
        char *equals = strrchr(item, '='), *format = equals ? trimmed(equals + 1) : item;
        if (equals)
            *equals = '\0';
        const char *name = equals ? trimmed(item) : NULL;
        mlc_input_grid own;
        if (!parse_format(graph->arena, format, &own)) {
            mlc_error(graph->diag, "'%s' is not an input format", mlc_escape(format));
            return mlc_note(graph->diag,
                            "write qM.N with at most 31 bits in all, as q15.16, or scale:S,zero:Z,bits:B "
                            "with zero inside the B bits (uB: unsigned), as scale:0.02,zero:3,bits:8");
        }
        if (name && !is_float_input(graph, name))
            return mlc_error(graph->diag, "the input format names '%s', which is no float input of the model",
                             mlc_escape(name));
        if (!name || strcmp(name, input->name) == 0) {
            *g = own;
            *given = true;
        }
        item = semicolon ? semicolon + 1 : NULL;
    }
    return true;
}
