#include "Import.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct location {
    const char *file; /* relative to the model's folder */
    uint64_t offset, length;
    bool has_length;
} location;

static bool parse_number(const char *text, uint64_t *out) {
    uint64_t x = 0;
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9' || x > (uint64_t)INT64_MAX / 10 - 1)
            return false;
        x = 10 * x + (uint64_t)(*p - '0');
    }
    *out = x;
    return *text != '\0';
}

static bool parse_location(mlc_importer *im, const mlc_subject *about, const Onnx__TensorProto *t,
                           location *l) {
    *l = (location){0};
    for (size_t k = 0; k < t->n_external_data; k++) {
        const char *key = t->external_data[k]->key, *value = t->external_data[k]->value;
        if (!key || !value)
            continue;
        bool ok = true;
        if (strcmp(key, "location") == 0)
            l->file = value;
        else if (strcmp(key, "offset") == 0)
            ok = parse_number(value, &l->offset);
        else if (strcmp(key, "length") == 0)
            ok = l->has_length = parse_number(value, &l->length);
        if (!ok)
            return mlc_fail(im, about, "has external data with the invalid %s '%s'", mlc_escape(key),
                            mlc_escape(value));
    }
    if (!l->file || !*l->file)
        return mlc_fail(im, about, "has external data without a location");
    return true;
}

/* The descriptor, or -1 after reporting. */
static int open_beneath(mlc_importer *im, const mlc_subject *about, const char *file) {
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    int fd = (int)syscall(SYS_openat2, im->folder, file, &how, sizeof how);
    if (fd >= 0)
        return fd;
    int error = errno;
    mlc_fail(im, about, "has external data '%s', which cannot be opened: %s", mlc_escape(file),
             error == EXDEV   ? "it is outside the model's folder"
             : error == ELOOP ? "it is, or is reached through, a symbolic link"
                              : strerror(error));
    if (error == ENOENT)
        mlc_note(im->diag, "keep the data file beside the model, under the name that it was exported with");
    else if (error == ELOOP || error == EXDEV)
        mlc_note(im->diag,
                 "external data is read only from regular files beneath the model's folder: copy it there");
    else if (error == ENOSYS)
        mlc_note(im->diag, "external data needs the system call openat2 of Linux 5.6");
    return -1;
}

static bool read_range(int fd, uint8_t *to, size_t size, uint64_t offset) {
    while (size) {
        ssize_t n = pread(fd, to, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        to += n;
        size -= (size_t)n;
        offset += (uint64_t)n;
    }
    return true;
}

static bool read_location(mlc_importer *im, const mlc_subject *about, const location *l, size_t size) {
    const char *file = mlc_escape(l->file);
    struct stat st;
    if (fstat(im->external_file, &st) != 0 || !S_ISREG(st.st_mode))
        return mlc_fail(im, about, "has external data '%s', which is not a regular file", file);
    if (l->has_length && l->length != size)
        return mlc_fail(im, about, "has %llu bytes of external data, but its shape and type need %zu",
                        (unsigned long long)l->length, size);
    uint64_t available = (uint64_t)st.st_size;
    if (l->offset > available || size > available - l->offset)
        return mlc_fail(im, about, "needs %zu bytes from byte %llu of '%s', which has only %llu bytes", size,
                        (unsigned long long)l->offset, file, (unsigned long long)available);
    im->external_buffer = malloc(size);
    if (!im->external_buffer)
        return mlc_error(im->diag, "out of memory reading '%s'", file);
    if (!read_range(im->external_file, im->external_buffer, size, l->offset))
        return mlc_fail(im, about, "has external data '%s', which cannot be read", file);
    return true;
}

const uint8_t *mlc_external_data(mlc_importer *im, const mlc_subject *about, const Onnx__TensorProto *t,
                                 size_t size) {
    location l;
    free(im->external_buffer);
    im->external_buffer = NULL;
    if (!parse_location(im, about, t, &l))
        return NULL;
    /* Exporters write no file when nothing is in it. */
    if (size == 0)
        return (const uint8_t *)"";
    if (im->folder < 0) {
        mlc_fail(im, about, "has external data, but the model's folder is not at hand");
        return NULL;
    }
    im->external_file = open_beneath(im, about, l.file);
    if (im->external_file < 0)
        return NULL;
    bool ok = read_location(im, about, &l, size);
    close(im->external_file);
    im->external_file = -1;
    if (!ok || !mlc_importer_hash(im, im->external_buffer, size))
        return NULL;
    return im->external_buffer;
}
