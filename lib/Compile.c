/* The driver of a compilation: the pipeline as a list of calls. */
#include "CodeGen/CodeGen.h"

#include "Report/Report.h"
#include "mlc/import.h"
#include "mlc/pass.h"
#include "mlc/version.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bound on the memory of one compilation. */
#define ARENA_CAP ((size_t)8 << 30)

const char *mlc_version(void) {
    return MLC_VERSION;
}

void mlc_options_init(mlc_options *options) {
    *options = (mlc_options){
        .target = "bpf-xdp", .opt_level = '2', .kernel = MLC_KERNEL(5, 10), .max_accuracy_drop = -1};
}

void mlc_result_free(mlc_result *result) {
    free(result->data);
    free(result->report);
    free(result->table);
    *result = (mlc_result){0};
}

static bool text_result(mlc_diag *diag, const char *text, mlc_result *result) {
    result->size = strlen(text);
    result->data = strdup(text);
    return result->data || mlc_error(diag, "out of memory");
}

/* Files named *.graph hold the text form; everything else is taken for ONNX. */
static mlc_graph *load(mlc_arena *arena, mlc_diag *diag, const char *path) {
    size_t n = strlen(path);
    if (n >= 6 && strcmp(path + n - 6, ".graph") == 0)
        return mlc_graph_read(arena, diag, path);
    return mlc_import_onnx(arena, diag, path);
}

static bool wants_print(const mlc_options *options, const char *pass) {
    for (const char *const *p = options->print_after; p && *p; p++)
        if (strcmp(*p, pass) == 0 || strcmp(*p, "all") == 0)
            return true;
    return false;
}

static bool check_pass(mlc_diag *diag, const char *name) {
    if (strcmp(name, "import") == 0 || mlc_pass_find(name))
        return true;
    mlc_error(diag, "no pass '%s'", mlc_escape(name));
    return mlc_note(diag, "`mlc --list-passes` shows them");
}

static bool check_options(const mlc_options *o, mlc_diag *diag, const mlc_target **target) {
    static const char *const mcpus[] = {"v1", "v2", "v3", "v4"};
    *target = mlc_target_find(o->target);
    if (!*target) {
        int n;
        const mlc_target *const *all = mlc_targets(&n);
        mlc_error(diag, "no target '%s'", mlc_escape(o->target));
        for (int i = 0; i < n; i++)
            mlc_note(diag, "--target=%s: %s", all[i]->name, all[i]->doc);
        return false;
    }
    bool known = !o->mcpu;
    for (int i = 0; i < 4 && !known; i++)
        known = strcmp(o->mcpu, mcpus[i]) == 0;
    if (!known)
        return mlc_error(diag, "no BPF instruction set '%s'; use v1, v2, v3 or v4", mlc_escape(o->mcpu));
    if (o->kernel < MLC_KERNEL(5, 10))
        return mlc_error(diag, "objects need Linux 5.10 or newer, not %u.%u", o->kernel >> 16,
                         o->kernel & 0xffff);
    if (!strchr("0123s", o->opt_level))
        return mlc_error(diag, "no optimization level O%c", o->opt_level);
    if (o->on_error && strcmp(o->on_error, "pass") != 0 && strcmp(o->on_error, "drop") != 0)
        return mlc_error(diag, "--on-error=%s: use pass or drop", mlc_escape(o->on_error));
    if (o->stop_after && !check_pass(diag, o->stop_after))
        return false;
    for (const char *const *p = o->print_after; p && *p; p++)
        if (strcmp(*p, "all") != 0 && !check_pass(diag, *p))
            return false;
    return true;
}

static const mlc_feature_input *input_named(const mlc_feature_binding *b, const char *name) {
    for (int i = 0; i < b->n_inputs; i++)
        if (b->inputs[i].name && strcmp(b->inputs[i].name, name) == 0)
            return &b->inputs[i];
    return NULL;
}

/* Puts the features into the order of the model's inputs and checks their number. */
static bool match_features(mlc_graph *g, mlc_feature_binding *b) {
    bool named = b->n_inputs > 0 && b->inputs[0].name;
    mlc_feature *ordered = MLC_NEW_ARRAY(g->arena, b->n + 1, mlc_feature);
    int64_t n = 0, wanted = 0;
    for (int k = 0; k < g->n_inputs; k++)
        wanted += mlc_shape_elements(&g->inputs[k]->shape);
    if (wanted != b->n)
        return mlc_error(g->diag, "the model has %lld inputs, the features are %d", (long long)wanted, b->n);
    for (int k = 0; k < g->n_inputs && named; k++) {
        const mlc_value *v = g->inputs[k];
        const mlc_feature_input *in = input_named(b, v->name);
        if (!in)
            return mlc_error(g->diag, "no features are given for input '%s'", mlc_escape(v->name));
        if (in->n != mlc_shape_elements(&v->shape))
            return mlc_error(g->diag, "input '%s' has %lld elements, its features are %d",
                             mlc_escape(v->name), (long long)mlc_shape_elements(&v->shape), in->n);
        memcpy(ordered + n, b->features + in->first, (size_t)in->n * sizeof *ordered);
        n += in->n;
    }
    if (named)
        b->features = ordered;
    return true;
}

/* Binds features to the elements of the graph's inputs, in order. */
static bool bind_features(mlc_graph *g, const mlc_options *options, mlc_feature_binding **binding) {
    const char *metadata = mlc_graph_property(g, "mlc.features");
    if (!options->features && !metadata) {
        mlc_error(g->diag, "a packet filter needs to know where its inputs come from");
        return mlc_note(g->diag,
                        "give --features=... (see `mlc --list-features`) or put the list into the model's "
                        "metadata as 'mlc.features'");
    }
    bool ok = options->features ? mlc_features_parse_option(g->arena, g->diag, options->features, binding)
                                : mlc_features_parse(g->arena, g->diag, metadata, binding);
    return ok && match_features(g, *binding);
}

static bool read_calibration(mlc_graph *g, mlc_pass_context *context) {
    const mlc_options *options = context->options;
    mlc_calibration *data;
    if (!mlc_calibration_read(g, options->calibrate, &data))
        return false;
    context->calibration = data;
    return !options->labels || mlc_calibration_read_labels(g, options->labels, data);
}

static bool prepare(mlc_graph *g, mlc_pass_context *context) {
    if (context->target->packet &&
        !bind_features(g, context->options, (mlc_feature_binding **)&context->binding))
        return false;
    return !context->options->calibrate || read_calibration(g, context);
}

static mlc_graph *run_passes(mlc_graph *g, mlc_pass_context *context, bool *stopped, mlc_report **report) {
    const mlc_options *options = context->options;
    *stopped = options->stop_after && strcmp(options->stop_after, "import") == 0;
    int n;
    const mlc_pass *passes = mlc_passes(&n);
    bool prepared = false;
    for (int i = 0; i < n && !*stopped; i++) {
        if (g->stage != passes[i].before)
            continue; /* a text file may start further down */
        /* What comes from outside needs shapes, and is needed from then on. */
        if (g->stage == MLC_SHAPED && !prepared && !(prepared = prepare(g, context)))
            return NULL;
        g = mlc_pass_run(&passes[i], g, context);
        if (!g)
            return NULL;
        if (wants_print(options, passes[i].name))
            fprintf(stderr, "%s", mlc_graph_print(g, g->arena));
        *stopped = options->stop_after && strcmp(options->stop_after, passes[i].name) == 0;
        if (options->report && strcmp(passes[i].name, "quantize") == 0)
            *report = mlc_report_make(g, context);
    }
    return g;
}

/* `report` NULL: none is made. */
static bool generate(mlc_graph *g, const mlc_pass_context *context, mlc_report *report, mlc_result *result) {
    const mlc_options *options = context->options;
    mlc_codegen *cg = MLC_NEW(g->arena, mlc_codegen);
    *cg = (mlc_codegen){.arena = g->arena,
                        .diag = g->diag,
                        .graph = g,
                        .options = options,
                        .target = context->target,
                        .binding = context->binding,
                        .actions = context->actions};
    if (context->target->packet && (!cg->binding || !cg->actions))
        return mlc_error(g->diag, "target %s starts from a model, not from a graph of stage INTEGER",
                         context->target->name);
    const char *metadata = mlc_graph_property(g, "mlc.on_error");
    cg->on_error = options->on_error ? options->on_error : metadata ? metadata : "pass";
    if (strcmp(cg->on_error, "pass") != 0 && strcmp(cg->on_error, "drop") != 0)
        return mlc_error(g->diag, "metadata mlc.on_error is '%s'; it must be pass or drop",
                         mlc_escape(cg->on_error));
    if (!mlc_codegen_run(cg, result))
        return false;
    if (report)
        mlc_report_choices(report, cg->graph, cg->work, cg->n_lines);
    return true;
}

static bool add_report(const mlc_report *report, mlc_arena *arena, mlc_diag *diag, mlc_result *result) {
    result->report = strdup(mlc_report_json(report, &result->stats, arena));
    result->table = strdup(mlc_report_table(report, &result->stats, arena));
    return (result->report && result->table) || mlc_error(diag, "out of memory");
}

static bool compile(mlc_arena *arena, const mlc_options *options, mlc_diag *diag, mlc_result *result) {
    mlc_pass_context context = {.options = options};
    if (!check_options(options, diag, &context.target))
        return false;
    mlc_graph *g = load(arena, diag, options->input);
    if (!g || !mlc_graph_verify(g))
        return false;
    if (wants_print(options, "import"))
        fprintf(stderr, "%s", mlc_graph_print(g, arena));
    bool stopped;
    mlc_report *report = NULL;
    g = run_passes(g, &context, &stopped, &report);
    if (!g)
        return false;
    if (options->emit == MLC_EMIT_DOT)
        return text_result(diag, mlc_graph_dot(g, arena), result);
    if (stopped || options->emit == MLC_EMIT_GRAPH)
        return text_result(diag, mlc_graph_print(g, arena), result);
    if (g->stage != MLC_INTEGER)
        return mlc_error(diag, "the pipeline stopped before code generation");
    return generate(g, &context, report, result) && (!report || add_report(report, arena, diag, result));
}

bool mlc_compile(const mlc_options *options, mlc_diag *diag, mlc_result *result) {
    *result = (mlc_result){0};
    mlc_arena *arena = mlc_arena_create(ARENA_CAP);
    if (!arena)
        return mlc_error(diag, "out of memory");
    if (!diag->file)
        diag->file = options->input;
    jmp_buf exhausted;
    volatile bool ok = false;
    if (setjmp(exhausted) == 0) {
        mlc_arena_guard(arena, &exhausted);
        ok = compile(arena, options, diag, result);
    } else {
        mlc_error(diag, "out of memory: the model needs more than can be had");
    }
    mlc_arena_destroy(arena);
    if (!ok)
        mlc_result_free(result);
    return ok;
}
