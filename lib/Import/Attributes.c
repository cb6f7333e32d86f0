#include "Import.h"

#include <math.h>
#include <string.h>

/* The kinds of ONNX that can become one of ours; -1: none. */
static int kind_of(const Onnx__AttributeProto *a) {
    switch (a->type) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
        return MLC_ATTR_FLOAT;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
        return MLC_ATTR_INT;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
        return MLC_ATTR_STRING;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSOR:
        return MLC_ATTR_TENSOR;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH:
        return MLC_ATTR_GRAPH;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
        return MLC_ATTR_FLOATS;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
        return MLC_ATTR_INTS;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS:
        return MLC_ATTR_STRINGS;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED:
        break; /* files older than IR version 2: told by the field that is there */
    default:
        return -1;
    }
    return a->has_f       ? MLC_ATTR_FLOAT
           : a->has_i     ? MLC_ATTR_INT
           : a->has_s     ? MLC_ATTR_STRING
           : a->t         ? MLC_ATTR_TENSOR
           : a->g         ? MLC_ATTR_GRAPH
           : a->n_floats  ? MLC_ATTR_FLOATS
           : a->n_ints    ? MLC_ATTR_INTS
           : a->n_strings ? MLC_ATTR_STRINGS
                          : -1;
}

static const char *kind_name(int kind) {
    static const char *const names[] = {
        [MLC_ATTR_INT] = "an int",
        [MLC_ATTR_FLOAT] = "a float",
        [MLC_ATTR_STRING] = "a string",
        [MLC_ATTR_TENSOR] = "a tensor",
        [MLC_ATTR_GRAPH] = "a graph",
        [MLC_ATTR_INTS] = "a list of ints",
        [MLC_ATTR_FLOATS] = "a list of floats",
        [MLC_ATTR_STRINGS] = "a list of strings",
    };
    return kind < 0 ? "of a kind that is not supported" : names[kind];
}

const Onnx__AttributeProto *mlc_attribute_resolve(const mlc_scope *scope, const Onnx__AttributeProto *a) {
    if (!a->ref_attr_name || !*a->ref_attr_name)
        return a;
    for (size_t k = 0; k < scope->n_arguments; k++)
        if (scope->arguments[k]->name && strcmp(scope->arguments[k]->name, a->ref_attr_name) == 0)
            return scope->arguments[k];
    return NULL;
}

static const mlc_attr_spec *find_spec(const mlc_op *op, const char *name) {
    for (const mlc_attr_spec *s = op->attrs; s && s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

static bool report_unknown(mlc_importer *im, const mlc_node *node, const char *name) {
    const char *known = "";
    for (const mlc_attr_spec *s = node->op->attrs; s && s->name; s++)
        known = mlc_arena_printf(im->arena, "%s%s%s", known, *known ? ", " : "", s->name);
    mlc_error_at(im->diag, node, "attribute '%s' is not known to version %d of this op", mlc_escape(name),
                 node->opset);
    return mlc_note(im->diag, "%s has %s%s", node->op->name, *known ? "the attributes " : "no attributes",
                    known);
}

/* NaN is a key or a substitute for missing data in these; elsewhere it is damage. */
static bool may_be_nan(const char *name) {
    return strcmp(name, "keys_floats") == 0 || strcmp(name, "values_floats") == 0 ||
           strcmp(name, "imputed_value_floats") == 0;
}

static bool copy_floats(mlc_importer *im, const mlc_node *node, mlc_attr *to, const Onnx__AttributeProto *a) {
    double *floats = MLC_NEW_ARRAY(im->arena, a->n_floats, double);
    for (size_t k = 0; k < a->n_floats; k++) {
        floats[k] = a->floats[k];
        if (isnan(floats[k]) && !may_be_nan(to->name))
            return mlc_error_at(im->diag, node,
                                "attribute '%s' contains NaN at index %zu: training diverged, or the "
                                "file is damaged",
                                to->name, k);
    }
    to->n = (int64_t)a->n_floats;
    to->floats = floats;
    return true;
}

static bool convert(mlc_scope *scope, const mlc_node *node, mlc_attr *to, const Onnx__AttributeProto *a) {
    mlc_importer *im = scope->im;
    mlc_arena *arena = im->arena;
    mlc_subject about = {node, "attribute", to->name};
    switch (to->kind) {
    case MLC_ATTR_INT:
        to->i = a->i;
        return true;
    case MLC_ATTR_FLOAT:
        to->f = a->f;
        return true;
    case MLC_ATTR_STRING:
        to->s = mlc_copy_bytes(arena, &a->s);
        return true;
    case MLC_ATTR_TENSOR:
        if (!a->t && !a->sparse_tensor)
            return mlc_fail(im, &about, "is a tensor without content");
        to->t = a->t ? mlc_import_tensor(im, &about, a->t)
                     : mlc_import_sparse_tensor(im, &about, a->sparse_tensor);
        return to->t != NULL;
    case MLC_ATTR_GRAPH:
        if (!a->g)
            return mlc_fail(im, &about, "is a graph without content");
        to->g = mlc_import_body(scope, node, a->g);
        return to->g != NULL;
    case MLC_ATTR_INTS: {
        int64_t *ints = MLC_NEW_ARRAY(arena, a->n_ints, int64_t);
        if (a->n_ints)
            memcpy(ints, a->ints, a->n_ints * sizeof *ints);
        to->n = (int64_t)a->n_ints;
        to->ints = ints;
        return true;
    }
    case MLC_ATTR_FLOATS:
        return copy_floats(im, node, to, a);
    case MLC_ATTR_STRINGS: {
        const char **strings = MLC_NEW_ARRAY(arena, a->n_strings, const char *);
        for (size_t k = 0; k < a->n_strings; k++)
            strings[k] = mlc_copy_bytes(arena, &a->strings[k]);
        to->n = (int64_t)a->n_strings;
        to->strings = strings;
        return true;
    }
    }
    return false;
}

static bool import_attribute(mlc_scope *scope, mlc_node *node, const Onnx__AttributeProto *named) {
    mlc_importer *im = scope->im;
    if (!named->name || !*named->name)
        return mlc_error_at(im->diag, node, "an attribute has no name");
    const char *name = named->name;
    const mlc_attr_spec *spec = find_spec(node->op, name);
    if (!spec)
        return report_unknown(im, node, name);
    if (mlc_attr_find(node, name))
        return mlc_error_at(im->diag, node, "attribute '%s' is given twice", name);
    const Onnx__AttributeProto *a = mlc_attribute_resolve(scope, named);
    if (!a)
        return true; /* refers to an argument that the function's caller left out */
    int kind = kind_of(a);
    if (kind != (int)spec->kind)
        return mlc_error_at(im->diag, node, "attribute '%s' is %s, but must be %s", name, kind_name(kind),
                            kind_name(spec->kind));
    mlc_attr attr = {.name = spec->name, .kind = spec->kind};
    if (!convert(scope, node, &attr, a))
        return false;
    node->attr[node->n_attr++] = attr;
    return true;
}

bool mlc_import_attributes(mlc_scope *scope, mlc_node *node, const Onnx__NodeProto *p) {
    bool ok = true;
    node->attr = MLC_NEW_ARRAY(scope->im->arena, p->n_attribute, mlc_attr);
    for (size_t k = 0; k < p->n_attribute && !mlc_importer_gave_up(scope->im); k++)
        ok = import_attribute(scope, node, p->attribute[k]) && ok;
    return ok;
}
