#ifndef MLC_LIB_IMPORT_H
#define MLC_LIB_IMPORT_H

/* Shared by the files of this folder; the only place that knows protobuf-c. */
#include "mlc/graph.h"
#include "mlc/op.h"

#include <onnx.pb-c.h>
#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

enum { MLC_MAX_ERRORS = 100 };

/* One import. What lives outside the arena is released by mlc_importer_release,
 * which also runs when the arena is destroyed. */
typedef struct mlc_importer {
    mlc_arena *arena;
    mlc_diag *diag;
    const uint8_t *data; /* the file */
    size_t size;
    int folder; /* the model's folder, for external data; -1: none */
    Onnx__ModelProto *model;
    EVP_MD_CTX *digest;
    void *file_buffer;                     /* malloc'ed, what `data` points to, unless the caller owns it */
    void *external_buffer;                 /* malloc'ed, the external tensor read last */
    int external_file;                     /* being read; -1: none */
    const Onnx__FunctionProto **functions; /* of the file, sorted */
    size_t n_functions;
    int64_t work;                      /* nodes, and names and attributes of nodes, so far, after inlining */
    int first_error;                   /* diag->errors at the start */
    bool stopped;                      /* by an error after which nothing more is worth checking */
    const char *noted[MLC_MAX_ERRORS]; /* unsupported ops that were commented on */
    int n_noted;
} mlc_importer;

/* True when the import ends early: stopped, or MLC_MAX_ERRORS reported. */
bool mlc_importer_gave_up(const mlc_importer *im);

/* --- File.c --- */

/* Reads the whole file and opens its folder. False after reporting. */
bool mlc_importer_read(mlc_importer *im, const char *path);
void mlc_importer_release(mlc_importer *im);
bool mlc_importer_hash(mlc_importer *im, const void *data, size_t size);

/* --- Kind.c --- */

/* Reports, with the way to convert it, a file that is recognized as another
 * format than ONNX. True when it was. */
bool mlc_report_other_format(mlc_diag *diag, const uint8_t *data, size_t size);
/* The same for files that only their failure to be ONNX makes suspicious. */
bool mlc_report_other_protobuf(mlc_diag *diag, const uint8_t *data, size_t size);
bool mlc_report_folder(mlc_diag *diag, const char *path); /* false always */

/* --- Guard.c --- */

/*
 * Checks the wire format of a message before protobuf-c sees it: lengths inside
 * their parents, nesting, wire types, singular messages at most once, and the
 * memory it would unpack to. Returns NULL, or what is wrong, and where.
 */
const char *mlc_guard(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size,
                      size_t *where);

/* --- Unpack.c --- */

/* Guards and unpacks im->data into im->model. False after reporting. */
bool mlc_unpack_model(mlc_importer *im);
/* One message inside the file that protobuf-c left as an unknown field. NULL when
 * it is malformed. Free with protobuf_c_message_free_unpacked. */
ProtobufCMessage *mlc_unpack_part(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size);

/* --- Tensor.c, SparseTensor.c, ExternalData.c --- */

/* What a diagnostic is about: "node ...: attribute 'value'", "initializer 'w'". */
typedef struct mlc_subject {
    const mlc_node *node; /* NULL: none */
    const char *kind, *name;
} mlc_subject;

/* Reports "kind 'name' <text>"; returns false. */
bool mlc_fail(mlc_importer *im, const mlc_subject *about, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

const char *mlc_copy_bytes(mlc_arena *arena, const ProtobufCBinaryData *b);
/* MLC_UNDEFINED for the types of ONNX that are not supported. */
mlc_dtype mlc_import_dtype(int32_t data_type);
/* ONNX's name of any data type, for messages. */
const char *mlc_data_type_name(int32_t data_type);
/* Rank, signs and number of elements are checked. False after reporting. */
bool mlc_import_dims(mlc_importer *im, const mlc_subject *about, const int64_t *dims, size_t n,
                     mlc_shape *shape);
const mlc_tensor *mlc_import_tensor(mlc_importer *im, const mlc_subject *about, const Onnx__TensorProto *t);
const mlc_tensor *mlc_import_sparse_tensor(mlc_importer *im, const mlc_subject *about,
                                           const Onnx__SparseTensorProto *t);
/* The tensor's `size` bytes, valid until the next call; NULL after reporting. */
const uint8_t *mlc_external_data(mlc_importer *im, const mlc_subject *about, const Onnx__TensorProto *t,
                                 size_t size);

/* --- Scope.c --- */

typedef struct mlc_binding {
    const char *name; /* NULL: free slot */
    mlc_value *value; /* NULL: an input that the caller of a function omitted */
    bool defined;     /* false: an output that no node has computed yet */
} mlc_binding;

/* The names that nodes of one graph, or of one inlined function, can refer to. */
typedef struct mlc_scope {
    mlc_importer *im;
    mlc_graph *graph;
    struct mlc_scope *outer; /* of the enclosing graph; NULL: none is visible */
    const char *prefix;      /* of the names of values inside an inlined function */
    int depth;               /* of bodies and functions */
    mlc_binding *table;
    size_t cap, used;
    Onnx__OperatorSetIdProto *const *opsets;
    size_t n_opsets;
    Onnx__AttributeProto *const *arguments; /* attributes of the call of an inlined function */
    size_t n_arguments;
} mlc_scope;

/* The value called `name`, from enclosing graphs too. NULL: not defined (so far),
 * unless *omitted is set: an optional input that was left out. */
mlc_value *mlc_scope_find(mlc_scope *scope, const char *name, bool *omitted);
/* The entry of this scope alone, or NULL. */
mlc_binding *mlc_scope_entry(mlc_scope *scope, const char *name);
void mlc_scope_bind(mlc_scope *scope, const char *name, mlc_value *value, bool defined);
/* A new value; the name must be new in this scope. */
mlc_value *mlc_scope_declare(mlc_scope *scope, const char *name, bool defined);
/* 1 for a file that does not say; 0 when the domain is not imported. */
int mlc_scope_opset(const mlc_scope *scope, const char *domain);

/* --- Graph.c, Nodes.c, Sort.c, Functions.c, Attributes.c --- */

/* Fills scope->graph. Goes on after errors, which the diag counts. */
void mlc_import_graph(mlc_scope *scope, const Onnx__GraphProto *p);
/* A body of a control-flow node of `scope`. NULL after reporting. */
mlc_graph *mlc_import_body(mlc_scope *scope, const mlc_node *node, const Onnx__GraphProto *p);
void mlc_import_nodes(mlc_scope *scope, Onnx__NodeProto *const *nodes, size_t n);

/* The nodes with each behind those that it needs; in the given order where that
 * is so, and as far as cycles allow. */
Onnx__NodeProto *const *mlc_sort_nodes(mlc_arena *arena, Onnx__NodeProto *const *nodes, size_t n);

/* "" for "ai.onnx" and NULL. */
const char *mlc_domain(const char *domain);
/* Sorts the functions that the file defines. False after reporting. */
bool mlc_functions_index(mlc_importer *im);
/* The definition in the file, or NULL. */
const Onnx__FunctionProto *mlc_function_find(const mlc_importer *im, const char *domain, const char *name);
/* Inserts the function's nodes in place of the call; the outputs are declared by it. */
void mlc_inline_function(mlc_scope *scope, const mlc_node *where, const Onnx__FunctionProto *function,
                         const Onnx__NodeProto *call, mlc_value *const *in, int n_in);

/* How many names are left when omitted ones at the end are cut. */
int mlc_arity(char *const *names, size_t n);
/* Declares a node's output as defined; NULL name: an omitted one. */
mlc_value *mlc_define_output(mlc_scope *scope, const mlc_node *node, const char *name);

/* Sets node->attr, checked against node->op's table. False after reporting. */
bool mlc_import_attributes(mlc_scope *scope, mlc_node *node, const Onnx__NodeProto *p);
/* The attribute itself, or the caller's argument that it refers to; NULL: not given. */
const Onnx__AttributeProto *mlc_attribute_resolve(const mlc_scope *scope, const Onnx__AttributeProto *a);

#endif
