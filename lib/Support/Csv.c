#include "mlc/npz.h"

#include <csv.h>
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of one field, and of the header's names. */
enum { MAX_FIELD = 4096 };

typedef struct table {
    mlc_arena *arena;
    mlc_diag *diag;
    const char *path;
    FILE *file;
    struct csv_parser parser;
    bool has_parser;
    locale_t locale; /* "C": decimal points whatever the user's locale */
    double *x;       /* malloc'ed elements */
    size_t n, cap;
    int64_t rows, columns;
    int64_t field; /* in the current row */
    int64_t line;  /* rows read, header included */
    char *names;   /* malloc'ed fields of the first row, each ended by 0 */
    size_t names_size;
    bool header;     /* the first row has names */
    int64_t n_names; /* fields of the first row that are not numbers */
    bool failed;
} table;

static void release(void *object) {
    table *t = object;
    if (t->file)
        fclose(t->file);
    if (t->has_parser)
        csv_free(&t->parser);
    if (t->locale)
        freelocale(t->locale);
    free(t->x);
    free(t->names);
    *t = (table){0};
}

#define FAIL(t, ...) ((t)->failed = true, mlc_error((t)->diag, __VA_ARGS__))

static bool parse_number(const table *t, const char *text, double *x) {
    char *end;
    *x = strtod_l(text, &end, t->locale);
    return *text && *end == '\0';
}

static void append_number(table *t, double x) {
    if (t->n == (size_t)MLC_MAX_ELEMENTS) {
        FAIL(t, "%s: more than %lld numbers", mlc_escape(t->path), (long long)MLC_MAX_ELEMENTS);
        return;
    }
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 1024;
        double *grown = realloc(t->x, cap * sizeof *grown);
        if (!grown) {
            FAIL(t, "%s: out of memory", mlc_escape(t->path));
            return;
        }
        t->x = grown;
        t->cap = cap;
    }
    t->x[t->n++] = x;
}

/* The first row is kept as text, until it is known whether it is a header. */
static void append_name(table *t, const char *text, size_t length) {
    char *grown = realloc(t->names, t->names_size + length + 1);
    if (!grown) {
        FAIL(t, "%s: out of memory", mlc_escape(t->path));
        return;
    }
    memcpy(grown + t->names_size, text, length);
    grown[t->names_size + length] = '\0';
    t->names = grown;
    t->names_size += length + 1;
}

static void take_field(void *field, size_t length, void *user) {
    table *t = user;
    const char *text = field ? field : "";
    double x = 0;
    if (t->failed)
        return;
    t->field++;
    if (length > MAX_FIELD || strlen(text) != length) {
        FAIL(t, "%s: row %lld, column %lld: not a number", mlc_escape(t->path), (long long)t->line + 1,
             (long long)t->field);
        return;
    }
    bool number = parse_number(t, text, &x);
    if (t->line == 0) {
        append_name(t, text, length);
        t->n_names += !number;
    } else if (!number) {
        FAIL(t, "%s: row %lld, column %lld: '%s' is not a number", mlc_escape(t->path),
             (long long)t->line + 1, (long long)t->field, mlc_escape(text));
    }
    if (!t->failed)
        append_number(t, x);
}

static void take_row(int terminator, void *user) {
    table *t = user;
    (void)terminator;
    if (t->failed)
        return;
    if (t->line++ == 0) {
        t->columns = t->field;
        t->header = t->n_names > 0;
        if (t->header)
            t->n = 0;
        if (t->header && t->n_names < t->columns)
            FAIL(t, "%s: the first row mixes numbers and names", mlc_escape(t->path));
    } else if (t->field != t->columns) {
        FAIL(t, "%s: row %lld has %lld columns, but the first row has %lld", mlc_escape(t->path),
             (long long)t->line, (long long)t->field, (long long)t->columns);
    }
    t->rows += t->line > 1 || !t->header;
    t->field = 0;
}

static bool parse(table *t) {
    char buffer[1 << 16];
    t->file = fopen(t->path, "rbe");
    if (!t->file)
        return FAIL(t, "%s: cannot be opened: %s", mlc_escape(t->path), strerror(errno));
    t->locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    t->has_parser = csv_init(&t->parser, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL) == 0;
    if (!t->locale || !t->has_parser)
        return FAIL(t, "%s: out of memory", mlc_escape(t->path));
    /* Spreadsheets put a byte order mark in front. */
    static const char mark[] = "\xef\xbb\xbf";
    size_t n = fread(buffer, 1, sizeof mark - 1, t->file);
    if (n != sizeof mark - 1 || memcmp(buffer, mark, n) != 0)
        rewind(t->file);
    while (!t->failed && (n = fread(buffer, 1, sizeof buffer, t->file)) > 0)
        if (csv_parse(&t->parser, buffer, n, take_field, take_row, t) != n)
            return FAIL(t, "%s: row %lld: %s", mlc_escape(t->path), (long long)t->line + 1,
                        csv_strerror(csv_error(&t->parser)));
    if (!t->failed && ferror(t->file))
        return FAIL(t, "%s: cannot be read: %s", mlc_escape(t->path), strerror(errno));
    if (!t->failed && csv_fini(&t->parser, take_field, take_row, t) != 0)
        return FAIL(t, "%s: row %lld: a quote is not closed", mlc_escape(t->path), (long long)t->line + 1);
    if (!t->failed && t->rows == 0)
        return FAIL(t, "%s: no rows of numbers", mlc_escape(t->path));
    return !t->failed;
}

const mlc_tensor *mlc_csv_read(mlc_arena *arena, mlc_diag *diag, const char *path,
                               const char *const **header) {
    table *t = MLC_NEW(arena, table);
    *t = (table){.arena = arena, .diag = diag, .path = path};
    mlc_arena_defer(arena, release, t);
    mlc_tensor *out = NULL;
    if (parse(t)) {
        out = mlc_tensor_create(arena, MLC_DOUBLE, &(mlc_shape){2, {t->rows, t->columns}});
        memcpy(out->f, t->x, t->n * sizeof *t->x);
        if (header) {
            const char **names = MLC_NEW_ARRAY(arena, t->columns, const char *);
            const char *p = t->names;
            for (int64_t k = 0; k < t->columns; k++, p += strlen(p) + 1)
                names[k] = mlc_arena_strdup(arena, p);
            *header = t->header ? names : NULL;
        }
    }
    release(t);
    return out;
}
