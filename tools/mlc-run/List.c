/* mlc-run list: the attached filters. */
#include "Pins.h"

#include <argp.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

typedef struct list_options {
    const char *bpffs;
    bool json;
} list_options;

static json_t *describe(mlc_run *run, const mlc_attachment *a) {
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:s}", "name", a->name, "device",
                     mlc_attachment_device(run, a), "mode", mlc_attachment_text(a, "mode"), "program",
                     mlc_attachment_text(a, "program"), "model",
                     a->manifest ? mlc_escape(a->manifest->model) : "", "object",
                     mlc_attachment_text(a, "object"), "program_id", (json_int_t)a->info.prog_id, "since",
                     json_integer_value(json_object_get(a->state, "since")), "pins", mlc_escape(a->current));
}

static void print_row(mlc_run *run, const mlc_attachment *a) {
    char since[32] = "?";
    time_t t = (time_t)json_integer_value(json_object_get(a->state, "since"));
    struct tm tm;
    if (t && localtime_r(&t, &tm))
        strftime(since, sizeof since, "%Y-%m-%d %H:%M", &tm);
    printf("%-16s  %-16s  %-8s  %-10u  %-16s  %s\n", a->name, mlc_attachment_device(run, a),
           mlc_escape(mlc_attachment_text(a, "mode")), a->info.prog_id, since,
           a->manifest ? mlc_escape(a->manifest->model) : "");
}

static bool list(mlc_run *run, const list_options *o) {
    const char *root = mlc_pin_path(run, o->bpffs, NULL, NULL);
    DIR *dir = opendir(root);
    if (!dir && errno != ENOENT)
        return mlc_error(&run->diag, "%s: %s", mlc_escape(root), mlc_errno(errno));
    json_t *rows = json_array();
    if (!o->json)
        printf("%-16s  %-16s  %-8s  %-10s  %-16s  %s\n", "Name", "Device", "Mode", "Program ID", "Since",
               "Model");
    bool ok = true;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        mlc_attachment a;
        const char *name = mlc_arena_strdup(run->arena, e->d_name);
        if (!mlc_name_valid(name) || access(mlc_pin_path(run, o->bpffs, name, "link"), F_OK))
            continue;
        if (!mlc_attachment_open(run, o->bpffs, name, &a)) {
            ok = false;
            continue;
        }
        if (o->json)
            json_array_append_new(rows, describe(run, &a));
        else
            print_row(run, &a);
        mlc_attachment_close(&a);
    }
    if (dir)
        closedir(dir);
    if (o->json)
        mlc_print_json(rows);
    else
        json_decref(rows);
    return ok;
}

enum { KEY_BPFFS = MLC_KEY_FIRST };

static error_t parse(int key, char *arg, struct argp_state *state) {
    list_options *o = state->input;
    switch (key) {
    case KEY_BPFFS:
        o->bpffs = arg;
        return 0;
    case MLC_KEY_JSON:
        o->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "too many arguments: '%s'", mlc_escape(arg));
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

bool mlc_command_list(mlc_run *run, int argc, char **argv) {
    static const struct argp_option options[] = {
        {"bpffs", KEY_BPFFS, "DIR", 0, "The BPF file system to look in (default: " MLC_BPFFS ")", 0},
        MLC_OPTION_JSON,
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc = "Show the attached packet filters.",
    };
    list_options o = {.bpffs = MLC_BPFFS};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return list(run, &o);
}
