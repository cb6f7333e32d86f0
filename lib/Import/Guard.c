#include "Import.h"

/*
 * protobuf-c recurses on nested messages, merges repeated singular messages in
 * quadratic time, and makes 300 bytes of a 2-byte attribute. So the wire format
 * is walked first, iteratively, guided by protobuf-c's own message descriptors.
 */
enum {
    MAX_DEPTH = 100,
    /* Memory that a message may unpack to: this many times its size, plus the
     * allowance. Models of all exporters stay below 18 times. */
    MAX_GROWTH = 32,
    ALLOWANCE = 64 << 10,
};

enum wire { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };

typedef struct frame {
    const ProtobufCMessageDescriptor *type;
    size_t end;
    uint64_t seen; /* singular message fields, by index; the members of a oneof share bit 63 */
} frame;

static bool read_varint(const uint8_t *data, size_t end, size_t *at, uint64_t *out) {
    uint64_t x = 0;
    for (int shift = 0; shift < 70 && *at < end; shift += 7) {
        uint8_t byte = data[(*at)++];
        if (shift == 63 && byte > 1)
            return false;
        x |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            *out = x;
            return true;
        }
    }
    return false;
}

static enum wire wire_of(ProtobufCType type) {
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return FIXED32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return LENGTH;
    default:
        return VARINT;
    }
}

static bool wire_fits(const ProtobufCFieldDescriptor *field, enum wire wire) {
    enum wire own = wire_of(field->type);
    bool packed = field->label == PROTOBUF_C_LABEL_REPEATED && own != LENGTH && wire == LENGTH;
    return wire == own || packed;
}

/* Bytes that protobuf-c allocates for a field beyond the content of a message. */
static size_t field_memory(const ProtobufCFieldDescriptor *field, size_t length) {
    if (!field)
        return sizeof(ProtobufCMessageUnknownField) + length;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return ((const ProtobufCMessageDescriptor *)field->descriptor)->sizeof_message + sizeof(void *);
    if (wire_of(field->type) == LENGTH)
        return sizeof(ProtobufCBinaryData) + length + 1;
    return wire_of(field->type) == VARINT ? 8 * length : length;
}

const char *mlc_guard(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size,
                      size_t *where) {
    frame stack[MAX_DEPTH];
    int depth = 0;
    size_t at = 0, memory = 0;
    stack[0] = (frame){type, size, 0};
    for (;;) {
        while (at == stack[depth].end) {
            if (depth == 0)
                return NULL;
            depth--;
        }
        frame *top = &stack[depth];
        *where = at;
        uint64_t key;
        if (!read_varint(data, top->end, &at, &key))
            return "a field's tag is cut off or malformed";
        if (key >> 3 == 0 || key >> 3 >= 1u << 29)
            return "a field has an invalid number";
        enum wire wire = (enum wire)(key & 7);
        if (wire != VARINT && wire != FIXED64 && wire != LENGTH && wire != FIXED32)
            return "a field has an invalid type";
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(top->type, (unsigned)(key >> 3));
        if (field && !wire_fits(field, wire))
            return "a field has the wrong type";

        uint64_t length = wire == FIXED64 ? 8 : 4;
        if (wire == VARINT) {
            uint64_t ignored;
            if (!read_varint(data, top->end, &at, &ignored))
                return "a number is cut off or malformed";
            length = 0;
        } else if (wire == LENGTH && !read_varint(data, top->end, &at, &length)) {
            return "a length is cut off or malformed";
        }
        if (length > top->end - at)
            return depth ? "a field is longer than the message that contains it"
                         : "the file ends in the middle of a field";

        memory += field_memory(field, wire == VARINT ? 1 : (size_t)length);
        if (memory > size * MAX_GROWTH + ALLOWANCE)
            return "the content would take an implausible amount of memory";

        if (!field || field->type != PROTOBUF_C_TYPE_MESSAGE) {
            at += (size_t)length;
            continue;
        }
        if (field->label != PROTOBUF_C_LABEL_REPEATED) {
            bool oneof = field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
            ptrdiff_t index = field - top->type->fields;
            uint64_t bit = UINT64_C(1) << (oneof || index > 63 ? 63 : index);
            if (top->seen & bit)
                return "a field that may appear once is repeated";
            top->seen |= bit;
        }
        if (++depth == MAX_DEPTH)
            return "messages are nested too deeply";
        stack[depth] = (frame){field->descriptor, at + (size_t)length, 0};
    }
}
