/* mlc-run detach: takes a filter off its device and removes its pins. */
#include "Pins.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

typedef struct detach_options {
    const char *name, *bpffs;
    bool json;
} detach_options;

static bool detach(mlc_run *run, const detach_options *o) {
    mlc_attachment a;
    if (!mlc_pins_prepare(run, o->bpffs) || !mlc_attachment_open(run, o->bpffs, o->name, &a))
        return false;
    const char *device = mlc_attachment_device(run, &a);
    /* Unpinning would do, unless another process holds the link. */
    int err = bpf_link_detach(a.link);
    mlc_attachment_close(&a);
    if (err && err != -EOPNOTSUPP && err != -ENOLINK)
        return mlc_error(&run->diag, "'%s': %s", o->name, mlc_errno(err));
    if (!mlc_unpin(run, a.dir))
        return false;
    if (o->json)
        mlc_print_json(json_pack("{s:s,s:s}", "name", o->name, "device", device));
    else
        printf("%s: detached from %s\n", o->name, device);
    return true;
}

enum { KEY_BPFFS = MLC_KEY_FIRST };

static error_t parse(int key, char *arg, struct argp_state *state) {
    detach_options *o = state->input;
    switch (key) {
    case KEY_BPFFS:
        o->bpffs = arg;
        return 0;
    case MLC_KEY_JSON:
        o->json = true;
        return 0;
    case ARGP_KEY_ARG:
        mlc_take_argument(state, &o->name, 1, arg);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which name? See mlc-run list");
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

bool mlc_command_detach(mlc_run *run, int argc, char **argv) {
    static const struct argp_option options[] = {
        {"bpffs", KEY_BPFFS, "DIR", 0, "The BPF file system it is pinned in (default: " MLC_BPFFS ")", 0},
        MLC_OPTION_JSON,
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "NAME",
        .doc = "Take a packet filter off its device.",
    };
    detach_options o = {.bpffs = MLC_BPFFS};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return detach(run, &o);
}
