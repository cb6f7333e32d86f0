/*
 * mlc-run attach: puts a packet filter on a network device. The link is pinned,
 * so the filter stays when this process ends.
 */
#include "Pins.h"

#include <argp.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct attach_options {
    const char *path, *device, *name, *program, *bpffs, *mode;
    bool interpreter, json;
} attach_options;

static const struct {
    const char *name;
    __u32 flags;
} modes[] = {{"native", XDP_FLAGS_DRV_MODE}, {"generic", XDP_FLAGS_SKB_MODE}};
enum { N_MODES = sizeof modes / sizeof modes[0] };

/* Tries the modes asked for; *mode is the one that worked. Returns the link or a negative errno. */
static int create_link(int program, unsigned ifindex, const char *wanted, const char **mode) {
    int link = -EINVAL;
    for (int i = 0; i < N_MODES; i++) {
        LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = modes[i].flags);
        if (strcmp(wanted, "auto") && strcmp(wanted, modes[i].name))
            continue;
        *mode = modes[i].name;
        link = bpf_link_create(program, (int)ifindex, BPF_XDP, &opts);
        if (link >= 0 || link == -EBUSY || link == -EEXIST || link == -EPERM)
            break;
    }
    return link;
}

static bool explain_link(mlc_run *run, const attach_options *o, int err) {
    const char *device = mlc_escape(o->device);
    switch (-err) {
    case EBUSY:
    case EEXIST:
        return mlc_error(&run->diag,
                         "%s: another XDP program is attached; see mlc-run list or ip link show %s", device,
                         device);
    case EPERM:
        return mlc_error(
            &run->diag, "%s: %s: %s", device, mlc_errno(err),
            mlc_missing_capability(BPF_PROG_TYPE_XDP)
                ? mlc_arena_printf(run->arena, "%s is missing", mlc_missing_capability(BPF_PROG_TYPE_XDP))
                : "the network namespace belongs to another user namespace");
    case EOPNOTSUPP:
        return mlc_error(&run->diag, "%s: its driver does not run XDP programs; use --mode=generic", device);
    default:
        mlc_error(&run->diag, "%s: attaching in %s mode: %s", device, o->mode, mlc_errno(err));
        return mlc_note(
            &run->diag,
            "drivers refuse large MTUs, LRO and too few queues in native mode; try --mode=generic");
    }
}

/* Link, generation and state; everything is undone when a step fails. */
static bool attach_program(mlc_run *run, const attach_options *o, const mlc_object *object,
                           const struct bpf_program *program, unsigned ifindex, const char *dir,
                           const char **mode) {
    const char *generation;
    int link = create_link(bpf_program__fd(program), ifindex, o->mode, mode);
    if (link < 0)
        return explain_link(run, o, link);
    const json_t *state = mlc_state_create(run, object, program, o->device, *mode);
    const char *path = mlc_arena_printf(run->arena, "%s/link", dir);
    bool ok = mlc_pin_generation(run, dir, object, program, state, &generation);
    if (ok && bpf_obj_pin(link, path))
        ok = mlc_error(&run->diag, "%s: %s", mlc_escape(path), mlc_errno(errno));
    close(link); /* detaches when it is not pinned */
    return ok;
}

static void report(const attach_options *o, const char *mode, const struct bpf_program *program) {
    if (o->json)
        mlc_print_json(json_pack("{s:s,s:s,s:s,s:s}", "name", o->name, "device", mlc_escape(o->device),
                                 "mode", mode, "program", mlc_escape(bpf_program__name(program))));
    else
        printf("%s: %s on %s, %s mode\n", o->name, mlc_escape(bpf_program__name(program)),
               mlc_escape(o->device), mode);
    if (!o->json && !strcmp(mode, "generic") && !strcmp(o->mode, "auto"))
        printf(
            "generic mode is several times slower than native; the driver of %s does not take XDP programs\n",
            mlc_escape(o->device));
}

static bool claim_name(mlc_run *run, const attach_options *o, const char **dir) {
    if (!mlc_name_valid(o->name))
        return mlc_error(&run->diag, "'%s' is not a name (letters, digits, _ and -); give one with --name",
                         mlc_escape(o->name));
    if (!mlc_pins_prepare(run, o->bpffs))
        return false;
    *dir = mlc_pin_path(run, o->bpffs, o->name, NULL);
    if (!access(mlc_pin_path(run, o->bpffs, o->name, "link"), F_OK))
        return mlc_error(&run->diag,
                         "'%s' is attached already; replace it with mlc-run swap %s %s, or choose another "
                         "--name",
                         o->name, o->name, mlc_escape(o->path));
    if (!mlc_unpin(run, *dir))
        return false;
    return !mkdir(*dir, 0755) || mlc_error(&run->diag, "%s: %s", mlc_escape(*dir), mlc_errno(errno));
}

static bool attach(mlc_run *run, const attach_options *o) {
    const char *dir = "", *mode = "";
    unsigned ifindex = if_nametoindex(o->device);
    if (!ifindex)
        return mlc_error(&run->diag, "no network device '%s' in this network namespace",
                         mlc_escape(o->device));
    mlc_object object;
    if (!mlc_object_open(run, o->path, &object))
        return false;
    struct bpf_program *program = mlc_object_program(run, &object, BPF_PROG_TYPE_XDP, o->program);
    bool ok = program != NULL;
    if (ok) {
        mlc_object_select(&object, program);
        ok = mlc_object_load(run, &object) && mlc_require_jit(run, program, o->interpreter) &&
             claim_name(run, o, &dir);
    }
    if (ok) {
        ok = attach_program(run, o, &object, program, ifindex, dir, &mode);
        if (ok)
            report(o, mode, program);
        else
            mlc_unpin(run, dir);
    }
    mlc_object_close(&object);
    return ok;
}

enum { KEY_DEV = MLC_KEY_FIRST, KEY_MODE, KEY_NAME, KEY_PROGRAM, KEY_INTERPRETER, KEY_BPFFS };

static void parse_mode(const char *arg, struct argp_state *state, attach_options *o) {
    o->mode = arg;
    bool known = !strcmp(arg, "auto");
    for (int i = 0; i < N_MODES; i++)
        known = known || !strcmp(arg, modes[i].name);
    if (!known)
        argp_error(state, "--mode: '%s' is none of auto, native and generic", mlc_escape(arg));
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    attach_options *o = state->input;
    switch (key) {
    case KEY_DEV:
        o->device = arg;
        return 0;
    case KEY_MODE:
        parse_mode(arg, state, o);
        return 0;
    case KEY_NAME:
        o->name = arg;
        return 0;
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
        mlc_take_argument(state, &o->path, 1, arg);
        return 0;
    case ARGP_KEY_END:
        if (!o->path)
            argp_error(state, "which object?");
        else if (!o->device)
            argp_error(state, "--dev=IFACE is missing");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

bool mlc_command_attach(mlc_run *run, int argc, char **argv) {
    static const struct argp_option options[] = {
        {"dev", KEY_DEV, "IFACE", 0, "The network device", 0},
        {"mode", KEY_MODE, "MODE", 0,
         "native (in the driver), generic (in the network stack, slower) or auto, which "
         "tries both in this order (default: auto)",
         0},
        {"name", KEY_NAME, "NAME", 0,
         "What the other commands call it (default: the device's name, with _ for dots)", 0},
        {"program", KEY_PROGRAM, "NAME", 0, "The XDP program, where the object has several", 0},
        {"allow-interpreter", KEY_INTERPRETER, NULL, 0,
         "Attach even when the kernel's JIT did not compile the program", 0},
        {"bpffs", KEY_BPFFS, "DIR", 0, "The BPF file system to pin in (default: " MLC_BPFFS ")", 0},
        MLC_OPTION_JSON,
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "OBJ --dev=IFACE",
        .doc = "Attach a packet filter to a network device.\v"
               "The filter stays when this command ends; link, program and maps are pinned below "
               "DIR/mlc/NAME. It "
               "needs CAP_BPF, CAP_NET_ADMIN and a BPF file system that the user may write to.",
    };
    attach_options o = {.bpffs = MLC_BPFFS, .mode = "auto"};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (!o.name) {
        char *name = mlc_arena_strdup(run->arena, o.device);
        for (char *s = name; *s; s++)
            *s = *s == '.' ? '_' : *s;
        o.name = name;
    }
    return attach(run, &o);
}
