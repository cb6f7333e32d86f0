/* The manifest: JSON in section .mlc.manifest, described in README.md. */
#include "CodeGen.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Names from a model may hold any bytes; JSON holds UTF-8. */
static json_t *text(const char *s) {
    json_t *j = json_string(s);
    return j ? j : json_string(mlc_escape(s));
}

static json_t *shape_json(const mlc_shape *s) {
    json_t *a = json_array();
    for (int i = 0; i < s->rank; i++)
        json_array_append_new(a, json_integer(s->dim[i]));
    return a;
}

static json_t *tensor_json(const mlc_codegen *cg, const mlc_value *v, bool input) {
    const mlc_place *place = &cg->layout.place[v->id];
    json_t *t = json_object();
    json_object_set_new(t, "name", text(v->name));
    json_object_set_new(t, "dtype", json_string(mlc_dtype_name(v->model_dtype ? v->model_dtype : MLC_INT64)));
    json_object_set_new(t, "shape", shape_json(&v->shape));
    json_object_set_new(t, "dynamic_batch", json_boolean(v->dynamic_batch));
    if (!place->features) {
        json_object_set_new(t, "type", json_string(mlc_storage_name(place->storage)));
        json_object_set_new(t, "offset", json_integer(place->offset));
    }
    json_object_set_new(t, "scale", json_real(v->scale));
    json_object_set_new(t, "zero_point", json_integer(v->zero));
    if (input) {
        int64_t n = mlc_shape_elements(&v->shape), lo = n ? v->lo[0] : 0, hi = n ? v->hi[0] : 0;
        for (int64_t i = 1; i < n; i++) {
            if (v->lo[i] < lo)
                lo = v->lo[i];
            if (v->hi[i] > hi)
                hi = v->hi[i];
        }
        json_object_set_new(t, "lo", json_integer(lo));
        json_object_set_new(t, "hi", json_integer(hi));
    }
    return t;
}

static json_t *model_json(const mlc_codegen *cg) {
    const mlc_graph *g = cg->graph;
    char sha[65];
    for (int i = 0; i < 32; i++)
        snprintf(sha + 2 * i, 3, "%02x", g->sha256[i]);
    const char *slash = strrchr(cg->options->input, '/');
    json_t *m = json_object();
    json_object_set_new(m, "name", text(g->name ? g->name : ""));
    json_object_set_new(m, "file", text(slash ? slash + 1 : cg->options->input));
    json_object_set_new(m, "sha256", json_string(sha));
    json_object_set_new(m, "producer", text(g->producer ? g->producer : ""));
    return m;
}

/* The ONNX node behind a line: origin is "name (Op)". */
static json_t *nodes_json(const mlc_codegen *cg) {
    json_t *nodes = json_array();
    MLC_FOR_NODES (cg->graph, node) {
        json_t *n = json_object();
        const char *origin = node->origin ? node->origin : node->name, *op = strrchr(origin, '(');
        const char *name =
            op && op > origin ? mlc_arena_strndup(cg->arena, origin, (size_t)(op - origin) - 1) : origin;
        json_object_set_new(n, "line", json_integer(node->line));
        json_object_set_new(n, "name", text(name));
        json_object_set_new(
            n, "op",
            text(op && op > origin ? mlc_arena_strndup(cg->arena, op + 1, strlen(op) - 2) : node->op->name));
        json_object_set_new(n, "text", text(node->op->name));
        json_array_append_new(nodes, n);
    }
    return nodes;
}

static void packet_json(const mlc_codegen *cg, json_t *m) {
    json_t *features = json_array(), *decisions = json_array(), *counters = json_array();
    for (int i = 0; i < cg->binding->n; i++)
        json_array_append_new(features, json_string(cg->binding->features[i].name));
    for (int i = 0; i < cg->actions->n_decisions; i++) {
        const mlc_decision *d = &cg->actions->decisions[i];
        json_t *j = json_object();
        json_object_set_new(j, "name", text(d->name));
        json_object_set_new(j, "verdict", json_string(d->verdict));
        json_array_append_new(decisions, j);
        json_array_append_new(counters, text(mlc_arena_printf(cg->arena, "decision %s", d->name)));
    }
    for (int i = cg->actions->n_decisions; i < MLC_MAX_DECISIONS; i++)
        json_array_append_new(counters, json_string(""));
    for (int i = 0; i < MLC_N_PACKET_ERRORS; i++)
        json_array_append_new(counters,
                              json_string(mlc_arena_printf(cg->arena, "error %s", mlc_packet_error_name(i))));
    json_object_set_new(m, "features", features);
    json_object_set_new(m, "decisions", decisions);
    json_object_set_new(m, "counters", counters);
    json_object_set_new(m, "on_error", json_string(cg->on_error));
}

const char *mlc_manifest(mlc_codegen *cg) {
    json_t *m = json_object(), *inputs = json_array(), *outputs = json_array();
    char level[3] = {'O', cg->options->opt_level, 0};
    json_object_set_new(m, "mlc", json_string(mlc_version()));
    json_object_set_new(m, "target", json_string(cg->target->name));
    json_object_set_new(m, "opt_level", json_string(level));
    json_object_set_new(m, "kernel",
                        json_sprintf("%u.%u", cg->options->kernel >> 16, cg->options->kernel & 0xffff));
    json_object_set_new(m, "mcpu", json_string(cg->options->mcpu ? cg->options->mcpu : "v3"));
    json_object_set_new(m, "model", model_json(cg));
    json_object_set_new(m, "in_size", json_integer(cg->layout.in_size));
    json_object_set_new(m, "out_size", json_integer(cg->layout.out_size));
    json_object_set_new(m, "scratch_size", json_integer(cg->layout.scratch_size));
    for (int k = 0; k < cg->graph->n_inputs; k++)
        json_array_append_new(inputs, tensor_json(cg, cg->graph->inputs[k], true));
    for (int k = 0; k < cg->graph->n_outputs; k++)
        json_array_append_new(outputs, tensor_json(cg, cg->graph->outputs[k], false));
    json_object_set_new(m, "inputs", inputs);
    json_object_set_new(m, "outputs", outputs);
    if (cg->target->packet)
        packet_json(cg, m);
    json_object_set_new(m, "nodes", nodes_json(cg));

    char *dump = json_dumps(m, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    const char *result = dump ? mlc_arena_strdup(cg->arena, dump) : "{}";
    free(dump);
    json_decref(m);
    return result;
}
