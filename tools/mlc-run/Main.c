/*
 * mlc-run: loads, runs, measures and attaches the objects that mlc makes. The
 * commands are in one file each; this one chooses.
 */
#include "Run.h"

#include "mlc/version.h"

#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *argp_program_version = "mlc-run " MLC_VERSION;

static const struct command {
    const char *name;
    mlc_command_fn *run;
} commands[] = {
    {"verify", mlc_command_verify}, {"eval", mlc_command_eval},     {"replay", mlc_command_replay},
    {"bench", mlc_command_bench},   {"attach", mlc_command_attach}, {"detach", mlc_command_detach},
    {"list", mlc_command_list},     {"stats", mlc_command_stats},   {"swap", mlc_command_swap},
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static const char doc[] = "Run models that mlc compiled to eBPF.\v"
                          "Commands:\n"
                          "  verify OBJ      load every program through the kernel's verifier\n"
                          "  eval OBJ        run the model on samples and compare\n"
                          "  replay OBJ PCAP run a packet filter on a capture and compare\n"
                          "  bench OBJ       measure the time of one inference in the kernel\n"
                          "  attach OBJ      attach a packet filter to a network device\n"
                          "  detach NAME     take a packet filter off its device\n"
                          "  list            show the attached packet filters\n"
                          "  stats NAME      show the counters of an attached packet filter\n"
                          "  swap NAME OBJ   replace an attached packet filter, missing no packet\n"
                          "\n"
                          "`mlc-run COMMAND --help' explains a command. The kernel asks for CAP_BPF, and for "
                          "CAP_NET_ADMIN where packets are concerned; root is not needed.\n"
                          "\n"
                          "Exit status: 0 on success, 1 when the command failed, 2 on wrong usage.";

static const struct command *find_command(const char *name) {
    for (int i = 0; i < N_COMMANDS; i++)
        if (!strcmp(commands[i].name, name))
            return &commands[i];
    return NULL;
}

static _Noreturn void unknown_command(struct argp_state *state, const char *name) {
    const char *names[N_COMMANDS];
    for (int i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i].name;
    const char *closest = mlc_closest(name, names, N_COMMANDS);
    if (closest)
        argp_error(state, "unknown command '%s'; did you mean '%s'?", mlc_escape(name), closest);
    else
        argp_error(state, "unknown command '%s'", mlc_escape(name));
    exit(2);
}

/* Index of the command's name in argv. */
static error_t parse(int key, char *arg, struct argp_state *state) {
    int *at = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (!find_command(arg))
            unknown_command(state, arg);
        *at = state->next - 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which command?");
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_line(void *user, mlc_severity severity, const char *line) {
    (void)user, (void)severity;
    fflush(stdout);
    fprintf(stderr, "%s\n", line);
}

void mlc_take_argument(struct argp_state *state, const char **slots, int max, char *arg) {
    if (state->arg_num >= (unsigned)max)
        argp_error(state, "too many arguments: '%s'", mlc_escape(arg));
    else
        slots[state->arg_num] = arg;
}

long mlc_option_integer(struct argp_state *state, const char *option, const char *arg, long lo, long hi) {
    char *end;
    errno = 0;
    long x = strtol(arg, &end, 10);
    if (errno || end == arg || *end || x < lo || x > hi)
        argp_error(state, "--%s: '%s' is not a number from %ld to %ld", option, mlc_escape(arg), lo, hi);
    return x;
}

double mlc_option_real(struct argp_state *state, const char *option, const char *arg) {
    char *end;
    double x = strtod(arg, &end);
    if (end == arg || *end || !isfinite(x))
        argp_error(state, "--%s: '%s' is not a number", option, mlc_escape(arg));
    return x;
}

void mlc_print_json(json_t *json) {
    json_dumpf(json, stdout, JSON_INDENT(1) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(12));
    putchar('\n');
    json_decref(json);
}

static void drop_json(void *json) {
    json_decref(json);
}

json_t *mlc_keep_json(mlc_run *run, json_t *json) {
    if (json)
        mlc_arena_defer(run->arena, drop_json, json);
    return json;
}

const char *mlc_errno(int err) {
    err = abs(err);
    return err == 524 ? "not supported by this kernel (ENOTSUPP)" : strerror(err);
}

/* Output that did not arrive is a failure, whatever the command thought. */
static bool close_stdout(mlc_run *run) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    return mlc_error(&run->diag, "standard output: %s", mlc_errno(errno));
}

int main(int argc, char **argv) {
    argp_err_exit_status = 2;
    int at = 0;
    const struct argp argp = {.parser = parse, .args_doc = "COMMAND [ARGUMENT...]", .doc = doc};
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &at);

    mlc_run run = {.diag = {.sink = print_line, .file = "mlc-run"}};
    run.arena = mlc_arena_create((size_t)16 << 30);
    jmp_buf exhausted;
    if (!run.arena || setjmp(exhausted)) {
        mlc_error(&run.diag, "out of memory");
        return 1;
    }
    mlc_arena_guard(run.arena, &exhausted);

    char name[32];
    snprintf(name, sizeof name, "mlc-run %s", argv[at]);
    const struct command *command = find_command(argv[at]);
    argv[at] = name;
    bool ok = command->run(&run, argc - at, argv + at);
    ok = close_stdout(&run) && ok;
    mlc_arena_destroy(run.arena);
    return ok ? 0 : 1;
}
