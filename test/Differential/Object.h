/* A bpf-raw object in memory, on its two ways to run: the kernel, and the host image inside. */
#ifndef OBJECT_H
#define OBJECT_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <elf.h>
#include <jansson.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct object {
    const uint8_t *elf;
    size_t size;
    json_t *manifest;
    size_t in_size, out_size, scratch_size;
} object;

static inline const Elf64_Shdr *object_sections(const object *o, int *n) {
    const Elf64_Ehdr *h = (const void *)o->elf;
    *n = h->e_shnum;
    return (const void *)(o->elf + h->e_shoff);
}

/* NULL: there is none. */
static inline const void *object_section(const object *o, const char *name, size_t *size) {
    int n;
    const Elf64_Shdr *s = object_sections(o, &n);
    const char *names =
        (const char *)o->elf + s[((const Elf64_Ehdr *)(const void *)o->elf)->e_shstrndx].sh_offset;
    for (int i = 0; i < n; i++) {
        if (strcmp(names + s[i].sh_name, name) != 0)
            continue;
        *size = s[i].sh_size;
        return o->elf + s[i].sh_offset;
    }
    return NULL;
}

/* Offset of a variable in its section; aborts where there is none. */
static inline size_t object_variable(const object *o, const char *name) {
    int n;
    const Elf64_Shdr *s = object_sections(o, &n);
    for (int i = 0; i < n; i++) {
        if (s[i].sh_type != SHT_SYMTAB)
            continue;
        const Elf64_Sym *symbol = (const void *)(o->elf + s[i].sh_offset);
        const char *names = (const char *)o->elf + s[s[i].sh_link].sh_offset;
        for (size_t k = 0; k < s[i].sh_size / sizeof *symbol; k++)
            if (strcmp(names + symbol[k].st_name, name) == 0)
                return symbol[k].st_value;
    }
    abort();
}

static inline size_t object_number(const object *o, const char *key) {
    return (size_t)json_integer_value(json_object_get(o->manifest, key));
}

static inline void object_open(object *o, const void *elf, size_t size) {
    size_t length;
    *o = (object){.elf = elf, .size = size};
    const char *text = object_section(o, ".mlc.manifest", &length);
    o->manifest = text ? json_loadb(text, length, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    if (!o->manifest)
        abort();
    o->in_size = object_number(o, "in_size");
    o->out_size = object_number(o, "out_size");
    o->scratch_size = object_number(o, "scratch_size");
}

static inline void object_close(object *o) {
    json_decref(o->manifest);
}

/* Reads (x NULL) or writes the elements of tensor k of "inputs" or "outputs". */
static inline void object_tensor(const object *o, const char *which, size_t k, uint8_t *bytes, int64_t n,
                                 const int64_t *write, int64_t *read) {
    const json_t *t = json_array_get(json_object_get(o->manifest, which), k);
    const char *type = json_string_value(json_object_get(t, "type"));
    size_t width = (size_t)atoi(type + 1) / 8;
    bytes += json_integer_value(json_object_get(t, "offset"));
    for (int64_t i = 0; i < n; i++, bytes += width) {
        if (write) {
            memcpy(bytes, &write[i], width); /* little-endian */
            continue;
        }
        int64_t x = type[0] == 'i' && bytes[width - 1] & 0x80 ? -1 : 0;
        memcpy(&x, bytes, width);
        read[i] = x;
    }
}

typedef void (*object_model)(const uint8_t *in, uint8_t *out, uint8_t *scratch);

/* The check of function types reads in front of the function; host images have nothing there. */
#ifdef __clang__
__attribute__((no_sanitize("function")))
#endif
static inline bool
object_run_host(const object *o, uint8_t *in, uint8_t *out, size_t n) {
    size_t size;
    const void *image = object_section(o, ".mlc.host", &size);
    void *code = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *scratch = calloc(1, o->scratch_size + 8);
    if (!image || code == MAP_FAILED || !scratch)
        abort();
    memcpy(code, image, size);
    if (mprotect(code, size, PROT_READ | PROT_EXEC))
        abort();
    object_model model;
    memcpy(&model, &code, sizeof model);
    for (size_t i = 0; i < n; i++)
        model(in + i * o->in_size, out + i * o->out_size, scratch);
    munmap(code, size);
    free(scratch);
    return true;
}

/* Copies n times `size` bytes into a map, or out of it. Its values may be larger. */
static inline bool object_copy(const struct bpf_map *map, const uint8_t *in, uint8_t *out, size_t size,
                               uint32_t n) {
    uint8_t *value = calloc(1, bpf_map__value_size(map));
    bool ok = value && bpf_map__value_size(map) >= size;
    for (uint32_t i = 0; ok && i < n; i++) {
        if (in)
            memcpy(value, in + i * size, size);
        ok = in ? bpf_map_update_elem(bpf_map__fd(map), &i, value, BPF_ANY) == 0
                : bpf_map_lookup_elem(bpf_map__fd(map), &i, value) == 0;
        if (ok && out)
            memcpy(out + i * size, value, size);
    }
    free(value);
    return ok;
}

/* The program takes `n` samples, from the first on. To be called before it is loaded. */
static inline bool object_prepare(const object *o, struct bpf_object *bpf, uint32_t n) {
    struct bpf_map *bss = bpf_object__find_map_by_name(bpf, ".bss");
    size_t size = bss ? bpf_map__value_size(bss) : 0, count = object_variable(o, "mlc_count");
    uint8_t globals[64] = {0};
    if (size == 0 || size > sizeof globals || count + sizeof n > size)
        return false;
    memcpy(globals + count, &n, sizeof n);
    return bpf_map__set_initial_value(bss, globals, size) == 0;
}

static inline bool object_test_run(struct bpf_object *bpf, uint32_t n) {
    static uint8_t packet[64]; /* a socket program's test run wants an Ethernet header */
    LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet, .data_size_in = sizeof packet, .repeat = (int)n);
    struct bpf_program *program = bpf_object__find_program_by_name(bpf, "mlc_raw");
    return program && bpf_prog_test_run_opts(bpf_program__fd(program), &run) == 0;
}

/* False: the kernel refused, and said why on stderr. */
static inline bool object_run_kernel(const object *o, const uint8_t *in, uint8_t *out, uint32_t n) {
    struct bpf_object *bpf = bpf_object__open_mem(o->elf, o->size, NULL);
    struct bpf_map *inputs = bpf ? bpf_object__find_map_by_name(bpf, "mlc_in") : NULL;
    struct bpf_map *outputs = bpf ? bpf_object__find_map_by_name(bpf, "mlc_out") : NULL;
    bool ok = inputs && outputs && !bpf_map__set_max_entries(inputs, n) &&
              !bpf_map__set_max_entries(outputs, n) && object_prepare(o, bpf, n) && !bpf_object__load(bpf);
    /* A model without inputs has a map all the same. */
    ok = ok && (o->in_size == 0 || object_copy(inputs, in, NULL, o->in_size, n)) && object_test_run(bpf, n) &&
         object_copy(outputs, NULL, out, o->out_size, n);
    bpf_object__close(bpf);
    return ok;
}

static inline bool kernel_loads(const struct bpf_insn *code, size_t n) {
    int fd = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "probe", "GPL", code, n, NULL);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* Whether the kernel knows the instructions of -mcpu=v4: sign-extending loads, for one. */
static inline bool kernel_has_v4(void) {
    const struct bpf_insn code[] = {
        {.code = BPF_ST | BPF_DW | BPF_MEM, .dst_reg = BPF_REG_10, .off = -8},
        {.code = BPF_LDX | BPF_B | 0x80, .dst_reg = BPF_REG_0, .src_reg = BPF_REG_10, .off = -8},
        {.code = BPF_JMP | BPF_EXIT},
    };
    return kernel_loads(code, sizeof code / sizeof code[0]);
}

/* may_goto. */
static inline bool kernel_has_may_goto(void) {
    const struct bpf_insn code[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
        {.code = BPF_JMP | 0xe0},
        {.code = BPF_JMP | BPF_EXIT},
    };
    return kernel_loads(code, sizeof code / sizeof code[0]);
}

#endif
