#include "Import.h"

#include <string.h>

static void import_initializer(mlc_scope *scope, const char *name, const mlc_tensor *t) {
    if (!name || !*name)
        mlc_error(scope->im->diag, "an initializer has no name");
    else if (mlc_scope_entry(scope, name))
        mlc_error(scope->im->diag, "initializer '%s' is defined twice", mlc_escape(name));
    else
        /* A bad one, which was reported, is replaced: its uses are good. */
        mlc_scope_bind(
            scope, name,
            mlc_graph_constant(scope->graph, name, t ? t : mlc_tensor_scalar_i(scope->im->arena, 0)), true);
}

static void import_initializers(mlc_scope *scope, const Onnx__GraphProto *p) {
    for (size_t k = 0; k < p->n_initializer && !mlc_importer_gave_up(scope->im); k++) {
        const char *name = p->initializer[k]->name;
        mlc_subject about = {NULL, "initializer", name ? name : ""};
        import_initializer(scope, name, mlc_import_tensor(scope->im, &about, p->initializer[k]));
    }
    for (size_t k = 0; k < p->n_sparse_initializer && !mlc_importer_gave_up(scope->im); k++) {
        const Onnx__TensorProto *values = p->sparse_initializer[k]->values;
        const char *name = values ? values->name : NULL;
        mlc_subject about = {NULL, "sparse initializer", name ? name : ""};
        import_initializer(scope, name,
                           mlc_import_sparse_tensor(scope->im, &about, p->sparse_initializer[k]));
    }
}

/* --- types of inputs and outputs --- */

static const Onnx__TypeProto__Tensor *tensor_type(const Onnx__ValueInfoProto *p) {
    bool is_tensor = p->type && p->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    return is_tensor ? p->type->tensor_type : NULL;
}

/* A dimension that the file leaves open is -1. Some exporters write that themselves. */
static int64_t dimension(const Onnx__TensorShapeProto__Dimension *d) {
    bool known = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && d->dim_value != -1;
    return known ? d->dim_value : -1;
}

/* Several dimensions at once: users fix them in one go. */
static bool report_open_dimensions(mlc_importer *im, const char *name, const Onnx__TensorShapeProto *shape) {
    for (size_t k = 1; k < shape->n_dim && k < MLC_MAX_RANK; k++) {
        const Onnx__TensorShapeProto__Dimension *d = shape->dim[k];
        if (dimension(d) != -1)
            continue;
        bool named = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM && d->dim_param;
        mlc_error(im->diag,
                  "input '%s': dimension %zu%s%s%s is not known at compile time; only the leading (batch) "
                  "dimension may be dynamic",
                  mlc_escape(name), k, named ? " ('" : "", named ? mlc_escape(d->dim_param) : "",
                  named ? "')" : "");
    }
    return mlc_note(im->diag, "export the model again with a static size there (in PyTorch: without "
                              "dynamic_axes or dynamic_shapes for that dimension)");
}

static bool input_shape(mlc_importer *im, mlc_value *v, const char *name,
                        const Onnx__TensorShapeProto *shape) {
    if (!shape) {
        mlc_error(im->diag, "input '%s' has no shape", mlc_escape(name));
        return mlc_note(im->diag, "export the model again with a static shape of its inputs");
    }
    int64_t *dims = MLC_NEW_ARRAY(im->arena, shape->n_dim, int64_t);
    for (size_t k = 0; k < shape->n_dim; k++) {
        dims[k] = dimension(shape->dim[k]);
        if (dims[k] == -1 && k > 0)
            return report_open_dimensions(im, name, shape);
    }
    if (shape->n_dim && dims[0] == -1) {
        v->dynamic_batch = true;
        dims[0] = 1;
    }
    mlc_subject about = {NULL, "input", name};
    v->shaped = true;
    return mlc_import_dims(im, &about, dims, shape->n_dim, &v->shape);
}

static void input_type(mlc_importer *im, mlc_value *v, const Onnx__ValueInfoProto *p) {
    const Onnx__TypeProto__Tensor *type = tensor_type(p);
    if (!type) {
        mlc_error(im->diag,
                  "input '%s' is not a tensor; sequences, maps, optionals and sparse tensors are not "
                  "supported as inputs",
                  mlc_escape(p->name));
        return;
    }
    v->dtype = mlc_import_dtype(type->elem_type);
    if (v->dtype == MLC_UNDEFINED)
        mlc_error(im->diag, "input '%s' has data type %d (%s), which is not supported", mlc_escape(p->name),
                  (int)type->elem_type, mlc_data_type_name(type->elem_type));
    else
        input_shape(im, v, p->name, type->shape);
}

/* What the file declares is recorded where it is complete; inference checks it.
 * Outputs that are not tensors (ZipMap's) stay undefined. */
static void output_type(mlc_importer *im, mlc_value *v, const Onnx__ValueInfoProto *p) {
    const Onnx__TypeProto__Tensor *type = tensor_type(p);
    if (!type || v->constant || v->shaped)
        return;
    v->dtype = mlc_import_dtype(type->elem_type);
    if (!type->shape || type->shape->n_dim > MLC_MAX_RANK)
        return;
    int64_t dims[MLC_MAX_RANK];
    bool is_static = true;
    size_t n = type->shape->n_dim;
    for (size_t k = 0; k < n; k++) {
        dims[k] = dimension(type->shape->dim[k]);
        is_static &= dims[k] != -1;
    }
    v->dynamic_batch = n && dims[0] == -1;
    mlc_subject about = {NULL, "output", p->name};
    if (is_static)
        v->shaped = mlc_import_dims(im, &about, dims, n, &v->shape);
}

/* --- graphs --- */

static void import_input(mlc_scope *scope, const Onnx__ValueInfoProto *p, bool typed) {
    mlc_importer *im = scope->im;
    if (!p->name || !*p->name) {
        mlc_error(im->diag, "a graph input has no name");
        return;
    }
    const mlc_binding *b = mlc_scope_entry(scope, p->name);
    if (b) {
        /* An initializer listed as input is a default value, and final here. */
        if (b->value && !b->value->constant)
            mlc_error(im->diag, "graph input '%s' is listed twice", mlc_escape(p->name));
        return;
    }
    mlc_value *v = mlc_scope_declare(scope, p->name, true);
    mlc_graph_add_input(scope->graph, v);
    if (typed)
        input_type(im, v, p);
    else if (tensor_type(p))
        v->dtype = mlc_import_dtype(tensor_type(p)->elem_type);
}

/* Before the nodes, so that outputs get exactly the names that the file gives them. */
static void declare_outputs(mlc_scope *scope, const Onnx__GraphProto *p) {
    for (size_t k = 0; k < p->n_output && !mlc_importer_gave_up(scope->im); k++) {
        const char *name = p->output[k]->name;
        bool omitted;
        if (!name || !*name)
            mlc_error(scope->im->diag, "a graph output has no name");
        else if (!mlc_scope_entry(scope, name) && !mlc_scope_find(scope, name, &omitted))
            mlc_scope_declare(scope, name, false);
    }
}

static void import_outputs(mlc_scope *scope, const Onnx__GraphProto *p, bool typed) {
    mlc_importer *im = scope->im;
    for (size_t k = 0; k < p->n_output && !mlc_importer_gave_up(im); k++) {
        const char *name = p->output[k]->name;
        mlc_binding *b = name && *name ? mlc_scope_entry(scope, name) : NULL;
        if (!b)
            continue; /* reported already */
        if (!b->defined) {
            mlc_error(im->diag, "graph output '%s' is not computed by any node", mlc_escape(name));
            continue;
        }
        if (typed)
            output_type(im, b->value, p->output[k]);
        mlc_graph_add_output(scope->graph, b->value);
    }
}

static void import_any(mlc_scope *scope, const Onnx__GraphProto *p, bool is_body) {
    import_initializers(scope, p);
    for (size_t k = 0; k < p->n_input && !mlc_importer_gave_up(scope->im); k++)
        import_input(scope, p->input[k], !is_body);
    declare_outputs(scope, p);
    mlc_import_nodes(scope, p->node, p->n_node);
    import_outputs(scope, p, !is_body);
}

void mlc_import_graph(mlc_scope *scope, const Onnx__GraphProto *p) {
    if (p->n_output == 0)
        mlc_error(scope->im->diag, "the graph has no outputs");
    import_any(scope, p, false);
}

mlc_graph *mlc_import_body(mlc_scope *scope, const mlc_node *node, const Onnx__GraphProto *p) {
    mlc_importer *im = scope->im;
    enum { MAX_DEPTH = 32 };
    if (scope->depth >= MAX_DEPTH) {
        mlc_error_at(im->diag, node, "bodies are nested too deeply");
        return NULL;
    }
    mlc_graph *g = mlc_graph_create(im->arena, im->diag);
    g->name = p->name ? mlc_arena_strdup(im->arena, p->name) : "";
    mlc_scope body = {
        .im = im,
        .graph = g,
        .outer = scope,
        .prefix = scope->prefix,
        .depth = scope->depth + 1,
        .opsets = scope->opsets,
        .n_opsets = scope->n_opsets,
        .arguments = scope->arguments,
        .n_arguments = scope->n_arguments,
    };
    int errors = im->diag->errors;
    import_any(&body, p, true);
    return im->diag->errors == errors ? g : NULL;
}
