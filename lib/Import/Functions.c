#include "Import.h"

#include <stdlib.h>
#include <string.h>

/*
 * Functions that the file defines (FunctionProto) are inlined where they are
 * called. Names inside them get the calling node's name in front.
 */
enum {
    MAX_DEPTH = 32,
    MAX_ATTRIBUTES = 256,
    ATTRIBUTE_PROTO = 11, /* field of FunctionProto */
};

static int compare_names(const char *domain, const char *name, const Onnx__FunctionProto *f) {
    int order = strcmp(domain, mlc_domain(f->domain));
    return order ? order : strcmp(name, f->name ? f->name : "");
}

static int compare(const void *x, const void *y) {
    const Onnx__FunctionProto *a = *(const Onnx__FunctionProto *const *)x;
    return compare_names(mlc_domain(a->domain), a->name ? a->name : "",
                         *(const Onnx__FunctionProto *const *)y);
}

bool mlc_functions_index(mlc_importer *im) {
    size_t n = im->n_functions = im->model->n_functions;
    if (n == 0)
        return true;
    im->functions = MLC_NEW_ARRAY(im->arena, n, const Onnx__FunctionProto *);
    for (size_t k = 0; k < n; k++)
        im->functions[k] = im->model->functions[k];
    qsort(im->functions, n, sizeof *im->functions, compare);
    for (size_t k = 1; k < n; k++)
        if (compare(&im->functions[k - 1], &im->functions[k]) == 0)
            return mlc_error(im->diag, "the file defines function '%s' of domain '%s' twice",
                             mlc_escape(im->functions[k]->name ? im->functions[k]->name : ""),
                             mlc_escape(mlc_domain(im->functions[k]->domain)));
    return true;
}

const Onnx__FunctionProto *mlc_function_find(const mlc_importer *im, const char *domain, const char *name) {
    size_t low = 0, high = im->n_functions;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_names(domain, name, im->functions[middle]);
        if (order == 0)
            return im->functions[middle];
        if (order > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* A default value of an attribute is FunctionProto.attribute_proto, which the
 * schema that this was built with may not know yet. */
static Onnx__AttributeProto *unpack_default(const ProtobufCMessageUnknownField *field) {
    uint64_t length = 0;
    size_t header = 0;
    for (int shift = 0; header < field->len && shift < 63; shift += 7) {
        uint8_t byte = field->data[header++];
        length |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            break;
    }
    if (field->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED || length != field->len - header)
        return NULL;
    return (Onnx__AttributeProto *)mlc_unpack_part(&onnx__attribute_proto__descriptor, field->data + header,
                                                   field->len - header);
}

typedef struct default_value {
    Onnx__AttributeProto *attribute;
} default_value;

static void free_default(void *object) {
    protobuf_c_message_free_unpacked((ProtobufCMessage *)((default_value *)object)->attribute, NULL);
}

static bool is_given(Onnx__AttributeProto *const *list, size_t n, const char *name) {
    for (size_t k = 0; k < n; k++)
        if (list[k]->name && strcmp(list[k]->name, name) == 0)
            return true;
    return false;
}

/* What references to attributes in the function's nodes stand for: the call's
 * attributes, then the defaults of those that it leaves out. NULL after reporting. */
static Onnx__AttributeProto **arguments(mlc_scope *scope, const mlc_node *where, const Onnx__FunctionProto *f,
                                        const Onnx__NodeProto *call, size_t *n) {
    mlc_arena *arena = scope->im->arena;
    Onnx__AttributeProto **list =
        MLC_NEW_ARRAY(arena, call->n_attribute + f->base.n_unknown_fields, Onnx__AttributeProto *);
    *n = 0;
    for (size_t k = 0; k < call->n_attribute; k++) {
        const Onnx__AttributeProto *a = mlc_attribute_resolve(scope, call->attribute[k]);
        if (!a)
            continue;
        Onnx__AttributeProto *named = MLC_NEW(arena, Onnx__AttributeProto);
        *named = *a;
        named->name = call->attribute[k]->name;
        list[(*n)++] = named;
    }
    for (unsigned k = 0; k < f->base.n_unknown_fields; k++) {
        if (f->base.unknown_fields[k].tag != ATTRIBUTE_PROTO)
            continue;
        default_value *d = MLC_NEW(arena, default_value);
        mlc_arena_defer(arena, free_default, d);
        Onnx__AttributeProto *a = d->attribute = unpack_default(&f->base.unknown_fields[k]);
        if (!a) {
            mlc_error_at(scope->im->diag, where,
                         "the default value of an attribute of the function is damaged");
            return NULL;
        }
        if (a->name && !is_given(list, *n, a->name))
            list[(*n)++] = a;
    }
    return list;
}

static bool bind_inputs(mlc_scope *inner, const mlc_node *where, const Onnx__FunctionProto *f,
                        mlc_value *const *in, int n_in) {
    if ((size_t)n_in > f->n_input)
        return mlc_error_at(inner->im->diag, where, "has %d inputs, but the function takes %zu", n_in,
                            f->n_input);
    for (size_t k = 0; k < f->n_input; k++) {
        if (mlc_scope_entry(inner, f->input[k]))
            return mlc_error_at(inner->im->diag, where, "the function has two inputs called '%s'",
                                mlc_escape(f->input[k]));
        mlc_scope_bind(inner, f->input[k], k < (size_t)n_in ? in[k] : NULL, true);
    }
    return true;
}

/* An output that is also an input of the function is copied by an Identity. */
static bool copy_input(mlc_scope *inner, const mlc_node *where, mlc_value *from, mlc_value *to) {
    enum { IDENTITY_VERSION = 13 };
    const mlc_op *identity = mlc_op_find("", "Identity", IDENTITY_VERSION);
    if (!from || !identity)
        return mlc_error_at(inner->im->diag, where, "an output of the function is not computed in it");
    mlc_graph_insert(inner->graph, NULL, identity, where->name, &from, 1, &to, 1)->opset = IDENTITY_VERSION;
    return true;
}

static bool bind_outputs(mlc_scope *scope, mlc_scope *inner, const mlc_node *where,
                         const Onnx__FunctionProto *f, const Onnx__NodeProto *call) {
    size_t n_out = (size_t)mlc_arity(call->output, call->n_output);
    if (n_out > f->n_output)
        return mlc_error_at(inner->im->diag, where, "has %zu outputs, but the function has %zu", n_out,
                            f->n_output);
    for (size_t k = 0; k < n_out; k++) {
        mlc_value *v = mlc_define_output(scope, where, call->output[k]);
        const mlc_binding *b = mlc_scope_entry(inner, f->output[k]);
        if (v && !b)
            mlc_scope_bind(inner, f->output[k], v, false);
        else if (v && !copy_input(inner, where, b->defined ? b->value : NULL, v))
            return false;
    }
    return true;
}

void mlc_inline_function(mlc_scope *scope, const mlc_node *where, const Onnx__FunctionProto *f,
                         const Onnx__NodeProto *call, mlc_value *const *in, int n_in) {
    mlc_importer *im = scope->im;
    if (scope->depth >= MAX_DEPTH) {
        mlc_error_at(im->diag, where, "functions are nested too deeply, or call themselves");
        im->stopped = true;
        return;
    }
    mlc_scope inner = {
        .im = im,
        .graph = scope->graph,
        .prefix = mlc_arena_printf(im->arena, "%s/", where->name),
        .depth = scope->depth + 1,
        .opsets = f->opset_import,
        .n_opsets = f->n_opset_import,
    };
    im->work += (int64_t)(f->n_input + f->n_output);
    if (call->n_attribute + f->base.n_unknown_fields > MAX_ATTRIBUTES) {
        mlc_error_at(im->diag, where, "the function or its call has more than %d attributes", MAX_ATTRIBUTES);
        return;
    }
    inner.arguments = arguments(scope, where, f, call, &inner.n_arguments);
    if (!inner.arguments || !bind_inputs(&inner, where, f, in, n_in) ||
        !bind_outputs(scope, &inner, where, f, call))
        return;
    mlc_import_nodes(&inner, f->node, f->n_node);
    for (size_t k = 0; k < f->n_output && !mlc_importer_gave_up(im); k++) {
        const mlc_binding *b = mlc_scope_entry(&inner, f->output[k]);
        if (b && !b->defined)
            mlc_error_at(im->diag, where, "output '%s' of the function is not computed in it",
                         mlc_escape(f->output[k]));
    }
}
