/*
 * mlc-opt: text form -> passes -> text form, for tests and for looking into the
 * compiler. It also runs the two evaluators, and makes random graphs.
 */
#include "mlc/import.h"
#include "mlc/mlc.h"
#include "mlc/npz.h"
#include "mlc/op.h"
#include "mlc/pass.h"
#include "mlc/rng.h"

#include "Opt.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPT_PASS = 256,
    OPT_EVAL,
    OPT_OUTPUTS,
    OPT_GENERATE,
    OPT_SEED,
    OPT_SAMPLES,
    OPT_NODES,
    OPT_COUNT,
    OPT_DIRECTORY,
    OPT_LIST_INT_OPS,
    OPT_EMIT,
    OPT_CERTIFY,
    OPT_CALIBRATE,
    OPT_PRECISION,
    OPT_INPUT_FORMAT,
};

const char *argp_program_version;
static char version_text[64];

static const struct argp_option argp_options[] = {
    {"pass", OPT_PASS, "NAME", 0, "run this pass (see mlc --list-passes); may be given again", 0},
    {"eval", OPT_EVAL, "INPUTS.npz", 0,
     "evaluate: the real-valued model, or the reference semantics of integer graphs", 0},
    {"outputs", OPT_OUTPUTS, "FILE.npz", 0, "where --eval writes the outputs, or --samples the inputs", 0},
    {"samples", OPT_SAMPLES, "N", 0, "write N random and extreme inputs of an integer graph to --outputs", 0},
    {"generate", OPT_GENERATE, "OP", 0,
     "make a random integer graph: instances of op OP side by side, or with OP 'graph' one of all ops", 0},
    {"nodes", OPT_NODES, "N", 0, "how many nodes --generate makes", 0},
    {"count", OPT_COUNT, "N", 0, "--generate makes N graphs, of seeds --seed, --seed + 1, ...", 0},
    {"directory", OPT_DIRECTORY, "DIR", 0, "where --count writes them: DIR/OP.SEED.graph", 0},
    {"seed", OPT_SEED, "N", 0, "of --generate and --samples", 0},
    {"list-int-ops", OPT_LIST_INT_OPS, NULL, 0, "the ops that --generate knows", 0},
    {"certify", OPT_CERTIFY, "N", 0, "check the certified error bounds of a model on N inputs", 0},
    {"calibrate", OPT_CALIBRATE, "FILE", 0, "of --certify, as of mlc", 0},
    {"precision", OPT_PRECISION, "BITS", 0, "of --certify, as of mlc", 0},
    {"input-format", OPT_INPUT_FORMAT, "FORMAT", 0, "of --certify, as of mlc", 0},
    {"emit", OPT_EMIT, "KIND", 0, "graph (default), dot or none", 0},
    {0},
};

static int parse_count(struct argp_state *state, const char *arg, int most) {
    char *end;
    errno = 0;
    long n = strtol(arg, &end, 10);
    if (errno || *end || end == arg || n < 1 || n > most)
        argp_error(state, "'%s' is not a number from 1 to %d", arg, most);
    return (int)n;
}

static uint64_t parse_seed(struct argp_state *state, const char *arg) {
    char *end;
    errno = 0;
    unsigned long long n = strtoull(arg, &end, 0);
    if (errno || *end || end == arg || *arg == '-')
        argp_error(state, "'%s' is not a seed", arg);
    return n;
}

static error_t parse_option(int key, char *arg, struct argp_state *state) {
    opt_arguments *a = state->input;
    switch (key) {
    case OPT_PASS:
        if (a->n_passes == MAX_PASSES)
            argp_error(state, "too many passes");
        a->pass[a->n_passes++] = arg;
        break;
    case OPT_EVAL:
        a->eval = arg;
        break;
    case OPT_OUTPUTS:
        a->outputs = arg;
        break;
    case OPT_SAMPLES:
        a->samples = parse_count(state, arg, 1 << 20);
        break;
    case OPT_NODES:
        a->nodes = parse_count(state, arg, 10000);
        break;
    case OPT_COUNT:
        a->count = parse_count(state, arg, 1 << 30);
        break;
    case OPT_DIRECTORY:
        a->directory = arg;
        break;
    case OPT_LIST_INT_OPS:
        a->list_int_ops = true;
        break;
    case OPT_GENERATE:
        a->generate = arg;
        break;
    case OPT_SEED:
        a->seed = parse_seed(state, arg);
        break;
    case OPT_CERTIFY:
        a->certify = parse_count(state, arg, 1 << 30);
        break;
    case OPT_CALIBRATE:
        a->calibrate = arg;
        break;
    case OPT_PRECISION:
        a->precision = arg;
        break;
    case OPT_INPUT_FORMAT:
        a->input_format = arg;
        break;
    case OPT_EMIT:
        a->emit = arg;
        break;
    case ARGP_KEY_ARG:
        if (a->input)
            argp_error(state, "one file at a time");
        a->input = arg;
        break;
    case ARGP_KEY_END:
        if (a->emit && strcmp(a->emit, "graph") != 0 && strcmp(a->emit, "dot") != 0 &&
            strcmp(a->emit, "none") != 0)
            argp_error(state, "--emit: '%s' is not graph, dot or none", a->emit);
        if (!a->count != !a->directory || (a->count && !a->generate))
            argp_error(state, "--generate, --count and --directory go together");
        if (!a->input && !a->generate && !a->list_int_ops)
            argp_error(state, "no file given");
        if ((a->eval || a->samples) && !a->outputs)
            argp_error(state, "--outputs says where to write");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp argp = {
    .options = argp_options,
    .parser = parse_option,
    .args_doc = "FILE.graph|MODEL.onnx",
    .doc = "Run passes of the mlc compiler on a graph, or evaluate it.",
};

static mlc_graph *load(mlc_arena *arena, mlc_diag *diag, const char *path) {
    size_t n = strlen(path);
    if (n >= 5 && strcmp(path + n - 5, ".onnx") == 0)
        return mlc_import_onnx(arena, diag, path);
    return mlc_graph_read(arena, diag, path);
}

static bool run(mlc_arena *arena, mlc_diag *diag, const opt_arguments *a) {
    if (a->count)
        return opt_generate_files(arena, diag, a);
    mlc_options options;
    mlc_options_init(&options);
    options.input = a->input;
    mlc_pass_context context = {.options = &options};
    mlc_graph *g = a->generate ? opt_generate(arena, diag, a, a->seed) : load(arena, diag, a->input);
    if (!g || !mlc_graph_verify(g))
        return false;
    for (int i = 0; i < a->n_passes; i++) {
        const mlc_pass *pass = mlc_pass_find(a->pass[i]);
        if (!pass)
            return mlc_error(diag, "no pass '%s'; `mlc --list-passes` shows them", a->pass[i]);
        if (!(g = mlc_pass_run(pass, g, &context)))
            return false;
    }
    if (a->certify)
        return opt_certify(g, a);
    if (a->samples)
        return opt_write_samples(g, a);
    if (a->eval)
        return opt_evaluate(g, a);
    if (!a->emit || strcmp(a->emit, "graph") == 0)
        fputs(mlc_graph_print(g, arena), stdout);
    else if (strcmp(a->emit, "dot") == 0)
        fputs(mlc_graph_dot(g, arena), stdout);
    return fflush(stdout) == 0;
}

int main(int argc, char **argv) {
    opt_arguments a = {0};
    snprintf(version_text, sizeof version_text, "mlc-opt %s", mlc_version());
    argp_program_version = version_text;
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    if (a.list_int_ops) {
        opt_list_int_ops();
        return fflush(stdout) == 0 ? 0 : 1;
    }
    mlc_arena *arena = mlc_arena_create((size_t)8 << 30);
    if (!arena)
        return 1;
    mlc_diag diag = {.file = a.input};
    jmp_buf exhausted;
    volatile bool ok = false;
    if (setjmp(exhausted) == 0) {
        mlc_arena_guard(arena, &exhausted);
        ok = run(arena, &diag, &a);
    } else {
        mlc_error(&diag, "out of memory");
    }
    mlc_arena_destroy(arena);
    return ok ? 0 : 1;
}
