#include "Object.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* Kernels from 6.4 on keep the end of a log that does not fit, older ones fail. */
enum { LOG_SIZE = 16 << 20 };

/* What libbpf said during the present call; libbpf's callback has no user pointer. */
static struct {
    char first[1024];
    char program[128]; /* that failed to load */
} heard;

static int listen(enum libbpf_print_level level, const char *fmt, va_list args) {
    if (level != LIBBPF_WARN)
        return 0;
    char line[1024];
    vsnprintf(line, sizeof line, fmt, args);
    if (!heard.first[0])
        memcpy(heard.first, line, sizeof line);
    if (strstr(line, "BPF program load failed"))
        sscanf(line, "libbpf: prog '%127[^']'", heard.program);
    return 0;
}

static void start_listening(void) {
    memset(&heard, 0, sizeof heard);
    libbpf_set_print(listen);
}

bool mlc_object_open(mlc_run *run, const char *path, mlc_object *object) {
    *object = (mlc_object){.path = path};
    if (!mlc_manifest_read(run, path, &object->manifest))
        return false;
    start_listening();
    object->bpf = bpf_object__open(path);
    if (object->bpf)
        return true;
    const mlc_rejection why = mlc_explain(run, errno, BPF_PROG_TYPE_UNSPEC, "", heard.first, NULL);
    return mlc_error(&run->diag, "%s: %s", mlc_escape(path), why.reason);
}

void mlc_object_close(mlc_object *object) {
    bpf_object__close(object->bpf);
    object->bpf = NULL;
}

void mlc_object_select(mlc_object *object, const struct bpf_program *only) {
    struct bpf_program *program;
    bpf_object__for_each_program(program, object->bpf) bpf_program__set_autoload(program, program == only);
}

struct bpf_program *mlc_object_program(mlc_run *run, mlc_object *object, enum bpf_prog_type type,
                                       const char *name) {
    struct bpf_program *program, *found = NULL;
    int n = 0;
    bpf_object__for_each_program(program, object->bpf) {
        if (name ? !strcmp(bpf_program__name(program), name) : bpf_program__type(program) == type) {
            found = program;
            n++;
        }
    }
    const char *what = libbpf_bpf_prog_type_str(type);
    if (n == 1 && bpf_program__type(found) == type)
        return found;
    if (n > 1)
        mlc_error(&run->diag, "%s: has %d %s programs; choose one with --program=NAME",
                  mlc_escape(object->path), n, what);
    else if (n == 1)
        mlc_error(&run->diag, "%s: program '%s' is not of type %s", mlc_escape(object->path),
                  mlc_escape(name), what);
    else if (name)
        mlc_error(&run->diag, "%s: has no program '%s'", mlc_escape(object->path), mlc_escape(name));
    else
        mlc_error(&run->diag, "%s: has no program of type %s", mlc_escape(object->path), what);
    return NULL;
}

static char *log_buffer(mlc_run *run) {
    static char *log;
    if (!log) {
        void *memory =
            mmap(NULL, LOG_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        log = memory != MAP_FAILED ? memory : mlc_arena_alloc(run->arena, LOG_SIZE);
    }
    log[0] = 0;
    return log;
}

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static enum bpf_prog_type failed_type(const mlc_object *object) {
    struct bpf_program *program;
    enum bpf_prog_type type = BPF_PROG_TYPE_UNSPEC;
    bpf_object__for_each_program(program, object->bpf) {
        if (!bpf_program__autoload(program))
            continue;
        if (!strcmp(bpf_program__name(program), heard.program))
            return bpf_program__type(program);
        type = bpf_program__type(program);
    }
    return type;
}

bool mlc_object_try_load(mlc_run *run, mlc_object *object, int log_level, const char **log,
                         mlc_rejection *why) {
    char *buffer = log_buffer(run);
    *log = buffer;
    struct bpf_program *program;
    bpf_object__for_each_program(program, object->bpf) {
        bpf_program__set_log_level(program, (__u32)log_level);
        bpf_program__set_log_buf(program, buffer, LOG_SIZE);
    }
    start_listening();
    double start = now_ms();
    int err = bpf_object__load(object->bpf);
    object->load_ms = now_ms() - start;
    if (!err)
        return true;
    *why = mlc_explain(run, err, failed_type(object), buffer, heard.first, object->manifest);
    return false;
}

bool mlc_object_load(mlc_run *run, mlc_object *object) {
    const char *log;
    mlc_rejection why;
    if (mlc_object_try_load(run, object, 0, &log, &why))
        return true;
    const char *program = "";
    if (heard.program[0])
        program = mlc_arena_printf(run->arena, "program '%s' ", mlc_escape(heard.program));
    mlc_error(&run->diag, "%s: %s%s", mlc_escape(object->path), program, mlc_rejection_str(run, &why));
    return why.hint ? mlc_note(&run->diag, "%s", why.hint) : false;
}

bool mlc_program_info(mlc_run *run, int fd, struct bpf_prog_info *info) {
    __u32 size = sizeof *info;
    memset(info, 0, sizeof *info);
    if (bpf_obj_get_info_by_fd(fd, info, &size) == 0)
        return true;
    return mlc_error(&run->diag, "cannot read about a loaded program: %s", mlc_errno(errno));
}

bool mlc_test_run(mlc_run *run, int fd, struct bpf_test_run_opts *opts) {
    int err = bpf_prog_test_run_opts(fd, opts);
    if (!err)
        return true;
    return mlc_error(&run->diag, "running the program in the kernel: %s", mlc_errno(err));
}
