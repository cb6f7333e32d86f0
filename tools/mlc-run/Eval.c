/*
 * mlc-run eval: the outputs of a model for many samples, from the kernel or from
 * the object's host image, and how they differ from a reference.
 */
#include "Backend.h"
#include "Compare.h"
#include "Samples.h"

#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct eval_options {
    const char *path, *inputs, *outputs, *reference;
    bool host, raw, raw_inputs, json, limited;
    double max_error, threshold;
} eval_options;

static bool evaluate(mlc_run *run, mlc_backend *b, mlc_samples *samples, mlc_tensor **results, bool raw) {
    const mlc_manifest *m = samples->manifest;
    for (int64_t start = 0; start < samples->n; start += b->capacity) {
        int64_t n = samples->n - start < b->capacity ? samples->n - start : b->capacity;
        for (int64_t i = 0; i < n; i++)
            mlc_samples_pack(samples, start + i, b->in + (size_t)i * b->in_stride);
        if (!b->run(run, b, n))
            return false;
        for (int64_t i = 0; i < n; i++)
            for (int k = 0; k < m->n_outputs; k++)
                mlc_result_unpack(&m->outputs[k], b->out + (size_t)i * b->out_stride, raw, results[k],
                                  start + i);
    }
    return true;
}

static bool evaluate_on(mlc_run *run, const eval_options *o, mlc_samples *samples, mlc_tensor **results) {
    mlc_backend backend;
    if (o->host) {
        if (!mlc_host_backend(run, o->path, samples->manifest, samples->n, &backend))
            return false;
    } else {
        mlc_object object;
        if (!mlc_object_open(run, o->path, &object) ||
            !mlc_kernel_backend(run, &object, samples->n, &backend))
            return false;
    }
    bool ok = evaluate(run, &backend, samples, results, o->raw);
    mlc_backend_close(&backend);
    return ok;
}

/* An error above the limit fails the command, but every output is shown first. */
static bool judge(mlc_run *run, const eval_options *o, const mlc_comparison *c) {
    if (!o->limited || c->max_error <= o->max_error)
        return true;
    return mlc_error(&run->diag, "output '%s': error %.9g at sample %lld is above %.9g", mlc_escape(c->name),
                     c->max_error, (long long)c->worst[0].sample, o->max_error);
}

static bool compare(mlc_run *run, const eval_options *o, const mlc_binding *outputs, int n,
                    mlc_tensor **results, json_t *list) {
    const mlc_arrays *reference = mlc_npz_read(run->arena, &run->diag, o->reference);
    if (!reference)
        return false;
    bool ok = true, any = false;
    for (int k = 0; k < n; k++) {
        mlc_comparison *c =
            mlc_compare(run, o->reference, reference, &outputs[k], n == 1, results[k], o->threshold, &ok);
        if (!c)
            continue;
        any = true;
        json_array_append_new(list, mlc_comparison_json(c));
        if (!o->json)
            mlc_comparison_print(c);
        ok = judge(run, o, c) && ok;
    }
    if (ok && !any)
        return mlc_error(&run->diag, "%s: has no array named as an output of the model (the first is '%s')",
                         mlc_escape(o->reference), n ? mlc_escape(outputs[0].name) : "");
    return ok;
}

static bool write_results(mlc_run *run, const char *path, const mlc_binding *outputs, int n,
                          mlc_tensor **results) {
    mlc_array *arrays = MLC_NEW_ARRAY(run->arena, n, mlc_array);
    for (int k = 0; k < n; k++)
        arrays[k] = (mlc_array){outputs[k].name, results[k]};
    return mlc_npz_write(run->arena, &run->diag, path, arrays, n);
}

/* Writes, compares and reports. */
static bool finish(mlc_run *run, const eval_options *o, const mlc_binding *outputs, int n,
                   mlc_tensor **results, int64_t samples) {
    if (o->outputs && !write_results(run, o->outputs, outputs, n, results))
        return false;
    json_t *list = mlc_keep_json(run, json_array());
    bool ok = !o->reference || compare(run, o, outputs, n, results, list);
    if (!o->json)
        return ok;
    mlc_print_json(json_pack("{s:s,s:s,s:I,s:O}", "file", mlc_escape(o->path), "backend",
                             o->host ? "host" : "kernel", "samples", (json_int_t)samples, "compared", list));
    return ok;
}

static bool eval_samples(mlc_run *run, const eval_options *o, const mlc_manifest *m) {
    mlc_samples samples;
    if (!mlc_samples_read(run, m, o->inputs, o->raw_inputs, &samples))
        return false;
    mlc_tensor **results = MLC_NEW_ARRAY(run->arena, m->n_outputs, mlc_tensor *);
    for (int k = 0; k < m->n_outputs; k++) {
        if (samples.n > MLC_MAX_ELEMENTS / m->outputs[k].elements)
            return mlc_error(
                &run->diag, "%s: too many samples: output '%s' would have more than %lld elements",
                mlc_escape(o->inputs), mlc_escape(m->outputs[k].name), (long long)MLC_MAX_ELEMENTS);
        results[k] = mlc_result_create(run, &m->outputs[k], samples.n, o->raw);
    }
    if (!evaluate_on(run, o, &samples, results))
        return false;
    mlc_samples_report(run, &samples);
    return finish(run, o, m->outputs, m->n_outputs, results, samples.n);
}

static bool eval(mlc_run *run, const eval_options *o) {
    mlc_manifest *manifest;
    if (!mlc_manifest_read(run, o->path, &manifest))
        return false;
    if (!manifest)
        return mlc_error(&run->diag, "%s: has no manifest: it was not made by mlc", mlc_escape(o->path));
    if (strcmp(manifest->target, "bpf-raw") && strcmp(manifest->target, "host"))
        return mlc_error(&run->diag,
                         "%s: was made for %s, which takes packets (see mlc-run replay); "
                         "compile with --target=bpf-raw to evaluate tensors",
                         mlc_escape(o->path), mlc_escape(manifest->target));
    return eval_samples(run, o, manifest);
}

enum {
    KEY_INPUTS = MLC_KEY_FIRST,
    KEY_OUTPUTS,
    KEY_BACKEND,
    KEY_REFERENCE,
    KEY_MAX_ERROR,
    KEY_THRESHOLD,
    KEY_RAW,
    KEY_RAW_INPUTS,
};

static void parse_backend(const char *arg, struct argp_state *state, eval_options *o) {
    o->host = !strcmp(arg, "host");
    if (!o->host && strcmp(arg, "kernel"))
        argp_error(state, "--backend: '%s' is neither kernel nor host", mlc_escape(arg));
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    eval_options *o = state->input;
    switch (key) {
    case KEY_INPUTS:
        o->inputs = arg;
        return 0;
    case KEY_OUTPUTS:
        o->outputs = arg;
        return 0;
    case KEY_BACKEND:
        parse_backend(arg, state, o);
        return 0;
    case KEY_REFERENCE:
        o->reference = arg;
        return 0;
    case KEY_MAX_ERROR:
        o->max_error = mlc_option_real(state, "max-error", arg);
        o->limited = true;
        return 0;
    case KEY_THRESHOLD:
        o->threshold = mlc_option_real(state, "threshold", arg);
        return 0;
    case KEY_RAW:
        o->raw = true;
        return 0;
    case KEY_RAW_INPUTS:
        o->raw_inputs = true;
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
        else if (!o->inputs)
            argp_error(state, "--inputs=FILE is missing");
        else if (!o->outputs && !o->reference)
            argp_error(state, "nothing to do: give --outputs=FILE, --reference=FILE or both");
        else if (o->limited && !o->reference)
            argp_error(state, "--max-error needs --reference=FILE");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

bool mlc_command_eval(mlc_run *run, int argc, char **argv) {
    static const struct argp_option options[] = {
        {"inputs", KEY_INPUTS, "FILE", 0,
         "Samples: an .npz file with one array per input, the sample index first", 1},
        {"outputs", KEY_OUTPUTS, "FILE", 0, "Write one array per output to this .npz file", 1},
        {"backend", KEY_BACKEND, "kernel|host", 0, "Where to run (default: kernel)", 1},
        {"raw", KEY_RAW, NULL, 0, "Write the model's integers (int64) instead of the values they stand for",
         2},
        {"raw-inputs", KEY_RAW_INPUTS, NULL, 0, "The input arrays hold the model's integers", 2},
        {"reference", KEY_REFERENCE, "FILE", 0, "Compare with the outputs in this .npz file", 3},
        {"max-error", KEY_MAX_ERROR, "E", 0, "Fail when an output differs from the reference by more than E",
         3},
        {"threshold", KEY_THRESHOLD, "T", 0,
         "A single real output decides yes above T (default: 0.5 when the reference "
         "is within [0,1], else 0)",
         3},
        MLC_OPTION_JSON,
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "OBJ --inputs=FILE",
        .doc = "Run a model on samples, in the kernel or on the host, and compare.\v"
               "OBJ was compiled with --target=bpf-raw. Inputs are quantized and outputs returned in the "
               "type and units "
               "of the ONNX model. The host backend executes code of the object in this process: use it on "
               "objects you trust.",
    };
    eval_options o = {.threshold = NAN};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return eval(run, &o);
}
