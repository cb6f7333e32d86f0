/*
 * mlc-run verify: each program of an object goes through the verifier on its own,
 * so that one refusal does not hide the verdict on the others.
 */
#include "Object.h"
#include "Stack.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct verify_options {
    const char *path;
    bool json;
} verify_options;

typedef struct verdict {
    const char *program, *section;
    bool accepted;
    mlc_rejection why;            /* when not accepted */
    long insns;                   /* in the object, subprograms included */
    long xlated, jited;           /* instructions, bytes */
    long verified, states, stack; /* -1: not stated */
    double load_ms;
} verdict;

/* Opens the object anew with program number `index` alone in it. */
static struct bpf_program *open_one(mlc_run *run, const char *path, int index, mlc_object *object) {
    if (!mlc_object_open(run, path, object))
        return NULL;
    struct bpf_program *program = bpf_object__next_program(object->bpf, NULL);
    for (; program && index > 0; index--)
        program = bpf_object__next_program(object->bpf, program);
    mlc_object_select(object, program);
    return program;
}

static void read_accepted(mlc_run *run, const struct bpf_program *program, const char *log, verdict *v) {
    struct bpf_prog_info info;
    v->accepted = true;
    v->verified = mlc_log_number(log, "processed");
    v->states = mlc_log_number(log, "total_states");
    v->stack = mlc_stack_depth(run, bpf_program__insns(program), bpf_program__insn_cnt(program), log);
    if (!mlc_program_info(run, bpf_program__fd(program), &info))
        return;
    v->xlated = info.xlated_prog_len / 8;
    v->jited = info.jited_prog_len;
    if (info.verified_insns)
        v->verified = info.verified_insns;
}

/* BPF_LOG_STATS; the log of every instruction is asked for only after a refusal. */
enum { LOG_INSTRUCTIONS = 1, LOG_STATS = 4 };

static bool verify_one(mlc_run *run, const char *path, int index, verdict *v) {
    mlc_object object;
    const char *log;
    struct bpf_program *program = open_one(run, path, index, &object);
    if (!program)
        return false;
    v->program = mlc_arena_strdup(run->arena, bpf_program__name(program));
    v->section = mlc_arena_strdup(run->arena, bpf_program__section_name(program));
    bool loaded = mlc_object_try_load(run, &object, LOG_STATS, &log, &v->why);
    v->insns = (long)bpf_program__insn_cnt(program);
    v->load_ms = object.load_ms;
    if (loaded) {
        read_accepted(run, program, log, v);
        mlc_object_close(&object);
        return true;
    }
    v->verified = mlc_log_number(log, "processed");
    v->states = mlc_log_number(log, "total_states");
    v->stack = mlc_stack_depth(run, bpf_program__insns(program), bpf_program__insn_cnt(program), log);
    bool logged = log[0] != 0;
    mlc_object_close(&object);
    if (!logged)
        return true;
    mlc_rejection why;
    if (!open_one(run, path, index, &object))
        return false;
    if (!mlc_object_try_load(run, &object, LOG_INSTRUCTIONS, &log, &why) && why.err != ENOSPC)
        v->why = why;
    mlc_object_close(&object);
    return true;
}

static void set_known(json_t *j, const char *key, long x) {
    json_object_set_new(j, key, x < 0 ? json_null() : json_integer(x));
}

static json_t *json_text(const char *s) {
    return s ? json_string(s) : json_null();
}

static json_t *verdict_json(mlc_run *run, const verdict *v) {
    json_t *j = json_pack("{s:s,s:s,s:s,s:I,s:f}", "program", mlc_escape(v->program), "section",
                          mlc_escape(v->section), "verdict", v->accepted ? "success" : "failure", "insns",
                          (json_int_t)v->insns, "load_ms", v->load_ms);
    set_known(j, "verified_insns", v->verified);
    set_known(j, "states", v->states);
    set_known(j, "stack", v->stack);
    if (v->accepted) {
        set_known(j, "xlated_insns", v->xlated);
        set_known(j, "jited_bytes", v->jited);
        return j;
    }
    const mlc_rejection *r = &v->why;
    json_t *e = json_object();
    json_object_set_new(e, "message", json_string(mlc_rejection_str(run, r)));
    json_object_set_new(e, "reason", json_string(r->reason));
    json_object_set_new(e, "errno", json_integer(r->err));
    json_object_set_new(e, "hint", json_text(r->hint));
    set_known(e, "instruction", r->insn);
    set_known(e, "line", r->line ? r->line : -1);
    json_object_set_new(e, "source", json_text(r->source));
    json_object_set_new(e, "node", json_text(r->node ? mlc_escape(r->node->name) : NULL));
    json_object_set_new(j, "rejection", e);
    return j;
}

static const char *number(mlc_run *run, long x) {
    return x < 0 ? "-" : mlc_arena_printf(run->arena, "%ld", x);
}

static void print_table(mlc_run *run, const char *path, const verdict *v, int n) {
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    int file = 4, name = 7;
    for (int i = 0; i < n; i++)
        if ((int)strlen(mlc_escape(v[i].program)) > name)
            name = (int)strlen(mlc_escape(v[i].program));
    if ((int)strlen(mlc_escape(base)) > file)
        file = (int)strlen(mlc_escape(base));
    printf("%-*s  %-*s  %-7s  %8s  %8s  %8s  %7s  %5s  %9s  %9s\n", file, "File", name, "Program", "Verdict",
           "Insns", "Xlated", "Verified", "States", "Stack", "JIT bytes", "Load ms");
    for (int i = 0; i < n; i++)
        printf("%-*s  %-*s  %-7s  %8ld  %8s  %8s  %7s  %5s  %9s  %9.2f\n", file, mlc_escape(base), name,
               mlc_escape(v[i].program), v[i].accepted ? "success" : "failure", v[i].insns,
               number(run, v[i].accepted ? v[i].xlated : -1), number(run, v[i].verified),
               number(run, v[i].states), number(run, v[i].stack),
               number(run, v[i].accepted ? v[i].jited : -1), v[i].load_ms);
}

static int count_programs(const mlc_object *object) {
    struct bpf_program *program;
    int n = 0;
    bpf_object__for_each_program(program, object->bpf) n++;
    return n;
}

static bool verify(mlc_run *run, const verify_options *o) {
    mlc_object object;
    if (!mlc_object_open(run, o->path, &object))
        return false;
    int n = count_programs(&object);
    mlc_object_close(&object);
    if (n == 0)
        return mlc_error(&run->diag, "%s: has no BPF program", mlc_escape(o->path));

    verdict *v = MLC_NEW_ARRAY(run->arena, n, verdict);
    for (int i = 0; i < n; i++)
        if (!verify_one(run, o->path, i, &v[i]))
            return false;
    if (o->json) {
        json_t *list = json_array();
        for (int i = 0; i < n; i++)
            json_array_append_new(list, verdict_json(run, &v[i]));
        mlc_print_json(json_pack("{s:s,s:s,s:o}", "file", mlc_escape(o->path), "kernel", mlc_kernel_release(),
                                 "programs", list));
    } else {
        print_table(run, o->path, v, n);
    }
    bool ok = true;
    for (int i = 0; i < n; i++) {
        if (v[i].accepted)
            continue;
        ok = mlc_error(&run->diag, "%s: program '%s' %s", mlc_escape(o->path), mlc_escape(v[i].program),
                       mlc_rejection_str(run, &v[i].why));
        if (v[i].why.hint)
            mlc_note(&run->diag, "%s", v[i].why.hint);
    }
    return ok;
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    verify_options *o = state->input;
    switch (key) {
    case MLC_KEY_JSON:
        o->json = true;
        return 0;
    case ARGP_KEY_ARG:
        mlc_take_argument(state, &o->path, 1, arg);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which object?");
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

bool mlc_command_verify(mlc_run *run, int argc, char **argv) {
    static const struct argp_option options[] = {MLC_OPTION_JSON, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "OBJ",
        .doc = "Load every program of an object through the kernel's verifier and report.\v"
               "Insns counts the object's instructions, Xlated those that the kernel made of them, Verified "
               "those that "
               "the verifier walked (its limit is 1,000,000), Stack the bytes of its deepest chain of calls. "
               "A refusal is "
               "explained with the node of the model it happened in. Any libbpf object will do. Nothing "
               "stays loaded.",
    };
    verify_options o = {0};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return verify(run, &o);
}
