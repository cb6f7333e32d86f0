#include "Text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool mlc_text_is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

void mlc_text_quote(mlc_str *s, const char *text) {
    mlc_str_char(s, '"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            mlc_str_char(s, '\\');
        if (c >= 0x20 && c < 0x7f)
            mlc_str_char(s, *text);
        else if (c == '\n')
            mlc_str_puts(s, "\\n");
        else
            mlc_str_printf(s, "\\x%02x", c);
    }
    mlc_str_char(s, '"');
}

void mlc_text_name(mlc_str *s, const char *name) {
    const char *c = name;
    while (mlc_text_is_name(*c))
        c++;
    /* A lone _ stands for what is omitted. */
    if (*c || c == name || strcmp(name, "_") == 0)
        mlc_text_quote(s, name);
    else
        mlc_str_bytes(s, name, (size_t)(c - name));
}

enum { REAL_SIZE = 40 };

static void shortest(char buffer[REAL_SIZE], double x, mlc_dtype dtype) {
    if (isnan(x)) {
        strcpy(buffer, "nan");
        return;
    }
    if (fabs(x) < 1e9 && x == nearbyint(x)) {
        snprintf(buffer, REAL_SIZE, "%.0f", x);
        return;
    }
    /* %g drops trailing zeros: the first precision is as short as any below it. */
    int first = dtype == MLC_FLOAT ? 6 : dtype == MLC_DOUBLE ? 15 : 2;
    for (int precision = first; precision <= 17; precision++) {
        snprintf(buffer, REAL_SIZE, "%.*g", precision, x);
        if (mlc_dtype_round(dtype, strtod(buffer, NULL)) == x)
            return;
    }
}

void mlc_text_real(mlc_str *s, double x, mlc_dtype dtype) {
    char buffer[REAL_SIZE];
    shortest(buffer, x, dtype);
    mlc_str_puts(s, buffer);
}

void mlc_text_float(mlc_str *s, double x) {
    char wide[REAL_SIZE], narrow[REAL_SIZE];
    shortest(wide, x, MLC_DOUBLE);
    if (mlc_dtype_round(MLC_FLOAT, x) == x) {
        shortest(narrow, x, MLC_FLOAT);
        if (strlen(narrow) + 1 < strlen(wide)) {
            mlc_str_printf(s, "%sf", narrow);
            return;
        }
    }
    mlc_str_puts(s, wide);
    if (isfinite(x) && !strpbrk(wide, ".e"))
        mlc_str_puts(s, ".0");
}

void mlc_text_type(mlc_str *s, mlc_dtype dtype, const mlc_shape *shape, bool dynamic_batch) {
    mlc_str_puts(s, mlc_dtype_name(dtype));
    if (!shape)
        return;
    mlc_str_char(s, '[');
    for (int k = 0; k < shape->rank; k++) {
        if (k)
            mlc_str_char(s, ',');
        if (k == 0 && dynamic_batch)
            mlc_str_char(s, 'N');
        else
            mlc_str_printf(s, "%" PRId64, shape->dim[k]);
    }
    mlc_str_char(s, ']');
}
