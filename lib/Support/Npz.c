#include "mlc/npz.h"

#include "Npy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zip.h>

enum {
    MAX_ARRAYS = 4096,
    /* Of one array in the file. */
    MAX_ARRAY_SIZE = 1 << 30,
};

/* What must be closed whether or not the arena is exhausted in between. */
typedef struct reader {
    mlc_arena *arena;
    mlc_diag *diag;
    const char *path;
    zip_t *zip;
    zip_file_t *entry; /* of the archive; NULL for a plain .npy */
    FILE *file;
    uint8_t *data; /* elements of the current array */
} reader;

static void close_entry(reader *r) {
    if (r->entry)
        zip_fclose(r->entry);
    free(r->data);
    r->entry = NULL;
    r->data = NULL;
}

static void release(void *object) {
    reader *r = object;
    close_entry(r);
    if (r->zip)
        zip_discard(r->zip);
    if (r->file)
        fclose(r->file);
    r->zip = NULL;
    r->file = NULL;
}

static reader *begin(mlc_arena *arena, mlc_diag *diag, const char *path) {
    reader *r = MLC_NEW(arena, reader);
    r->arena = arena;
    r->diag = diag;
    r->path = path;
    mlc_arena_defer(arena, release, r);
    return r;
}

static bool fail(const reader *r, const char *array, const char *problem) {
    return mlc_error(r->diag, "%s: array '%s' cannot be read: %s", mlc_escape(r->path), mlc_escape(array),
                     problem);
}

static bool read_bytes(reader *r, void *to, size_t size) {
    if (r->entry)
        return zip_fread(r->entry, to, size) == (zip_int64_t)size;
    return fread(to, 1, size, r->file) == size;
}

/* Also where libzip compares the checksum. */
static bool at_end(reader *r) {
    uint8_t more;
    return r->entry ? zip_fread(r->entry, &more, 1) == 0 : fgetc(r->file) == EOF;
}

/* One array from the current entry or file. */
static const mlc_tensor *read_array(reader *r, const char *name) {
    uint8_t prefix[MLC_NPY_PREFIX];
    size_t at, length;
    if (!read_bytes(r, prefix, sizeof prefix)) {
        fail(r, name, "it is cut off");
        return NULL;
    }
    const char *problem = mlc_npy_prefix(prefix, &at, &length);
    if (problem || length < sizeof prefix - at) {
        fail(r, name, problem ? problem : "its header is damaged");
        return NULL;
    }
    /* With version 1 the prefix has the first two bytes of the dict. */
    size_t have = sizeof prefix - at;
    char *dict = mlc_arena_alloc(r->arena, length + 1);
    memcpy(dict, prefix + at, have);
    if (!read_bytes(r, dict + have, length - have)) {
        fail(r, name, "it is cut off");
        return NULL;
    }
    mlc_npy npy;
    problem = mlc_npy_header(dict, length, &npy);
    if (problem) {
        fail(r, name, problem);
        return NULL;
    }
    size_t size = (size_t)mlc_shape_elements(&npy.shape) * (size_t)npy.size;
    if (size > MAX_ARRAY_SIZE) {
        fail(r, name, "it has more than 1 GiB of data");
        return NULL;
    }
    /* Read in pieces: memory is taken only for what the file really has. */
    size_t used = 0, cap = 0;
    while (used < size) {
        if (used == cap) {
            cap = cap ? 2 * cap : 1 << 20;
            cap = cap < size ? cap : size;
            uint8_t *grown = realloc(r->data, cap);
            if (!grown) {
                mlc_error(r->diag, "%s: out of memory", mlc_escape(r->path));
                return NULL;
            }
            r->data = grown;
        }
        if (!read_bytes(r, r->data + used, cap - used)) {
            fail(r, name, "it is cut off, or its data is damaged");
            return NULL;
        }
        used = cap;
    }
    if (!at_end(r)) {
        fail(r, name, "its data is damaged, or longer than its header says");
        return NULL;
    }
    mlc_tensor *t;
    problem = mlc_npy_decode(r->arena, &npy, r->data, &t);
    if (problem) {
        fail(r, name, problem);
        return NULL;
    }
    return t;
}

/* "x.npy" holds the array "x". */
static const char *array_name(mlc_arena *arena, const char *member) {
    size_t n = strlen(member);
    return mlc_arena_strndup(arena, member, n > 4 && strcmp(member + n - 4, ".npy") == 0 ? n - 4 : n);
}

static const mlc_arrays *read_archive(reader *r) {
    zip_int64_t n = zip_get_num_entries(r->zip, 0);
    if (n > MAX_ARRAYS) {
        mlc_error(r->diag, "%s: more than %d arrays", mlc_escape(r->path), MAX_ARRAYS);
        return NULL;
    }
    mlc_array *array = MLC_NEW_ARRAY(r->arena, n, mlc_array);
    for (zip_int64_t k = 0; k < n; k++) {
        const char *member = zip_get_name(r->zip, (zip_uint64_t)k, ZIP_FL_ENC_RAW);
        const char *name = array_name(r->arena, member ? member : "");
        r->entry = zip_fopen_index(r->zip, (zip_uint64_t)k, 0);
        if (!r->entry) {
            fail(r, name, zip_strerror(r->zip));
            return NULL;
        }
        array[k] = (mlc_array){name, read_array(r, name)};
        close_entry(r);
        if (!array[k].tensor)
            return NULL;
    }
    mlc_arrays *arrays = MLC_NEW(r->arena, mlc_arrays);
    *arrays = (mlc_arrays){(int)n, array};
    return arrays;
}

static const mlc_arrays *read_plain(reader *r) {
    mlc_array *array = MLC_NEW(r->arena, mlc_array);
    *array = (mlc_array){"", read_array(r, "")};
    mlc_arrays *arrays = MLC_NEW(r->arena, mlc_arrays);
    *arrays = (mlc_arrays){1, array};
    return array->tensor ? arrays : NULL;
}

static const mlc_arrays *read_file(reader *r) {
    char magic[6] = "";
    r->file = fopen(r->path, "rbe");
    if (!r->file) {
        mlc_error(r->diag, "%s: cannot be opened: %s", mlc_escape(r->path), strerror(errno));
        return NULL;
    }
    size_t n = fread(magic, 1, sizeof magic, r->file);
    if (n == sizeof magic && memcmp(magic, "\x93NUMPY", 6) == 0) {
        rewind(r->file);
        return read_plain(r);
    }
    int code = 0;
    if (n >= 2 && memcmp(magic, "PK", 2) == 0)
        r->zip = zip_open(r->path, ZIP_RDONLY, &code);
    if (r->zip)
        return read_archive(r);
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    mlc_error(r->diag, "%s: not a NumPy file (.npz or .npy)%s%s", mlc_escape(r->path), code ? ": " : "",
              code ? zip_error_strerror(&error) : "");
    zip_error_fini(&error);
    return NULL;
}

const mlc_arrays *mlc_npz_read(mlc_arena *arena, mlc_diag *diag, const char *path) {
    reader *r = begin(arena, diag, path);
    const mlc_arrays *arrays = read_file(r);
    release(r);
    return arrays;
}

const mlc_tensor *mlc_arrays_find(const mlc_arrays *arrays, const char *name) {
    for (int k = 0; k < arrays->n; k++)
        if (strcmp(arrays->array[k].name, name) == 0)
            return arrays->array[k].tensor;
    return NULL;
}

/* --- writing --- */

static bool add_array(reader *r, const mlc_array *array) {
    /* A fixed time, the earliest that zip archives have, on any day and in any zone. */
    static const struct tm epoch = {.tm_year = 80, .tm_mday = 1, .tm_isdst = -1};
    size_t size;
    const uint8_t *data = mlc_npy_encode(r->arena, array->tensor, &size);
    const char *member = mlc_arena_printf(r->arena, "%s.npy", array->name);
    struct tm local = epoch;
    time_t when = mktime(&local);
    zip_source_t *source = zip_source_buffer(r->zip, data, size, 0);
    if (!source)
        return false;
    zip_int64_t k = zip_file_add(r->zip, member, source, ZIP_FL_ENC_UTF_8);
    if (k < 0) {
        zip_source_free(source);
        return false;
    }
    return zip_set_file_compression(r->zip, (zip_uint64_t)k, ZIP_CM_STORE, 0) == 0 &&
           zip_file_set_mtime(r->zip, (zip_uint64_t)k, when, 0) == 0;
}

bool mlc_npz_write(mlc_arena *arena, mlc_diag *diag, const char *path, const mlc_array *array, int n) {
    reader *r = begin(arena, diag, path);
    int code = 0;
    r->zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    if (!r->zip) {
        zip_error_t error;
        zip_error_init_with_code(&error, code);
        mlc_error(diag, "%s: cannot be written: %s", mlc_escape(path), zip_error_strerror(&error));
        zip_error_fini(&error);
        return false;
    }
    bool ok = true;
    for (int k = 0; ok && k < n; k++)
        ok = add_array(r, &array[k]);
    /* Writes beside the file and renames. */
    if (ok && zip_close(r->zip) == 0)
        r->zip = NULL;
    else
        ok = mlc_error(diag, "%s: cannot be written: %s", mlc_escape(path), zip_strerror(r->zip));
    release(r);
    return ok;
}
