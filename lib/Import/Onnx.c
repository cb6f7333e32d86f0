#include "mlc/import.h"

#include "Import.h"

#include <string.h>

static void release(void *importer) {
    mlc_importer_release(importer);
}

static mlc_importer *begin(mlc_arena *arena, mlc_diag *diag, const char *name) {
    if (!diag->file)
        diag->file = name;
    mlc_importer *im = MLC_NEW(arena, mlc_importer);
    im->arena = arena;
    im->diag = diag;
    im->folder = im->external_file = -1;
    im->first_error = diag->errors;
    mlc_arena_defer(arena, release, im);
    return im;
}

static const char *copy(mlc_arena *arena, const char *s) {
    return s ? mlc_arena_strdup(arena, s) : "";
}

bool mlc_importer_gave_up(const mlc_importer *im) {
    return im->stopped || im->diag->errors - im->first_error >= MLC_MAX_ERRORS;
}

static void import_properties(mlc_graph *g, const Onnx__ModelProto *m) {
    const char *name = m->producer_name ? m->producer_name : "", *version = m->producer_version;
    g->producer =
        version && *version ? mlc_arena_printf(g->arena, "%s %s", name, version) : copy(g->arena, name);
    g->name = copy(g->arena, m->graph->name);
    g->n_props = (int)m->n_metadata_props;
    g->props = MLC_NEW_ARRAY(g->arena, g->n_props, mlc_property);
    for (int k = 0; k < g->n_props; k++)
        g->props[k] = (mlc_property){copy(g->arena, m->metadata_props[k]->key),
                                     copy(g->arena, m->metadata_props[k]->value)};
}

static bool check_opsets(mlc_importer *im) {
    bool ok = true;
    for (size_t k = 0; ok && k < im->model->n_opset_import; k++) {
        const Onnx__OperatorSetIdProto *o = im->model->opset_import[k];
        if (o->version < 1)
            ok = mlc_error(im->diag, "the file imports version %lld of domain '%s'; versions start at 1",
                           (long long)o->version, mlc_escape(o->domain ? o->domain : ""));
    }
    return ok;
}

static mlc_graph *convert(mlc_importer *im) {
    if (!mlc_importer_hash(im, im->data, im->size) || !mlc_unpack_model(im) || !check_opsets(im) ||
        !mlc_functions_index(im))
        return NULL;
    mlc_graph *g = mlc_graph_create(im->arena, im->diag);
    g->stage = MLC_IMPORTED;
    import_properties(g, im->model);
    mlc_scope scope = {
        .im = im,
        .graph = g,
        .prefix = "",
        .opsets = im->model->opset_import,
        .n_opsets = im->model->n_opset_import,
    };
    mlc_import_graph(&scope, im->model->graph);
    if (mlc_importer_gave_up(im) && !im->stopped)
        mlc_error(im->diag, "too many errors; the rest of the file is not checked");
    if (im->diag->errors != im->first_error)
        return NULL;
    if (!EVP_DigestFinal_ex(im->digest, g->sha256, NULL)) {
        mlc_error(im->diag, "SHA-256 failed in libcrypto");
        return NULL;
    }
    return g;
}

mlc_graph *mlc_import_onnx(mlc_arena *arena, mlc_diag *diag, const char *path) {
    mlc_importer *im = begin(arena, diag, path);
    mlc_graph *g = mlc_importer_read(im, path) ? convert(im) : NULL;
    mlc_importer_release(im);
    return g;
}

mlc_graph *mlc_import_onnx_memory(mlc_arena *arena, mlc_diag *diag, const char *name, const void *data,
                                  size_t size) {
    mlc_importer *im = begin(arena, diag, name);
    im->data = data;
    im->size = size;
    mlc_graph *g = convert(im);
    mlc_importer_release(im);
    return g;
}
