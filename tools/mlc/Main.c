/* mlc: compiles an ONNX model to eBPF. Needs no privileges and never loads anything. */
#include "Mlc.h"

#include "mlc/features.h"
#include "mlc/op.h"
#include "mlc/pass.h"
#include "mlc/target.h"

#include <argp.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPT_TARGET = 256,
    OPT_FEATURES,
    OPT_ACTIONS,
    OPT_ON_ERROR,
    OPT_CALIBRATE,
    OPT_INPUT_FORMAT,
    OPT_PRECISION,
    OPT_MAX_ERROR,
    OPT_MAX_DROP,
    OPT_LABELS,
    OPT_REPORT,
    OPT_EMIT,
    OPT_STATS,
    OPT_COMPARE,
    OPT_PRINT_AFTER,
    OPT_STOP_AFTER,
    OPT_CHECK,
    OPT_CLOCK,
    OPT_UNROLL,
    OPT_KERNEL,
    OPT_CONSTANTS,
    OPT_LIST_OPS,
    OPT_LIST_PASSES,
    OPT_LIST_TARGETS,
    OPT_LIST_FEATURES,
};

const char *argp_program_version;
static char version_text[64];

static const struct argp_option argp_options[] = {
    {0, 0, 0, 0, "What to make:", 1},
    {"target", OPT_TARGET, "TARGET", 0, "bpf-xdp (default), bpf-raw or host", 1},
    {"output", 'o', "FILE", 0,
     "write to FILE; '-' is standard output (default: the model's name with .o, .s, ... here)", 1},
    {"emit", OPT_EMIT, "KIND", 0, "obj (default), asm, llvm-ir, graph, dot or json", 1},
    {0, 'c', 0, 0, "the same as --emit=obj", 1},
    {0, 'S', 0, 0, "the same as --emit=asm", 1},
    {0, 'O', "LEVEL", 0,
     "0: naive, 1: folded and branch-free, 2: fastest (default), 3: fastest of several that mlc-run "
     "measures, "
     "s: smallest",
     1},
    {0, 'm', "cpu=CPU", 0, "-mcpu=v1..v4: BPF instruction set (default v3: Linux 5.10 and newer)", 1},
    {"kernel", OPT_KERNEL, "VERSION", 0,
     "the oldest Linux that is to load the object (default 5.10); 6.9 and newer get may_goto loops, quick to "
     "verify and as fast without CAP_PERFMON",
     1},
    {"unroll", OPT_UNROLL, "HOW", 0,
     "auto (default): loops where layers are large; full: no loops; none: loops wherever possible", 1},
    {"constants", OPT_CONSTANTS, "WHERE", 0,
     "of 64 bits, packed weights above all: memory, immediate, or auto (default)", 1},
    {0, 0, 0, 0, "Packet filters:", 2},
    {"features", OPT_FEATURES, "SPEC", 0, "where the inputs come from: a list of names or a JSON file", 2},
    {"actions", OPT_ACTIONS, "RULES", 0, "which answer gives which verdict, e.g. 'drop: p >= 0.5'", 2},
    {"on-error", OPT_ON_ERROR, "WHAT", 0, "packets that cannot be classified: pass (default) or drop", 2},
    {"clock", OPT_CLOCK, "SOURCE", 0,
     "kernel (default), or map: time is the global mlc_now (replayed captures)", 2},
    {0, 0, 0, 0, "Numbers:", 3},
    {"calibrate", OPT_CALIBRATE, "FILE", 0, "sample inputs, .npz or .csv, to choose scales by", 3},
    {"input-format", OPT_INPUT_FORMAT, "FORMAT", 0,
     "of float inputs: qM.N (default q15.16), scale:S,zero:Z,bits:B, or by name, as 'x=q7.8; "
     "y=scale:0.1,bits:u8'",
     3},
    {"labels", OPT_LABELS, "FILE[:ARRAY]", 0,
     "the classes of these samples, for --report, --stats and --max-accuracy-drop", 3},
    {"precision", OPT_PRECISION, "BITS", 0,
     "32 (default), 16, 8 to 2, ternary, or auto: the cheapest that keeps the promise below", 3},
    {"max-error", OPT_MAX_ERROR, "E", 0, "auto: outputs differ from the model's by at most E on the samples",
     3},
    {"max-accuracy-drop", OPT_MAX_DROP, "PERCENT", 0,
     "auto: so much accuracy may be lost on the samples, by --labels", 3},
    {0, 0, 0, 0, "What to show:", 4},
    {"stats", OPT_STATS, 0, 0,
     "of every node: scale, range, proven and measured error; how its code was made, instructions, estimated "
     "ns; stack, memory",
     4},
    {"report", OPT_REPORT, "FILE", 0, "write the same as JSON", 4},
    {"compare-O", OPT_COMPARE, 0, 0,
     "a table of all optimization levels; verified instructions and ns where mlc-run may load", 4},
    {"print-after", OPT_PRINT_AFTER, "PASS", 0,
     "print the graph after PASS, 'import' or 'all'; may be given again", 4},
    {"stop-after", OPT_STOP_AFTER, "PASS", 0, "stop there; the graph is the result", 4},
    {"check", OPT_CHECK, 0, 0, "compile, write nothing", 4},
    {"verbose", 'v', 0, 0, "say what is done", 4},
    {"list-ops", OPT_LIST_OPS, "markdown", OPTION_ARG_OPTIONAL, "supported operators", 4},
    {"list-passes", OPT_LIST_PASSES, 0, 0, "passes in order", 4},
    {"list-targets", OPT_LIST_TARGETS, 0, 0, "targets", 4},
    {"list-features", OPT_LIST_FEATURES, 0, 0, "built-in packet features", 4},
    {0},
};

static void choose_emit(struct argp_state *state, arguments *a, const char *kind) {
    static const char *const kinds[] = {"obj", "asm", "llvm-ir", "graph", "dot", "json"};
    for (int i = 0; i < 6; i++)
        if (strcmp(kind, kinds[i]) == 0) {
            a->options.emit = (mlc_emit)i;
            return;
        }
    argp_error(state, "--emit=%s: use obj, asm, llvm-ir, graph, dot or json", kind);
}

const char *const unroll_names[] = {"auto", "full", "none"};
const char *const constants_names[] = {"auto", "memory", "immediate"};

/* The number of `word` among three; an error of the option `name` otherwise. */
static int choose(struct argp_state *state, const char *name, const char *const *names, const char *word) {
    for (int i = 0; i < 3; i++)
        if (strcmp(word, names[i]) == 0)
            return i;
    argp_error(state, "--%s=%s: use %s, %s or %s", name, word, names[0], names[1], names[2]);
    return 0;
}

static double parse_positive(struct argp_state *state, const char *name, const char *arg) {
    char *end;
    double x = strtod(arg, &end);
    if (end == arg || *end || !(x > 0 && x < HUGE_VAL))
        argp_error(state, "--%s=%s: use a number above 0", name, arg);
    return x;
}

/* As 6.9; also 6.9.3-rc1. */
static unsigned parse_kernel(struct argp_state *state, const char *arg) {
    char major[5], minor[5];
    if (sscanf(arg, "%4[0-9].%4[0-9]", major, minor) != 2)
        argp_error(state, "--kernel=%s: use a version of Linux, as 6.9", arg);
    return MLC_KERNEL(atoi(major), atoi(minor));
}

static error_t parse_option(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case OPT_TARGET:
        a->options.target = arg;
        break;
    case 'o':
        a->output = arg;
        break;
    case OPT_EMIT:
        choose_emit(state, a, arg);
        break;
    case 'c':
        a->options.emit = MLC_EMIT_OBJ;
        break;
    case 'S':
        a->options.emit = MLC_EMIT_ASM;
        break;
    case 'O':
        if (strlen(arg) != 1 || !strchr("0123s", arg[0]))
            argp_error(state, "-O%s: use -O0, -O1, -O2, -O3 or -Os", arg);
        a->options.opt_level = arg[0];
        break;
    case 'm':
        if (strncmp(arg, "cpu=", 4) != 0)
            argp_error(state, "unknown option -m%s", arg);
        a->options.mcpu = arg + 4;
        break;
    case OPT_KERNEL:
        a->options.kernel = parse_kernel(state, arg);
        break;
    case OPT_FEATURES:
        a->options.features = arg;
        break;
    case OPT_ACTIONS:
        a->options.actions = arg;
        break;
    case OPT_ON_ERROR:
        a->options.on_error = arg;
        break;
    case OPT_CLOCK:
        if (strcmp(arg, "map") != 0 && strcmp(arg, "kernel") != 0)
            argp_error(state, "--clock=%s: use kernel or map", arg);
        a->options.clock_from_map = strcmp(arg, "map") == 0;
        break;
    case OPT_UNROLL:
        a->options.unroll = (mlc_unroll)choose(state, "unroll", unroll_names, arg);
        break;
    case OPT_CONSTANTS:
        a->options.constants = (mlc_constants)choose(state, "constants", constants_names, arg);
        break;
    case OPT_CALIBRATE:
        a->options.calibrate = arg;
        break;
    case OPT_INPUT_FORMAT:
        a->options.input_format = arg;
        break;
    case OPT_PRECISION:
        a->options.precision = arg;
        break;
    case OPT_MAX_ERROR:
        a->options.max_error = parse_positive(state, "max-error", arg);
        break;
    case OPT_MAX_DROP:
        a->options.max_accuracy_drop = parse_positive(state, "max-accuracy-drop", arg);
        break;
    case OPT_LABELS:
        a->options.labels = arg;
        break;
    case OPT_REPORT:
        a->report = arg;
        a->options.report = true;
        break;
    case OPT_STATS:
        a->stats = a->options.report = true;
        break;
    case OPT_COMPARE:
        a->compare = true;
        break;
    case OPT_PRINT_AFTER:
        if (a->n_print_after == MAX_PRINT_AFTER)
            argp_error(state, "too many --print-after");
        a->print_after[a->n_print_after++] = arg;
        break;
    case OPT_STOP_AFTER:
        a->options.stop_after = arg;
        break;
    case OPT_CHECK:
        a->options.check_only = true;
        break;
    case 'v':
        a->verbose = true;
        break;
    case OPT_LIST_OPS:
        a->list = LIST_OPS;
        a->markdown = arg && strcmp(arg, "markdown") == 0;
        break;
    case OPT_LIST_PASSES:
        a->list = LIST_PASSES;
        break;
    case OPT_LIST_TARGETS:
        a->list = LIST_TARGETS;
        break;
    case OPT_LIST_FEATURES:
        a->list = LIST_FEATURES;
        break;
    case ARGP_KEY_ARG:
        if (a->options.input)
            argp_error(state, "one model at a time");
        a->options.input = arg;
        break;
    case ARGP_KEY_END:
        if (!a->options.input && a->list == LIST_NOTHING)
            argp_error(state, "no model given");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp argp = {
    .options = argp_options,
    .parser = parse_option,
    .args_doc = "MODEL.onnx",
    .doc =
        "Compile an ONNX model to eBPF that Linux verifies, JITs and runs.\v"
        "The object is an ordinary libbpf object with BTF. `mlc-run` verifies, measures and attaches it.\n"
        "A file named *.graph is read as the text form of a graph.\n"
        "The same input gives the same bytes, but for -O3, whose choice depends on the machine: --stats and "
        "-v name the options that repeat it.\n"
        "Exit status: 0 done, 1 error, 2 wrong arguments.",
};

int main(int argc, char **argv) {
    arguments a = {0};
    mlc_options_init(&a.options);
    snprintf(version_text, sizeof version_text, "mlc %s", mlc_version());
    argp_program_version = version_text;
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    a.options.print_after = a.print_after;
    if (a.list != LIST_NOTHING)
        return print_list(&a);
    if (a.compare)
        return compare_levels(&a, argv[0]);
    return compile_file(&a, argv[0]);
}
