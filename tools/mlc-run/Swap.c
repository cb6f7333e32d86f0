/*
 * mlc-run swap: another program takes the place of an attached one in a single
 * step of the kernel, with the state that the old one gathered. Whatever fails
 * before that step leaves the old program as it was.
 */
#include "Pins.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct swap_options {
    const char *arguments[2]; /* NAME OBJ */
    const char *program, *bpffs;
    bool interpreter, json;
} swap_options;

/* What the filter remembers of earlier packets. */
static const char *const state_maps[] = {"mlc_flows", "mlc_sources", "mlc_destinations", "mlc_stats"};
enum { N_STATE_MAPS = sizeof state_maps / sizeof state_maps[0] };

static bool same_definition(const struct bpf_map *map, int fd) {
    struct bpf_map_info info = {0};
    __u32 size = sizeof info;
    return bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.type == bpf_map__type(map) &&
           info.key_size == bpf_map__key_size(map) && info.value_size == bpf_map__value_size(map) &&
           info.max_entries == bpf_map__max_entries(map) && info.map_flags == bpf_map__map_flags(map);
}

/* Counters keep their meaning only when they have the same names in the same order. */
static bool same_counters(const mlc_attachment *a, const mlc_object *object) {
    if (!a->manifest || !object->manifest)
        return !a->manifest && !object->manifest;
    return json_equal(json_object_get(a->manifest->json, "counters"),
                      json_object_get(object->manifest->json, "counters"));
}

/* Gives the new program the old one's maps of state; lists those that carry on and
 * those that start empty. */
static bool inherit(mlc_run *run, const mlc_attachment *a, mlc_object *object, json_t *kept, json_t *fresh) {
    for (int i = 0; i < N_STATE_MAPS; i++) {
        const char *name = state_maps[i];
        struct bpf_map *map = bpf_object__find_map_by_name(object->bpf, name);
        if (!map)
            continue;
        int fd = bpf_obj_get(mlc_arena_printf(run->arena, "%s/%s", a->current, name));
        bool same =
            fd >= 0 && same_definition(map, fd) && (strcmp(name, "mlc_stats") || same_counters(a, object));
        int err = same ? bpf_map__reuse_fd(map, fd) : 0; /* duplicates fd */
        if (fd >= 0)
            close(fd);
        if (err)
            return mlc_error(&run->diag, "taking over map %s: %s", name, mlc_errno(err));
        json_array_append_new(same ? kept : fresh, json_string(name));
    }
    return true;
}

static bool update_link(mlc_run *run, const mlc_attachment *a, const struct bpf_program *program) {
    LIBBPF_OPTS(bpf_link_update_opts, opts, 0);
    if (a->program >= 0) {
        opts.flags = BPF_F_REPLACE; /* only if the old program is still the one we looked at */
        opts.old_prog_fd = (__u32)a->program;
    }
    int err = bpf_link_update(a->link, bpf_program__fd(program), &opts);
    if (!err)
        return true;
    if (err == -ENOLINK || err == -ENODEV)
        return mlc_error(&run->diag, "'%s': its device is gone; detach it and attach again", a->name);
    return mlc_error(&run->diag, "'%s': replacing the program: %s; the old one goes on", a->name,
                     mlc_errno(err));
}

static void print_maps(const char *what, const json_t *names) {
    for (size_t i = 0; i < json_array_size(names); i++)
        printf("%s%s%s", i ? ", " : "; ", i ? "" : what, json_string_value(json_array_get(names, i)));
}

static void report(const mlc_attachment *a, const mlc_object *object, const char *generation, bool json,
                   const json_t *kept, const json_t *fresh) {
    const char *id = strrchr(generation, '/') + 1;
    if (json) {
        mlc_print_json(json_pack("{s:s,s:I,s:o,s:O,s:O,s:f}", "name", a->name, "old_program_id",
                                 (json_int_t)a->info.prog_id, "program_id", json_integer(atoll(id)), "kept",
                                 kept, "fresh", fresh, "load_ms", object->load_ms));
        return;
    }
    printf("%s: program %u replaced by %s", a->name, a->info.prog_id, id);
    print_maps("carries on with ", kept);
    print_maps("starts empty: ", fresh);
    putchar('\n');
}

static bool replace(mlc_run *run, const swap_options *o, const mlc_attachment *a, mlc_object *object,
                    json_t *kept, json_t *fresh) {
    const char *generation;
    struct bpf_program *program = mlc_object_program(run, object, BPF_PROG_TYPE_XDP, o->program);
    if (!program)
        return false;
    mlc_object_select(object, program);
    if (!inherit(run, a, object, kept, fresh) || !mlc_object_load(run, object) ||
        !mlc_require_jit(run, program, o->interpreter))
        return false;
    const json_t *state = mlc_state_create(run, object, program, mlc_attachment_text(a, "device"),
                                           mlc_attachment_text(a, "mode"));
    if (!mlc_pin_generation(run, a->dir, object, program, state, &generation))
        return false;
    if (!update_link(run, a, program)) {
        mlc_unpin(run, generation);
        return false;
    }
    report(a, object, generation, o->json, kept, fresh);
    return mlc_unpin(run, a->current);
}

static bool swap(mlc_run *run, const swap_options *o) {
    mlc_attachment a;
    mlc_object object;
    if (!mlc_pins_prepare(run, o->bpffs) || !mlc_attachment_open(run, o->bpffs, o->arguments[0], &a))
        return false;
    bool ok = mlc_object_open(run, o->arguments[1], &object);
    if (ok) {
        json_t *kept = mlc_keep_json(run, json_array()), *fresh = mlc_keep_json(run, json_array());
        ok = replace(run, o, &a, &object, kept, fresh);
        mlc_object_close(&object);
    }
    mlc_attachment_close(&a);
    return ok;
}

enum { KEY_PROGRAM = MLC_KEY_FIRST, KEY_INTERPRETER, KEY_BPFFS };

static error_t parse(int key, char *arg, struct argp_state *state) {
    swap_options *o = state->input;
    switch (key) {
    case KEY_PROGRAM:
        o->program = arg;
        return 0;
    case KEY_INTERPRETER:
        o->interpreter = true;
        return 0;
    case KEY_BPFFS:
        o->bpffs = arg;
        return 0;
    case MLC_KEY_JSON:
        o->json = true;
        return 0;
    case ARGP_KEY_ARG:
        mlc_take_argument(state, o->arguments, 2, arg);
        return 0;
    case ARGP_KEY_END:
        if (state->arg_num < 2)
            argp_error(state, "a name and an object are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

bool mlc_command_swap(mlc_run *run, int argc, char **argv) {
    static const struct argp_option options[] = {
        {"program", KEY_PROGRAM, "NAME", 0, "The XDP program, where the object has several", 0},
        {"allow-interpreter", KEY_INTERPRETER, NULL, 0,
         "Swap even when the kernel's JIT did not compile the program", 0},
        {"bpffs", KEY_BPFFS, "DIR", 0, "The BPF file system it is pinned in (default: " MLC_BPFFS ")", 0},
        MLC_OPTION_JSON,
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "NAME OBJ",
        .doc = "Replace an attached packet filter without missing a packet.\v"
               "Maps of flows, sources and destinations carry on where both programs define them alike, "
               "counters where "
               "they have the same names. When anything fails the old program goes on.",
    };
    swap_options o = {.bpffs = MLC_BPFFS};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return swap(run, &o);
}
