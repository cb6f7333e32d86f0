#include "Backend.h"

#include "Elf.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* Samples in a batch: the host has no reason to take more at once. */
enum { BATCH = 256 };

static bool run_host(mlc_run *run, mlc_backend *b, int64_t n) {
    (void)run;
    for (int64_t i = 0; i < n; i++)
        b->model(b->in + (size_t)i * b->in_stride, b->out + (size_t)i * b->out_stride, b->scratch);
    return true;
}

#ifdef __x86_64__
static bool map_image(mlc_run *run, const void *image, size_t size, mlc_backend *b) {
    void *code = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        return mlc_error(&run->diag, "mapping the host image: %s", mlc_errno(errno));
    memcpy(code, image, size);
    if (mprotect(code, size, PROT_READ | PROT_EXEC))
        return mlc_error(&run->diag, "making the host image executable: %s", mlc_errno(errno));
    memcpy(&b->model, &code, sizeof code);
    return true;
}
#else
static bool map_image(mlc_run *run, const void *image, size_t size, mlc_backend *b) {
    (void)image, (void)size, (void)b;
    return mlc_error(&run->diag,
                     "the host image is x86-64 code and this machine is not; use --backend=kernel");
}
#endif

/* 8-byte aligned, as the arena's memory is. */
static uint8_t *buffer(mlc_run *run, size_t size) {
    return mlc_arena_alloc(run->arena, size + 8);
}

bool mlc_host_backend(mlc_run *run, const char *path, const mlc_manifest *manifest, int64_t n,
                      mlc_backend *b) {
    void *image;
    size_t size;
    *b = (mlc_backend){.run = run_host};
    if (!mlc_elf_section(run, path, ".mlc.host", &image, &size))
        return false;
    if (!image)
        return mlc_error(&run->diag, "%s: has no host image; compile with --target=bpf-raw or --target=host",
                         mlc_escape(path));
    b->capacity = n < BATCH ? n : BATCH;
    b->in_stride = ((size_t)manifest->in_size + 7) & ~(size_t)7;
    b->out_stride = ((size_t)manifest->out_size + 7) & ~(size_t)7;
    b->in = buffer(run, b->in_stride * (size_t)b->capacity);
    b->out = buffer(run, b->out_stride * (size_t)b->capacity);
    b->scratch = buffer(run, (size_t)manifest->scratch_size);
    return map_image(run, image, size, b);
}
