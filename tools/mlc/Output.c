/* Output appears complete or not at all. */
#include "Mlc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool failed(const char *path) {
    fprintf(stderr, "mlc: error: cannot write '%s': %s\n", path, strerror(errno));
    return false;
}

static bool write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

/* Devices and pipes cannot be renamed over. */
static bool is_special(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && !S_ISREG(s.st_mode);
}

static bool write_special(const char *path, const char *data, size_t size) {
    int fd = strcmp(path, "-") == 0 ? dup(STDOUT_FILENO) : open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return failed(path);
    bool ok = write_all(fd, data, size);
    if (close(fd) != 0)
        ok = false;
    return ok || failed(path);
}

bool write_file(const char *path, const char *data, size_t size) {
    if (strcmp(path, "-") == 0 || is_special(path))
        return write_special(path, data, size);
    char temporary[PATH_MAX];
    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary) {
        errno = ENAMETOOLONG;
        return failed(path);
    }
    /* A signal between creation and rename would leave the temporary file behind. */
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    int fd = mkostemp(temporary, O_CLOEXEC);
    bool ok = fd >= 0 && write_all(fd, data, size);
    mode_t mask = umask(0);
    umask(mask);
    if (fd >= 0 && fchmod(fd, 0666 & ~mask) != 0)
        ok = false;
    if (fd >= 0 && close(fd) != 0)
        ok = false;
    if (ok && rename(temporary, path) != 0)
        ok = false;
    int error = errno;
    if (!ok && fd >= 0)
        unlink(temporary);
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return ok || failed(path);
}
