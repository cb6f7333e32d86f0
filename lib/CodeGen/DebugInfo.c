/*
 * Debug information. The source file is the printed listing of the graph, so a
 * line number is a node: BTF carries the listing's lines, and the kernel's dumps
 * and verifier logs show nodes above their instructions.
 */
#include "CodeGen.h"

#include <llvm-c/IRReader.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char *quoted_metadata(mlc_arena *arena, const char *text) {
    size_t n = strlen(text);
    char *out = MLC_NEW_ARRAY(arena, 3 * n + 1, char), *p = out;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            *p++ = (char)c;
        } else {
            *p++ = '\\';
            *p++ = "0123456789ABCDEF"[c >> 4];
            *p++ = "0123456789ABCDEF"[c & 15];
        }
    }
    return out;
}

/*
 * A DIFile that embeds its text, from which the BPF backend takes the lines of
 * BTF. The C API can only name a file on disk; a snippet of IR parsed in the same
 * context makes the node.
 */
static LLVMMetadataRef embedded_file(mlc_arena *arena, LLVMContextRef context, const char *listing) {
    const char *ir = mlc_arena_printf(arena,
                                      "!mlc.file = !{!0}\n"
                                      "!0 = !DIFile(filename: \"" MLC_LISTING_NAME
                                      "\", directory: \"\", source: \"%s\")\n",
                                      quoted_metadata(arena, listing));
    LLVMMemoryBufferRef buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(ir, strlen(ir), "file");
    LLVMModuleRef m = NULL;
    char *message = NULL;
    LLVMMetadataRef file = NULL;
    if (LLVMParseIRInContext(context, buffer, &m, &message)) {
        LLVMDisposeMessage(message);
        return NULL;
    }
    LLVMValueRef operand;
    LLVMGetNamedMetadataOperands(m, "mlc.file", &operand);
    file = LLVMValueAsMetadata(operand);
    LLVMDisposeModule(m);
    return file;
}

void mlc_debug_open(mlc_debug *d, LLVMModuleRef module, const char *listing) {
    *d = (mlc_debug){.context = LLVMGetModuleContext(module), .module = module};
    d->builder = LLVMCreateDIBuilder(module);
    mlc_arena *scratch = listing ? mlc_arena_create(SIZE_MAX) : NULL;
    if (scratch)
        d->file = embedded_file(scratch, d->context, listing);
    mlc_arena_destroy(scratch);
    if (!d->file)
        d->file = LLVMDIBuilderCreateFile(d->builder, MLC_LISTING_NAME, strlen(MLC_LISTING_NAME), "", 0);
    d->unit =
        LLVMDIBuilderCreateCompileUnit(d->builder, LLVMDWARFSourceLanguageC11, d->file, "mlc", 3, true, "", 0,
                                       0, "", 0, LLVMDWARFEmissionFull, 0, false, false, "", 0, "", 0);
    d->u8 = LLVMDIBuilderCreateBasicType(d->builder, "unsigned char", 13, 8, 0x08, LLVMDIFlagZero);
    d->i32 = LLVMDIBuilderCreateBasicType(d->builder, "int", 3, 32, 0x05, LLVMDIFlagZero);
    d->u32 = LLVMDIBuilderCreateBasicType(d->builder, "unsigned int", 12, 32, 0x07, LLVMDIFlagZero);
    d->u64 = LLVMDIBuilderCreateBasicType(d->builder, "unsigned long long", 18, 64, 0x07, LLVMDIFlagZero);
    LLVMValueRef version =
        LLVMConstInt(LLVMInt32TypeInContext(d->context), LLVMDebugMetadataVersion(), false);
    LLVMAddModuleFlag(module, LLVMModuleFlagBehaviorWarning, "Debug Info Version", 18,
                      LLVMValueAsMetadata(version));
}

void mlc_debug_close(mlc_debug *d) {
    LLVMDIBuilderFinalize(d->builder);
    LLVMDisposeDIBuilder(d->builder);
    d->builder = NULL;
}

enum { MAX_PARAMS = 5 };

/* types[0] is the result. */
static LLVMMetadataRef subprogram(mlc_debug *d, LLVMValueRef fn, LLVMMetadataRef *types,
                                  const char *const *names, int n, bool local, int line) {
    size_t length;
    const char *name = LLVMGetValueName2(fn, &length);
    LLVMMetadataRef type =
        LLVMDIBuilderCreateSubroutineType(d->builder, d->file, types, (unsigned)n + 1, LLVMDIFlagZero);
    LLVMMetadataRef scope =
        LLVMDIBuilderCreateFunction(d->builder, d->file, name, length, name, length, d->file, (unsigned)line,
                                    type, local, true, (unsigned)line, LLVMDIFlagPrototyped, true);
    LLVMSetSubprogram(fn, scope);
    /* The kernel refuses a function whose parameters have no names. */
    for (int i = 0; i < n; i++)
        LLVMDIBuilderCreateParameterVariable(d->builder, scope, names[i], strlen(names[i]), (unsigned)i + 1,
                                             d->file, (unsigned)line, types[i + 1], true, LLVMDIFlagZero);
    return scope;
}

LLVMMetadataRef mlc_debug_function(mlc_debug *d, LLVMValueRef fn, const char *const *params, int n,
                                   int line) {
    LLVMMetadataRef types[MAX_PARAMS + 1] = {NULL};
    LLVMMetadataRef bytes = LLVMDIBuilderCreatePointerType(d->builder, d->u8, 64, 0, 0, "", 0);
    for (int i = 0; i < n; i++)
        types[i + 1] = bytes;
    /* All end up static. BTF that says otherwise makes the verifier check the
     * function on its own, with unknown arguments. */
    return subprogram(d, fn, types, params, n, true, line);
}

LLVMMetadataRef mlc_debug_aside(mlc_debug *d, LLVMValueRef fn, const char *const numbers[2], bool areas,
                                int line) {
    const char *const names[] = {"in", "out", "scratch", numbers[0], numbers[1]};
    LLVMMetadataRef bytes = LLVMDIBuilderCreatePointerType(d->builder, d->u8, 64, 0, 0, "", 0),
                    types[MAX_PARAMS + 1] = {d->i32, bytes, bytes, bytes, d->u32, d->u32};
    int skipped = areas ? 0 : 3;
    types[skipped] = d->i32;
    return subprogram(d, fn, types + skipped, names + skipped, MAX_PARAMS - skipped, false, line);
}

void mlc_debug_line(mlc_debug *d, LLVMBuilderRef b, LLVMMetadataRef scope, int line) {
    LLVMSetCurrentDebugLocation2(
        b, LLVMDIBuilderCreateDebugLocation(d->context, (unsigned)(line > 0 ? line : 1), 0, scope, NULL));
}
