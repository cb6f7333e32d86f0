#include "Import.h"

#include <stdlib.h>

/* A second line of defence behind the guard: what is allocated in total,
 * temporaries of protobuf-c included, whether or not it was freed since. */
enum { MAX_GROWTH = 64, ALLOWANCE = 64 << 10 };

typedef struct budget {
    size_t left;
    bool exceeded;
} budget;

/* Zeroed, because protobuf-c reads fields that it did not reach on failure. */
static void *budget_alloc(void *user, size_t size) {
    budget *b = user;
    if (size > b->left) {
        b->exceeded = true;
        return NULL;
    }
    b->left -= size;
    return calloc(1, size ? size : 1);
}

static void budget_free(void *user, void *pointer) {
    (void)user;
    free(pointer);
}

static ProtobufCMessage *unpack(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size,
                                bool *exceeded) {
    budget b = {size * MAX_GROWTH + ALLOWANCE, false};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &b};
    ProtobufCMessage *m = protobuf_c_message_unpack(type, &allocator, size, data);
    *exceeded = b.exceeded;
    return m;
}

bool mlc_unpack_model(mlc_importer *im) {
    const ProtobufCMessageDescriptor *type = &onnx__model_proto__descriptor;
    if (mlc_report_other_format(im->diag, im->data, im->size))
        return false;
    size_t where = 0;
    const char *problem = mlc_guard(type, im->data, im->size, &where);
    if (problem) {
        if (mlc_report_other_protobuf(im->diag, im->data, im->size))
            return false;
        mlc_error(im->diag, "not a valid ONNX file: %s (at byte %zu of %zu)", problem, where, im->size);
        return mlc_note(im->diag, "the file is truncated or damaged, or another kind of protobuf file: "
                                  "export or copy the model again");
    }
    bool exceeded;
    im->model = (Onnx__ModelProto *)unpack(type, im->data, im->size, &exceeded);
    if (exceeded)
        return mlc_error(im->diag,
                         "not a valid ONNX file: its content would take an implausible amount of memory");
    if (!im->model)
        return mlc_error(im->diag, "not a valid ONNX file: protobuf-c cannot unpack it");
    if (!im->model->graph) {
        if (mlc_report_other_protobuf(im->diag, im->data, im->size))
            return false;
        mlc_error(im->diag, "not an ONNX model: the file contains no graph");
        return mlc_note(im->diag, "a TensorProto (.pb test data) or another protobuf file is not a model");
    }
    return true;
}

ProtobufCMessage *mlc_unpack_part(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size) {
    size_t where;
    bool exceeded;
    return mlc_guard(type, data, size, &where) ? NULL : unpack(type, data, size, &exceeded);
}
