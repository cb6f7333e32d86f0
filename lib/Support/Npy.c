#include "Npy.h"

#include "mlc/bytes.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *mlc_npy_prefix(const uint8_t *prefix, size_t *begin, size_t *length) {
    if (memcmp(prefix, "\x93NUMPY", 6) != 0)
        return "not in .npy format";
    if (prefix[6] < 1 || prefix[6] > 3)
        return "in an unknown version of the .npy format";
    int field = prefix[6] == 1 ? 2 : 4;
    *begin = 8 + (size_t)field;
    *length = mlc_load_le(prefix + 8, field);
    return *length > MLC_NPY_MAX_HEADER ? "its header is too long" : NULL;
}

/* --- the dict: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } --- */

typedef struct cursor {
    const char *p, *end;
} cursor;

static void skip_space(cursor *c) {
    while (c->p < c->end && isspace((unsigned char)*c->p))
        c->p++;
}

static bool accept(cursor *c, const char *token) {
    size_t n = strlen(token);
    skip_space(c);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, token, n) != 0)
        return false;
    c->p += n;
    return true;
}

static bool read_string(cursor *c, char *out, size_t size) {
    size_t n = 0;
    skip_space(c);
    if (c->p == c->end || (*c->p != '\'' && *c->p != '"'))
        return false;
    char quote = *c->p++;
    while (c->p < c->end && *c->p != quote && n + 1 < size)
        out[n++] = *c->p++;
    out[n] = '\0';
    return c->p < c->end && *c->p++ == quote;
}

static bool read_number(cursor *c, int64_t *out) {
    skip_space(c);
    const char *start = c->p;
    int64_t x = 0;
    while (c->p < c->end && isdigit((unsigned char)*c->p) && x <= MLC_MAX_ELEMENTS)
        x = 10 * x + (*c->p++ - '0');
    *out = x;
    accept(c, "L"); /* Python 2 */
    return c->p > start;
}

static const char *read_shape(cursor *c, mlc_shape *shape) {
    *shape = (mlc_shape){0};
    int64_t elements = 1;
    if (!accept(c, "("))
        return "its header has no valid shape";
    while (!accept(c, ")")) {
        int64_t dim;
        if (!read_number(c, &dim))
            return "its header has no valid shape";
        if (shape->rank == MLC_MAX_RANK)
            return "it has too many dimensions";
        if (dim > 0 && elements > MLC_MAX_ELEMENTS / dim)
            return "it has too many elements";
        elements *= dim > 0 ? dim : 1;
        shape->dim[shape->rank++] = dim;
        if (!accept(c, ",") && !(c->p < c->end && *c->p == ')'))
            return "its header has no valid shape";
    }
    return NULL;
}

static mlc_dtype find_dtype(char kind, int size) {
    static const struct {
        char kind;
        int size;
        mlc_dtype dtype;
    } types[] = {
        {'b', 1, MLC_BOOL},   {'i', 1, MLC_INT8},    {'i', 2, MLC_INT16},  {'i', 4, MLC_INT32},
        {'i', 8, MLC_INT64},  {'u', 1, MLC_UINT8},   {'u', 2, MLC_UINT16}, {'u', 4, MLC_UINT32},
        {'u', 8, MLC_UINT64}, {'f', 2, MLC_FLOAT16}, {'f', 4, MLC_FLOAT},  {'f', 8, MLC_DOUBLE},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].kind == kind && types[i].size == size)
            return types[i].dtype;
    return kind == 'S' || kind == 'U' ? MLC_STRING : MLC_UNDEFINED;
}

static const char *read_type(cursor *c, mlc_npy *npy) {
    enum { MAX_STRING = 1 << 16 };
    char text[32], *end;
    if (!read_string(c, text, sizeof text))
        return "its type is not supported (structured arrays cannot be read)";
    const char *p = text;
    npy->big_endian = *p == '>';
    if (*p == '<' || *p == '>' || *p == '|' || *p == '=')
        p++;
    npy->kind = *p;
    long size = *p && isdigit((unsigned char)p[1]) ? strtol(p + 1, &end, 10) : -1;
    if (size < 1 || *end || size > MAX_STRING)
        return "its type is not supported (only numbers, bool and strings can be read)";
    npy->size = (int)size * (npy->kind == 'U' ? 4 : 1);
    npy->dtype = find_dtype(npy->kind, (int)size);
    return npy->dtype ? NULL : "its type is not supported (only numbers, bool and strings can be read)";
}

const char *mlc_npy_header(const char *text, size_t length, mlc_npy *npy) {
    cursor c = {text, text + length};
    bool has_type = false, has_order = false, has_shape = false;
    *npy = (mlc_npy){0};
    if (!accept(&c, "{"))
        return "its header is damaged";
    while (!accept(&c, "}")) {
        char key[32];
        const char *problem = NULL;
        if (!read_string(&c, key, sizeof key) || !accept(&c, ":"))
            return "its header is damaged";
        if (strcmp(key, "descr") == 0) {
            problem = read_type(&c, npy);
            has_type = true;
        } else if (strcmp(key, "fortran_order") == 0) {
            npy->fortran = accept(&c, "True");
            has_order = npy->fortran || accept(&c, "False");
        } else if (strcmp(key, "shape") == 0) {
            problem = read_shape(&c, &npy->shape);
            has_shape = true;
        } else {
            return "its header is damaged";
        }
        if (problem)
            return problem;
        accept(&c, ",");
    }
    return has_type && has_order && has_shape ? NULL : "its header is damaged";
}

/* --- elements --- */

static size_t put_utf8(char *to, uint32_t c) {
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    for (int i = more; i > 0; i--, c >>= 6)
        to[i] = (char)(0x80 | (c & 0x3f));
    to[0] = (char)((0xf00 >> (more + 1) & 0xff) | c);
    return (size_t)more + 1;
}

/* Strings are padded with zeros. NULL: not a string. */
static const char *decode_string(mlc_arena *arena, const mlc_npy *npy, const uint8_t *p) {
    if (npy->kind == 'S')
        return mlc_arena_strndup(arena, (const char *)p, strnlen((const char *)p, (size_t)npy->size));
    char *s = mlc_arena_alloc(arena, (size_t)npy->size + 1);
    size_t n = 0;
    for (int i = 0; i < npy->size; i += 4) {
        uint32_t c = (uint32_t)(npy->big_endian ? mlc_load_be(p + i, 4) : mlc_load_le(p + i, 4));
        if (c == 0)
            break;
        if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            return NULL;
        n += put_utf8(s + n, c);
    }
    return s;
}

/* Where element i of the file belongs in row-major order. */
static int64_t place(const mlc_npy *npy, int64_t i) {
    if (!npy->fortran)
        return i;
    int64_t strides[MLC_MAX_RANK], at = 0;
    mlc_shape_strides(&npy->shape, strides);
    for (int d = 0; d < npy->shape.rank; d++) {
        at += i % npy->shape.dim[d] * strides[d];
        i /= npy->shape.dim[d];
    }
    return at;
}

const char *mlc_npy_decode(mlc_arena *arena, const mlc_npy *npy, const uint8_t *data, mlc_tensor **out) {
    mlc_tensor *t = *out = mlc_tensor_create(arena, npy->dtype, &npy->shape);
    int64_t n = mlc_shape_elements(&npy->shape);
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *p = data + i * npy->size;
        int64_t at = place(npy, i);
        if (npy->dtype == MLC_STRING) {
            t->s[at] = decode_string(arena, npy, p);
            if (!t->s[at])
                return "it contains an invalid character";
            continue;
        }
        uint64_t bits = npy->big_endian ? mlc_load_be(p, npy->size) : mlc_load_le(p, npy->size);
        switch (npy->kind) {
        case 'f':
            t->f[at] = npy->size == 2   ? mlc_half_from_bits((uint16_t)bits)
                       : npy->size == 4 ? mlc_float_from_bits((uint32_t)bits)
                                        : mlc_double_from_bits(bits);
            break;
        case 'i':
            t->i[at] = mlc_sign_extend(bits, 8 * npy->size);
            break;
        case 'b':
            t->i[at] = bits != 0;
            break;
        default:
            if (bits > INT64_MAX)
                return "it contains a number beyond the range of int64";
            t->i[at] = (int64_t)bits;
        }
    }
    return NULL;
}

/* --- writing --- */

/* Code points of a UTF-8 string; bytes that are not UTF-8 stand for themselves.
 * `to` may be NULL. */
static size_t get_utf32(const char *s, uint8_t *to) {
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)s; *p; n++) {
        uint32_t c = *p++;
        int more = c >= 0xf0 && c < 0xf5 ? 3 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xc2 && c < 0xe0 ? 1 : 0;
        bool valid = true;
        for (int i = 0; i < more; i++)
            valid = valid && (p[i] & 0xc0) == 0x80;
        if (more && valid) {
            c &= 0x3fu >> more;
            for (int i = 0; i < more; i++)
                c = c << 6 | (*p++ & 0x3f);
        }
        if (to)
            mlc_store_le(to + 4 * n, c, 4);
    }
    return n;
}

typedef struct layout {
    char type[24];
    size_t size; /* bytes of an element */
} layout;

static layout layout_of(const mlc_tensor *t, int64_t n) {
    layout l = {.size = 1};
    int64_t lo, hi;
    if (t->dtype == MLC_STRING) {
        size_t longest = 1;
        for (int64_t i = 0; i < n; i++) {
            size_t length = get_utf32(t->s[i], NULL);
            longest = length > longest ? length : longest;
        }
        l.size = 4 * longest;
        snprintf(l.type, sizeof l.type, "<U%zu", longest);
    } else if (mlc_dtype_is_float(t->dtype)) {
        l.size = t->dtype == MLC_DOUBLE ? 8 : 4;
        snprintf(l.type, sizeof l.type, "<f%zu", l.size);
    } else if (t->dtype == MLC_BOOL) {
        strcpy(l.type, "|b1");
    } else {
        mlc_dtype_range(t->dtype, &lo, &hi);
        l.size = hi > UINT32_MAX ? 8 : hi > UINT16_MAX ? 4 : hi > UINT8_MAX ? 2 : 1;
        snprintf(l.type, sizeof l.type, "%c%c%zu", l.size > 1 ? '<' : '|', lo < 0 ? 'i' : 'u', l.size);
    }
    return l;
}

static uint64_t element_bits(const mlc_tensor *t, int64_t i, size_t size) {
    if (!mlc_dtype_is_float(t->dtype))
        return (uint64_t)t->i[i];
    if (size == 8) {
        uint64_t bits;
        memcpy(&bits, &t->f[i], sizeof bits);
        return bits;
    }
    float narrow = (float)t->f[i];
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    return bits;
}

uint8_t *mlc_npy_encode(mlc_arena *arena, const mlc_tensor *t, size_t *size) {
    int64_t n = mlc_shape_elements(&t->shape);
    layout l = layout_of(t, n);
    const char *dims = "";
    for (int k = 0; k < t->shape.rank; k++)
        dims = mlc_arena_printf(arena, "%s%lld,%s", dims, (long long)t->shape.dim[k],
                                k + 1 < t->shape.rank ? " " : "");
    const char *dict =
        mlc_arena_printf(arena, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", l.type, dims);
    /* The elements begin at a multiple of 64; the padding ends with a newline. */
    enum { PREFIX = 10, ALIGNMENT = 64 };
    size_t begin = (PREFIX + strlen(dict) + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    *size = begin + (size_t)n * l.size;
    uint8_t *file = mlc_arena_alloc(arena, *size);
    memcpy(file, "\x93NUMPY\1\0", 8);
    mlc_store_le(file + 8, begin - PREFIX, 2);
    memset(file + PREFIX, ' ', begin - PREFIX);
    memcpy(file + PREFIX, dict, strlen(dict));
    file[begin - 1] = '\n';
    for (int64_t i = 0; i < n; i++) {
        uint8_t *p = file + begin + (size_t)i * l.size;
        if (t->dtype == MLC_STRING)
            get_utf32(t->s[i], p);
        else
            mlc_store_le(p, element_bits(t, i, l.size), (int)l.size);
    }
    return file;
}
