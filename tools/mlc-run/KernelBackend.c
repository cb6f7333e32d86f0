#include "Backend.h"

#include "Elf.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Bounds the memory of mlc_in and mlc_out each. */
enum { MAX_BATCH_BYTES = 64 << 20 };

/* A socket program's test run wants an Ethernet header. */
static uint8_t packet[64];

static bool set_globals(mlc_run *run, mlc_backend *b, uint32_t next, uint32_t count) {
    uint8_t *value = mlc_arena_alloc(run->arena, b->globals_size);
    uint32_t zero = 0;
    if (bpf_map_lookup_elem(b->globals, &zero, value))
        return mlc_error(&run->diag, "reading .bss: %s", mlc_errno(errno));
    memcpy(value + b->next_at, &next, sizeof next);
    memcpy(value + b->count_at, &count, sizeof count);
    if (bpf_map_update_elem(b->globals, &zero, value, BPF_ANY))
        return mlc_error(&run->diag, "writing .bss: %s", mlc_errno(errno));
    return true;
}

static bool get_next(mlc_run *run, mlc_backend *b, uint32_t *next) {
    uint8_t *value = mlc_arena_alloc(run->arena, b->globals_size);
    uint32_t zero = 0;
    if (bpf_map_lookup_elem(b->globals, &zero, value))
        return mlc_error(&run->diag, "reading .bss: %s", mlc_errno(errno));
    memcpy(next, value + b->next_at, sizeof *next);
    return true;
}

static bool run_kernel(mlc_run *run, mlc_backend *b, int64_t n) {
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof packet, .repeat = (int)n);
    uint32_t next = 0;
    if (!set_globals(run, b, 0, (uint32_t)n) || !mlc_test_run(run, b->program, &opts) ||
        !get_next(run, b, &next))
        return false;
    if (next != 0)
        return mlc_error(&run->diag, "program mlc_raw stopped at sample %u of %lld", next, (long long)n);
    return true;
}

bool mlc_kernel_time(mlc_run *run, mlc_backend *b, int64_t n, int repeat, double *ns) {
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof packet, .repeat = repeat);
    if (!set_globals(run, b, 0, (uint32_t)n) || !mlc_test_run(run, b->program, &opts))
        return false;
    *ns = opts.duration;
    return true;
}

/* Gives a map of samples room for `n` and makes it mappable. */
static struct bpf_map *size_map(mlc_run *run, mlc_object *object, const char *name, int64_t size, int64_t n) {
    struct bpf_map *map = bpf_object__find_map_by_name(object->bpf, name);
    if (!map || bpf_map__type(map) != BPF_MAP_TYPE_ARRAY || bpf_map__value_size(map) < size) {
        mlc_error(&run->diag, "%s: has no array map '%s' of %lld bytes; was it made with --target=bpf-raw?",
                  mlc_escape(object->path), name, (long long)size);
        return NULL;
    }
    bpf_map__set_max_entries(map, (__u32)n);
    bpf_map__set_map_flags(map, bpf_map__map_flags(map) | BPF_F_MMAPABLE);
    return map;
}

/* Array elements lie 8-byte aligned. */
static size_t stride_of(const struct bpf_map *map) {
    return ((size_t)bpf_map__value_size(map) + 7) & ~(size_t)7;
}

static uint8_t *map_memory(mlc_run *run, const struct bpf_map *map, int64_t n) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = (stride_of(map) * (size_t)n + page - 1) & ~(page - 1);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
    if (memory != MAP_FAILED)
        return memory;
    mlc_error(&run->diag, "mapping %s: %s", bpf_map__name(map), mlc_errno(errno));
    return NULL;
}

static struct bpf_map *globals_map(mlc_object *object) {
    struct bpf_map *map;
    bpf_object__for_each_map(map, object->bpf) {
        const char *dot = strrchr(bpf_map__name(map), '.');
        if (dot && !strcmp(dot, ".bss"))
            return map;
    }
    return NULL;
}

static bool load(mlc_run *run, mlc_backend *b, int64_t n) {
    mlc_object *object = &b->object;
    const mlc_manifest *m = object->manifest;
    struct bpf_program *program = mlc_object_program(run, object, BPF_PROG_TYPE_SOCKET_FILTER, "mlc_raw");
    if (!program)
        return false;
    int64_t widest = (m->in_size > m->out_size ? m->in_size : m->out_size) + 8;
    b->capacity = n < MAX_BATCH_BYTES / widest ? n : MAX_BATCH_BYTES / widest;
    b->capacity = b->capacity > 0 ? b->capacity : 1;
    struct bpf_map *in = size_map(run, object, "mlc_in", m->in_size, b->capacity);
    struct bpf_map *out = in ? size_map(run, object, "mlc_out", m->out_size, b->capacity) : NULL;
    struct bpf_map *globals = globals_map(object);
    if (!out || !mlc_elf_variable(run, object->path, ".bss", "mlc_next", &b->next_at) ||
        !mlc_elf_variable(run, object->path, ".bss", "mlc_count", &b->count_at))
        return false;
    b->globals_size = globals ? bpf_map__value_size(globals) : 0;
    if (b->next_at + 4 > b->globals_size || b->count_at + 4 > b->globals_size)
        return mlc_error(&run->diag, "%s: damaged: a variable lies outside .bss", mlc_escape(object->path));
    mlc_object_select(object, program);
    if (!mlc_object_load(run, object))
        return false;
    b->program = bpf_program__fd(program);
    b->globals = bpf_map__fd(globals);
    b->in_stride = stride_of(in);
    b->out_stride = stride_of(out);
    b->in = map_memory(run, in, b->capacity);
    b->out = b->in ? map_memory(run, out, b->capacity) : NULL;
    return b->out != NULL;
}

bool mlc_kernel_backend(mlc_run *run, mlc_object *object, int64_t n, mlc_backend *b) {
    *b = (mlc_backend){.run = run_kernel, .object = *object};
    object->bpf = NULL;
    if (load(run, b, n))
        return true;
    mlc_backend_close(b);
    return false;
}

void mlc_backend_close(mlc_backend *b) {
    mlc_object_close(&b->object);
}
