#include "Import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Far above what can become a kernel program; keeps sizes in 32 bits. */
#define MAX_FILE_SIZE ((off_t)512 << 20)

static bool read_all(mlc_importer *im, int fd, size_t size) {
    /* One more byte than expected, to notice a file that grows. */
    uint8_t *buffer = malloc(size + 1);
    if (!buffer)
        return mlc_error(im->diag, "out of memory reading the file");
    im->file_buffer = buffer;
    size_t used = 0;
    while (used <= size) {
        ssize_t n = read(fd, buffer + used, size + 1 - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mlc_error(im->diag, "cannot read the file: %s", strerror(errno));
        if (n == 0)
            break;
        used += (size_t)n;
    }
    if (used != size)
        return mlc_error(im->diag, "the file changed while it was being read");
    im->data = buffer;
    im->size = size;
    return true;
}

static bool read_fd(mlc_importer *im, int fd, const char *path) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return mlc_error(im->diag, "cannot read the file: %s", strerror(errno));
    if (S_ISDIR(st.st_mode))
        return mlc_report_folder(im->diag, path);
    if (!S_ISREG(st.st_mode))
        return mlc_error(im->diag, "not a regular file");
    if (st.st_size > MAX_FILE_SIZE)
        return mlc_error(im->diag, "the file has %lld bytes; models of more than %lld bytes are not accepted",
                         (long long)st.st_size, (long long)MAX_FILE_SIZE);
    return read_all(im, fd, (size_t)st.st_size);
}

bool mlc_importer_read(mlc_importer *im, const char *path) {
    const char *slash = strrchr(path, '/');
    const char *folder = ".";
    if (slash)
        folder = slash == path ? "/" : mlc_arena_strndup(im->arena, path, (size_t)(slash - path));

    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return mlc_error(im->diag, "cannot open the file: %s", strerror(errno));
    bool ok = read_fd(im, fd, path);
    close(fd);
    if (ok)
        im->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return ok;
}

void mlc_importer_release(mlc_importer *im) {
    if (im->model)
        onnx__model_proto__free_unpacked(im->model, NULL);
    if (im->folder >= 0)
        close(im->folder);
    if (im->external_file >= 0)
        close(im->external_file);
    EVP_MD_CTX_free(im->digest);
    free(im->file_buffer);
    free(im->external_buffer);
    im->model = NULL;
    im->folder = im->external_file = -1;
    im->digest = NULL;
    im->file_buffer = im->external_buffer = NULL;
}

bool mlc_importer_hash(mlc_importer *im, const void *data, size_t size) {
    if (!im->digest) {
        im->digest = EVP_MD_CTX_new();
        if (!im->digest || !EVP_DigestInit_ex(im->digest, EVP_sha256(), NULL))
            return mlc_error(im->diag, "SHA-256 is not available from libcrypto");
    }
    if (!EVP_DigestUpdate(im->digest, data, size))
        return mlc_error(im->diag, "SHA-256 failed in libcrypto");
    return true;
}
