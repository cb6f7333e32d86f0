/* What the entry programs of bpf-helpers declare and each model defines: constants, maps and their getters.
 */
#include "CodeGen.h"

#include <linux/bpf.h>
#include <string.h>

static void make_constant(LLVMModuleRef m, const char *name, LLVMValueRef init) {
    LLVMValueRef g = LLVMAddGlobal(m, LLVMTypeOf(init), name);
    LLVMSetInitializer(g, init);
    LLVMSetGlobalConstant(g, true);
    LLVMSetAlignment(g, 8);
}

void mlc_glue_u32(LLVMModuleRef m, const char *name, uint32_t x) {
    make_constant(m, name, LLVMConstInt(LLVMInt32TypeInContext(LLVMGetModuleContext(m)), x, false));
}

void mlc_glue_u32s(LLVMModuleRef m, const char *name, const uint32_t *x, int n) {
    LLVMTypeRef u32 = LLVMInt32TypeInContext(LLVMGetModuleContext(m));
    LLVMValueRef elements[256];
    if (n > 256)
        n = 256;
    for (int i = 0; i < n; i++)
        elements[i] = LLVMConstInt(u32, x[i], false);
    make_constant(m, name, LLVMConstArray2(u32, elements, (uint64_t)n));
}

static void attach_type(mlc_debug *d, LLVMValueRef g, const char *name, LLVMMetadataRef type, bool local) {
    LLVMMetadataRef empty = LLVMDIBuilderCreateExpression(d->builder, NULL, 0);
    LLVMMetadataRef gve = LLVMDIBuilderCreateGlobalVariableExpression(
        d->builder, d->unit, name, strlen(name), "", 0, d->file, 1, type, local, empty, NULL, 0);
    LLVMGlobalSetMetadata(g, LLVMGetMDKindIDInContext(d->context, "dbg", 3), gve);
}

/* The member `int (*name)[value]` by which libbpf's map definitions carry a number (__uint). */
static LLVMMetadataRef number_member(mlc_debug *d, const char *name, uint64_t value, unsigned index) {
    LLVMMetadataRef range = LLVMDIBuilderGetOrCreateSubrange(d->builder, 0, (int64_t)value);
    LLVMMetadataRef array = LLVMDIBuilderCreateArrayType(d->builder, 32 * value, 0, d->i32, &range, 1);
    LLVMMetadataRef pointer = LLVMDIBuilderCreatePointerType(d->builder, array, 64, 0, 0, "", 0);
    return LLVMDIBuilderCreateMemberType(d->builder, d->file, name, strlen(name), d->file, 1, 64, 64,
                                         (uint64_t)index * 64, LLVMDIFlagZero, pointer);
}

LLVMValueRef mlc_bpf_map(mlc_debug *d, const char *name, unsigned type, unsigned key_size,
                         unsigned value_size, unsigned max_entries) {
    LLVMMetadataRef members[4] = {
        number_member(d, "type", type, 0),
        number_member(d, "key_size", key_size, 1),
        number_member(d, "value_size", value_size, 2),
        number_member(d, "max_entries", max_entries, 3),
    };
    LLVMMetadataRef definition = LLVMDIBuilderCreateStructType(
        d->builder, d->file, "", 0, d->file, 1, 256, 64, LLVMDIFlagZero, NULL, members, 4, 0, NULL, "", 0);
    LLVMTypeRef ptr = LLVMPointerTypeInContext(d->context, 0);
    LLVMTypeRef layout = LLVMArrayType2(ptr, 4);
    LLVMValueRef map = LLVMAddGlobal(d->module, layout, name);
    LLVMSetInitializer(map, LLVMConstNull(layout));
    LLVMSetSection(map, ".maps");
    LLVMSetAlignment(map, 8);
    attach_type(d, map, name, definition, false);
    return map;
}

/* Without CAP_PERFMON the verifier puts a speculation barrier behind every store
 * to the stack: a constant key lies in .rodata. */
LLVMValueRef mlc_bpf_key(LLVMModuleRef m, uint32_t key) {
    char name[32];
    snprintf(name, sizeof name, "mlc_key_%u", key);
    if (!LLVMGetNamedGlobal(m, name))
        mlc_glue_u32(m, name, key);
    return LLVMGetNamedGlobal(m, name);
}

LLVMValueRef mlc_bpf_map_lookup(LLVMModuleRef m, LLVMBuilderRef b, LLVMValueRef map, LLVMValueRef key) {
    LLVMContextRef context = LLVMGetModuleContext(m);
    LLVMTypeRef ptr = LLVMPointerTypeInContext(context, 0), params[2] = {ptr, ptr},
                type = LLVMFunctionType(ptr, params, 2, false);
    LLVMValueRef number = LLVMConstInt(LLVMInt64TypeInContext(context), BPF_FUNC_map_lookup_elem, false),
                 args[2] = {map, key};
    return LLVMBuildCall2(b, type, LLVMConstIntToPtr(number, ptr), args, 2, "");
}

void mlc_bpf_map_getter(mlc_debug *d, const char *name, LLVMValueRef map, bool indexed) {
    LLVMTypeRef ptr = LLVMPointerTypeInContext(d->context, 0);
    LLVMTypeRef getter_type = LLVMFunctionType(ptr, &ptr, indexed ? 1 : 0, false);
    LLVMValueRef fn = LLVMAddFunction(d->module, name, getter_type);
    unsigned kind = LLVMGetEnumAttributeKindForName("alwaysinline", 12);
    LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(d->context, kind, 0));
    LLVMMetadataRef scope = mlc_debug_function(d, fn, NULL, 0, 1);

    LLVMBuilderRef b = LLVMCreateBuilderInContext(d->context);
    LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(d->context, fn, ""));
    mlc_debug_line(d, b, scope, 1);
    LLVMValueRef key = indexed ? LLVMGetParam(fn, 0) : mlc_bpf_key(d->module, 0);
    LLVMBuildRet(b, mlc_bpf_map_lookup(d->module, b, map, key));
    LLVMDisposeBuilder(b);
}

/* libbpf binds .rodata to the program, which is how bpftool finds the names. */
void mlc_bpf_metadata(mlc_debug *d, const char *key, const char *value) {
    char name[128] = "bpf_metadata_";
    strncat(name, key, sizeof name - strlen(name) - 1);
    LLVMValueRef text = LLVMConstStringInContext2(d->context, value, strlen(value), false);
    LLVMValueRef g = LLVMAddGlobal(d->module, LLVMTypeOf(text), name);
    LLVMSetInitializer(g, text);
    LLVMSetGlobalConstant(g, true);
    LLVMSetSection(g, ".rodata");
    LLVMMetadataRef character = LLVMDIBuilderCreateBasicType(d->builder, "char", 4, 8, 0x06, LLVMDIFlagZero);
    LLVMMetadataRef range = LLVMDIBuilderGetOrCreateSubrange(d->builder, 0, (int64_t)strlen(value) + 1);
    LLVMMetadataRef array =
        LLVMDIBuilderCreateArrayType(d->builder, 8 * (strlen(value) + 1), 0, character, &range, 1);
    LLVMMetadataRef constant =
        LLVMDIBuilderCreateQualifiedType(d->builder, 0x26 /* DW_TAG_const_type */, array);
    attach_type(d, g, name, constant, false);
}

void mlc_section_bytes(LLVMModuleRef m, const char *symbol, const char *section, const char *data,
                       size_t size) {
    LLVMValueRef bytes = LLVMConstStringInContext2(LLVMGetModuleContext(m), data, size, true);
    LLVMValueRef g = LLVMAddGlobal(m, LLVMTypeOf(bytes), symbol);
    LLVMSetInitializer(g, bytes);
    LLVMSetGlobalConstant(g, true);
    LLVMSetSection(g, section);
    LLVMSetAlignment(g, 16);
    LLVMSetLinkage(g, LLVMInternalLinkage);
}
