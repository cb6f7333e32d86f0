#include "Text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool mlc_scan_error(mlc_scanner *s, int line, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    char text[1024];
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    s->diag->line = line;
    mlc_error(s->diag, "%s", text);
    s->diag->line = 0;
    return false;
}

void mlc_scan_space(mlc_scanner *s) {
    for (; s->p < s->end; s->p++) {
        if (*s->p == '#') {
            const char *newline = memchr(s->p, '\n', (size_t)(s->end - s->p));
            s->p = newline ? newline : s->end;
            if (s->p == s->end)
                return;
        }
        if (*s->p == '\n' && s->nesting > 0)
            s->line++;
        else if (*s->p != ' ' && *s->p != '\t' && *s->p != '\r')
            return;
    }
}

bool mlc_scan_next_is(mlc_scanner *s, char c) {
    mlc_scan_space(s);
    return s->p < s->end && *s->p == c;
}

bool mlc_scan_accept(mlc_scanner *s, const char *token) {
    mlc_scan_space(s);
    size_t n = strlen(token);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, token, n) != 0)
        return false;
    bool word = mlc_text_is_name(token[0]) && token[0] != '.';
    if (word && s->p + n < s->end && mlc_text_is_name(s->p[n]))
        return false;
    s->p += n;
    return true;
}

/* What comes next, for a diagnostic. */
static const char *found(mlc_scanner *s) {
    mlc_scan_space(s);
    if (s->p == s->end)
        return "the end of the file";
    if (*s->p == '\n')
        return "the end of the line";
    size_t n = 1;
    while (mlc_text_is_name(*s->p) && n < 30 && s->p + n < s->end && mlc_text_is_name(s->p[n]))
        n++;
    return mlc_arena_printf(s->arena, "'%s'", mlc_escape(mlc_arena_strndup(s->arena, s->p, n)));
}

bool mlc_scan_expect(mlc_scanner *s, const char *token) {
    return mlc_scan_accept(s, token) ||
           mlc_scan_error(s, s->line, "expected '%s', found %s", token, found(s));
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One character of a string, which ends at `stop`; -1: a bad escape. */
static int unescape(const char **p, const char *stop) {
    const char *c = (*p)++;
    if (*c != '\\')
        return (unsigned char)*c;
    switch (*(*p)++) {
    case '"':
        return '"';
    case '\\':
        return '\\';
    case 'n':
        return '\n';
    case 'x': {
        int high = stop - c >= 4 ? hex_digit(c[2]) : -1, low = high >= 0 ? hex_digit(c[3]) : -1;
        *p = c + 4;
        return low < 0 ? -1 : high * 16 + low;
    }
    default:
        return -1;
    }
}

bool mlc_scan_string(mlc_scanner *s, const char **text) {
    if (!mlc_scan_next_is(s, '"'))
        return mlc_scan_error(s, s->line, "expected a quoted string, found %s", found(s));
    const char *c = ++s->p, *stop = c;
    while (stop < s->end && *stop != '"' && *stop != '\n')
        stop += *stop == '\\' && s->end - stop > 1 && stop[1] != '\n' ? 2 : 1;
    if (stop == s->end || *stop != '"')
        return mlc_scan_error(s, s->line, "the string has no closing quote");
    char *out = mlc_arena_alloc(s->arena, (size_t)(stop - c) + 1);
    *text = out;
    while (c < stop) {
        int x = unescape(&c, stop);
        if (x < 0)
            return mlc_scan_error(s, s->line,
                                  "an escape in a string is \\\", \\\\, \\n or \\xNN with two hex digits");
        if (x == 0)
            return mlc_scan_error(s, s->line, "a string cannot contain a zero byte");
        *out++ = (char)x;
    }
    s->p = stop + 1;
    return true;
}

bool mlc_scan_name(mlc_scanner *s, const char *what, const char **name) {
    if (mlc_scan_next_is(s, '"'))
        return mlc_scan_string(s, name);
    const char *start = s->p;
    while (s->p < s->end && mlc_text_is_name(*s->p))
        s->p++;
    if (s->p == start)
        return mlc_scan_error(s, s->line, "expected %s, found %s", what, found(s));
    *name = mlc_arena_strndup(s->arena, start, (size_t)(s->p - start));
    return true;
}

bool mlc_scan_int(mlc_scanner *s, int64_t *x) {
    mlc_scan_space(s);
    const char *c = s->p;
    bool negative = c < s->end && *c == '-';
    c += negative;
    if (c == s->end || *c < '0' || *c > '9')
        return mlc_scan_error(s, s->line, "expected an integer, found %s", found(s));
    int64_t value = 0;
    for (; c < s->end && *c >= '0' && *c <= '9'; c++) {
        int digit = negative ? '0' - *c : *c - '0';
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, digit, &value))
            return mlc_scan_error(s, s->line, "the integer does not fit 64 bits");
    }
    /* "0..9" is an interval, "0.9" and "0x9" are no integers. */
    bool range = s->end - c >= 2 && c[0] == '.' && c[1] == '.';
    if (c < s->end && mlc_text_is_name(*c) && !range)
        return mlc_scan_error(s, s->line, "expected an integer, found %s", found(s));
    s->p = c;
    *x = value;
    return true;
}

bool mlc_scan_float(mlc_scanner *s, double *x) {
    mlc_scan_space(s);
    char word[64];
    size_t n = 0;
    const char *c = s->p;
    while (c < s->end && n < sizeof word - 1 && (mlc_text_is_name(*c) || *c == '-' || *c == '+'))
        word[n++] = *c++;
    word[n] = '\0';
    const char *unsigned_word = word[0] == '-' ? word + 1 : word;
    bool special = strcmp(unsigned_word, "inf") == 0 || strcmp(unsigned_word, "nan") == 0;
    bool hex = strncmp(unsigned_word, "0x", 2) == 0;
    bool digit = (unsigned_word[0] >= '0' && unsigned_word[0] <= '9') || unsigned_word[0] == '.';
    bool narrow = n > 1 && word[n - 1] == 'f' && !special && !hex;
    if (narrow)
        word[n - 1] = '\0';
    char *stop = word;
    double value = special || digit ? strtod(word, &stop) : 0;
    if (stop == word || *stop || n == sizeof word - 1)
        return mlc_scan_error(s, s->line, "expected a number, found %s", found(s));
    if (narrow)
        value = mlc_dtype_round(MLC_FLOAT, value);
    if (!special && !isfinite(value))
        return mlc_scan_error(s, s->line, "the number is too large");
    s->p = c;
    *x = value;
    return true;
}

bool mlc_scan_end(mlc_scanner *s) {
    mlc_scan_space(s);
    if (s->p == s->end || *s->p == '}')
        return true;
    if (*s->p != '\n')
        return mlc_scan_error(s, s->line, "expected the end of the line, found %s", found(s));
    s->p++;
    s->line++;
    return true;
}
