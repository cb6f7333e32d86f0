#include "Pins.h"

#include "mlc/version.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

bool mlc_name_valid(const char *name) {
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    return n >= 1 && n <= 64 && !name[n];
}

const char *mlc_pin_path(mlc_run *run, const char *bpffs, const char *name, const char *file) {
    return mlc_arena_printf(run->arena, "%s/mlc%s%s%s%s", bpffs, name ? "/" : "", name ? name : "",
                            file ? "/" : "", file ? file : "");
}

static bool is_bpffs(const char *path) {
    struct statfs fs;
    return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

bool mlc_pins_prepare(mlc_run *run, const char *bpffs) {
    if (access(bpffs, X_OK))
        return mlc_error(&run->diag, "%s: %s; another BPF file system can be named with --bpffs",
                         mlc_escape(bpffs), mlc_errno(errno));
    if (!is_bpffs(bpffs) && (strcmp(bpffs, MLC_BPFFS) || mount("bpf", bpffs, "bpf", 0, "mode=0700")))
        return mlc_error(&run->diag, "%s is not a BPF file system; mount it as root: mount -t bpf bpf %s",
                         mlc_escape(bpffs), mlc_escape(bpffs));
    const char *root = mlc_pin_path(run, bpffs, NULL, NULL);
    if (mkdir(root, 0755) && errno != EEXIST)
        return mlc_error(&run->diag, "%s: %s", mlc_escape(root), mlc_errno(errno));
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX))
        return mlc_error(&run->diag, "%s: %s", mlc_escape(root), mlc_errno(errno));
    return true;
}

static bool remove_tree(const char *path, int depth) {
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT || (errno == ENOTDIR && unlink(path) == 0);
    bool ok = depth > 0;
    for (struct dirent *e; ok && (e = readdir(dir));) {
        char child[PATH_MAX];
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (snprintf(child, sizeof child, "%s/%s", path, e->d_name) >= (int)sizeof child)
            ok = false;
        else if (unlink(child) && errno != ENOENT)
            ok = remove_tree(child, depth - 1);
    }
    closedir(dir);
    return ok && rmdir(path) == 0;
}

bool mlc_unpin(mlc_run *run, const char *path) {
    if (remove_tree(path, 2))
        return true;
    return mlc_error(&run->diag, "removing %s: %s", mlc_escape(path), mlc_errno(errno));
}

/* Reads the JSON in the array map at `path`. */
static json_t *read_state(mlc_run *run, const char *path) {
    struct bpf_map_info info = {0};
    __u32 size = sizeof info, zero = 0;
    int fd = bpf_obj_get(path);
    json_t *state = NULL;
    if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size) && info.type == BPF_MAP_TYPE_ARRAY) {
        char *text = mlc_arena_alloc(run->arena, (size_t)info.value_size + 1);
        if (!bpf_map_lookup_elem(fd, &zero, text))
            state = mlc_keep_json(run, json_loads(text, 0, NULL));
    }
    if (fd >= 0)
        close(fd);
    return state;
}

static bool pin_state(mlc_run *run, const json_t *state, const char *path) {
    char *text = json_dumps(state, JSON_COMPACT);
    if (!text)
        return mlc_error(&run->diag, "out of memory");
    __u32 zero = 0;
    int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "mlc_state", sizeof zero, (__u32)strlen(text) + 1, 1, NULL);
    int err = fd < 0 ? fd : bpf_map_update_elem(fd, &zero, text, BPF_ANY);
    if (!err)
        err = bpf_obj_pin(fd, path);
    if (fd >= 0)
        close(fd);
    free(text);
    return !err || mlc_error(&run->diag, "%s: %s", mlc_escape(path), mlc_errno(err));
}

json_t *mlc_state_create(mlc_run *run, const mlc_object *object, const struct bpf_program *program,
                         const char *device, const char *mode) {
    char absolute[PATH_MAX];
    json_t *manifest = object->manifest ? json_copy(object->manifest->json) : json_null();
    if (object->manifest)
        json_object_del(manifest, "nodes"); /* long, and of no use once the verifier agreed */
    return mlc_keep_json(
        run, json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:o}", "mlc_run", MLC_VERSION, "device", device, "mode",
                       mode, "object", mlc_escape(realpath(object->path, absolute) ? absolute : object->path),
                       "program", mlc_escape(bpf_program__name(program)), "since", (json_int_t)time(NULL),
                       "manifest", manifest));
}

/* libbpf's own maps (.rodata, .bss) have dots in their names, which bpffs does not take. */
static bool pin_maps(mlc_run *run, const char *dir, struct bpf_object *bpf) {
    struct bpf_map *map;
    bpf_object__for_each_map(map, bpf) {
        const char *name = bpf_map__name(map);
        if (bpf_map__fd(map) < 0 || strchr(name, '.'))
            continue;
        const char *path = mlc_arena_printf(run->arena, "%s/%s", dir, name);
        int err = bpf_obj_pin(bpf_map__fd(map), path);
        if (err)
            return mlc_error(&run->diag, "%s: %s", mlc_escape(path), mlc_errno(err));
    }
    return true;
}

bool mlc_pin_generation(mlc_run *run, const char *dir, const mlc_object *object,
                        const struct bpf_program *program, const json_t *state, const char **generation) {
    struct bpf_prog_info info;
    if (!mlc_program_info(run, bpf_program__fd(program), &info))
        return false;
    const char *path = *generation = mlc_arena_printf(run->arena, "%s/%u", dir, info.id);
    if (!mlc_unpin(run, path))
        return false;
    if (mkdir(path, 0755))
        return mlc_error(&run->diag, "%s: %s", mlc_escape(path), mlc_errno(errno));
    const char *prog = mlc_arena_printf(run->arena, "%s/prog", path);
    int err = bpf_obj_pin(bpf_program__fd(program), prog);
    bool ok = err ? mlc_error(&run->diag, "%s: %s", mlc_escape(prog), mlc_errno(err))
                  : pin_maps(run, path, object->bpf) &&
                        pin_state(run, state, mlc_arena_printf(run->arena, "%s/state", path));
    if (!ok)
        mlc_unpin(run, path);
    return ok;
}

bool mlc_attachment_open(mlc_run *run, const char *bpffs, const char *name, mlc_attachment *a) {
    *a = (mlc_attachment){.name = name, .link = -1, .program = -1};
    if (!mlc_name_valid(name))
        return mlc_error(&run->diag, "'%s' is not a name (letters, digits, _ and -)", mlc_escape(name));
    a->dir = mlc_pin_path(run, bpffs, name, NULL);
    __u32 size = sizeof a->info;
    a->link = bpf_obj_get(mlc_pin_path(run, bpffs, name, "link"));
    if (a->link < 0 && errno == ENOENT)
        return mlc_error(&run->diag, "nothing is attached as '%s'; see mlc-run list", name);
    if (a->link < 0 && (errno == EPERM || errno == EACCES))
        return mlc_error(&run->diag, "'%s': %s; %s", name, mlc_errno(errno),
                         mlc_missing_capability(BPF_PROG_TYPE_UNSPEC)
                             ? "CAP_BPF is missing"
                             : "the BPF file system does not let this user in");
    if (a->link < 0 || bpf_obj_get_info_by_fd(a->link, &a->info, &size)) {
        mlc_error(&run->diag, "'%s': %s", name, mlc_errno(errno));
        mlc_attachment_close(a);
        return false;
    }
    a->current = mlc_arena_printf(run->arena, "%s/%u", a->dir, a->info.prog_id);
    a->program = bpf_obj_get(mlc_arena_printf(run->arena, "%s/prog", a->current));
    a->state = read_state(run, mlc_arena_printf(run->arena, "%s/state", a->current));
    json_t *manifest = json_object_get(a->state, "manifest");
    if (json_is_object(manifest))
        a->manifest = mlc_manifest_parse(run, a->current, manifest);
    return true;
}

void mlc_attachment_close(mlc_attachment *a) {
    if (a->link >= 0)
        close(a->link);
    if (a->program >= 0)
        close(a->program);
    a->link = a->program = -1;
}

const char *mlc_attachment_device(mlc_run *run, const mlc_attachment *a) {
    char name[IF_NAMESIZE];
    if (a->info.xdp.ifindex == 0)
        return "(gone)";
    /* The same index may be another device in another namespace. */
    const char *known = mlc_attachment_text(a, "device");
    if (if_indextoname(a->info.xdp.ifindex, name) && !strcmp(name, known))
        return mlc_arena_strdup(run->arena, mlc_escape(name));
    return mlc_arena_printf(run->arena, "%s (renamed or in another namespace)", mlc_escape(known));
}

const char *mlc_attachment_text(const mlc_attachment *a, const char *key) {
    const char *s = json_string_value(json_object_get(a->state, key));
    return s ? s : "";
}

bool mlc_require_jit(mlc_run *run, const struct bpf_program *program, bool allowed) {
    struct bpf_prog_info info;
    if (!mlc_program_info(run, bpf_program__fd(program), &info))
        return false;
    if (info.jited_prog_len || allowed)
        return true;
    mlc_error(&run->diag,
              "program '%s' was not compiled by the kernel's JIT and would run in the interpreter",
              mlc_escape(bpf_program__name(program)));
    return mlc_note(&run->diag,
                    "check net.core.bpf_jit_enable (and bpf_jit_harden), or use --allow-interpreter");
}
