/*
 * INTEGER graph -> object. The modules, in order: the glue (constants, maps) with
 * the target's entry program linked in is optimized as ordinary code; then the
 * model, which gets its own short pass list, is linked to it.
 */
#include "Lowering.h"
#include "mlc/bitcode.h"

#include <linux/bpf.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/IRReader.h>
#include <llvm-c/Linker.h>
#include <stdlib.h>
#include <string.h>

/* Never instcombine or default<O2> on the model: they turn masks into min, max
 * and compares, which become branches (lib/CodeGen/README.md). */
static const char *model_passes(char level) {
    return level == '0' ? "verify" : "function(early-cse,dce),globaldce";
}

static LLVMModuleRef new_module(mlc_codegen *cg, const char *name) {
    LLVMModuleRef m = LLVMModuleCreateWithNameInContext(name, cg->context);
    char *triple = LLVMGetTargetMachineTriple(cg->machine);
    LLVMSetTarget(m, triple);
    LLVMDisposeMessage(triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(cg->machine);
    LLVMSetModuleDataLayout(m, layout);
    LLVMDisposeTargetData(layout);
    return m;
}

/* Linking destroys `source`. */
static bool link_into(mlc_codegen *cg, LLVMModuleRef source) {
    if (LLVMLinkModules2(cg->module, source))
        return mlc_error(cg->diag, "code generation: modules do not link");
    return cg->llvm_errors == 0;
}

/* The helpers were compiled for v3: functions carry that as attributes, which would win over the target
 * machine's. */
static void use_machine_cpu(LLVMModuleRef m) {
    static const char *const attributes[] = {"target-cpu", "target-features"};
    for (LLVMValueRef f = LLVMGetFirstFunction(m); f; f = LLVMGetNextFunction(f))
        for (int i = 0; i < 2; i++)
            LLVMRemoveStringAttributeAtIndex(f, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, attributes[i],
                                             (unsigned)strlen(attributes[i]));
}

static bool link_entry(mlc_codegen *cg) {
    size_t size;
    const unsigned char *bitcode = mlc_bitcode_find(cg->target->entry, &size);
    if (!bitcode)
        return mlc_error(cg->diag, "no helper bitcode named '%s'", cg->target->entry);
    LLVMMemoryBufferRef buffer =
        LLVMCreateMemoryBufferWithMemoryRangeCopy((const char *)bitcode, size, cg->target->entry);
    LLVMModuleRef entry = NULL;
    char *message = NULL;
    if (LLVMParseIRInContext(cg->context, buffer, &entry, &message)) {
        mlc_error(cg->diag, "helper bitcode '%s': %s", cg->target->entry, message);
        LLVMDisposeMessage(message);
        return false;
    }
    use_machine_cpu(entry);
    return link_into(cg, entry);
}

/* Programs, maps, license, metadata. */
static bool is_root(LLVMValueRef g) {
    const char *section = LLVMGetSection(g);
    return section && *section;
}

/* Maps and variables that only constant-false code refers to. */
static void drop_unused(mlc_codegen *cg) {
    for (LLVMValueRef g = LLVMGetFirstGlobal(cg->module), next; g; g = next) {
        next = LLVMGetNextGlobal(g);
        const char *section = LLVMGetSection(g);
        bool map = section && strcmp(section, ".maps") == 0,
             variable = !is_root(g) && !LLVMIsGlobalConstant(g);
        if ((map || variable) && !LLVMGetFirstUse(g))
            LLVMDeleteGlobal(g);
    }
}

/* Functions that the kernel verifies on their own are global to it. */
static bool is_rolled_body(const char *name) {
    return strncmp(name, MLC_ROLL_PREFIX, strlen(MLC_ROLL_PREFIX)) == 0;
}

/* Everything but programs, maps and the like is private to the object. */
static void internalize(mlc_codegen *cg, bool keep_model) {
    for (LLVMValueRef f = LLVMGetFirstFunction(cg->module); f; f = LLVMGetNextFunction(f)) {
        size_t n;
        if (LLVMIsDeclaration(f) || is_root(f))
            continue;
        const char *name = LLVMGetValueName2(f, &n);
        if (is_rolled_body(name) || (keep_model && strcmp(name, "mlc_model") == 0))
            continue;
        LLVMSetLinkage(f, LLVMInternalLinkage);
    }
    for (LLVMValueRef g = LLVMGetFirstGlobal(cg->module); g; g = LLVMGetNextGlobal(g)) {
        size_t n;
        bool mutable_global =
            !LLVMIsGlobalConstant(g); /* mlc_next and the like: the loader sets them by name */
        if (LLVMIsDeclaration(g) || is_root(g) || mutable_global)
            continue;
        if (strncmp(LLVMGetValueName2(g, &n), "llvm.", 5) == 0)
            continue;
        LLVMSetLinkage(g, LLVMInternalLinkage);
    }
}

static bool check_module(mlc_codegen *cg) {
    char *message = NULL;
    bool bad = LLVMVerifyModule(cg->module, LLVMReturnStatusAction, &message);
    if (bad)
        mlc_error(cg->diag, "code generation: invalid IR: %s", message);
    LLVMDisposeMessage(message);
    return !bad;
}

/* A helper that nobody defines would be left as a silent declaration. */
static bool check_resolved(mlc_codegen *cg) {
    for (LLVMValueRef f = LLVMGetFirstFunction(cg->module); f; f = LLVMGetNextFunction(f)) {
        size_t n;
        const char *name = LLVMGetValueName2(f, &n);
        if (LLVMIsDeclaration(f) && strncmp(name, "llvm.", 5) != 0 && LLVMGetFirstUse(f))
            return mlc_error(cg->diag, "code generation: '%s' is not defined", name);
    }
    return true;
}

static bool add_glue(mlc_codegen *cg) {
    mlc_debug debug;
    mlc_debug_open(&debug, cg->module, cg->listing);
    LLVMValueRef frame =
        mlc_bpf_map(&debug, "mlc_frame", BPF_MAP_TYPE_PERCPU_ARRAY, 4,
                    (unsigned)mlc_frame_value_size(&cg->layout), (unsigned)cg->layout.n_entries);
    mlc_bpf_map_getter(&debug, "mlc_frame_get", frame, false);
    char sha[65];
    for (int i = 0; i < 32; i++)
        snprintf(sha + 2 * i, 3, "%02x", cg->graph->sha256[i]);
    mlc_bpf_metadata(&debug, "mlc_version", mlc_version());
    mlc_bpf_metadata(&debug, "mlc_model", mlc_escape(cg->graph->name ? cg->graph->name : ""));
    mlc_bpf_metadata(&debug, "mlc_sha256", sha);
    mlc_glue_u32(cg->module, "mlc_frame_scratch", (uint32_t)cg->layout.scratch_offset);
    bool ok = cg->target->glue(cg, &debug);
    mlc_debug_close(&debug);
    return ok;
}

/* NULL after reporting. */
static LLVMModuleRef make_model(mlc_codegen *cg) {
    LLVMModuleRef m = new_module(cg, "model");
    mlc_debug debug;
    mlc_debug_open(&debug, m, cg->listing);
    bool ok = mlc_emit_model(cg, m, &debug);
    mlc_debug_close(&debug);
    char *message = NULL;
    if (ok && LLVMVerifyModule(m, LLVMReturnStatusAction, &message))
        ok = mlc_error(cg->diag, "code generation: invalid IR: %s", message);
    LLVMDisposeMessage(message);
    if (!ok || !mlc_llvm_passes(cg, m, cg->machine, model_passes(cg->options->opt_level))) {
        LLVMDisposeModule(m);
        return NULL;
    }
    return m;
}

static bool add_entry(mlc_codegen *cg) {
    if (!add_glue(cg) || !link_entry(cg))
        return false;
    internalize(cg, true);
    if (!check_module(cg) || !mlc_llvm_passes(cg, cg->module, cg->machine, "default<O2>"))
        return false;
    drop_unused(cg);
    return true;
}

/* The model comes first: the sizes of maps depend on its code. */
static bool build_bpf(mlc_codegen *cg) {
    LLVMModuleRef model = make_model(cg);
    if (!model)
        return false;
    if (!add_entry(cg)) {
        LLVMDisposeModule(model);
        return false;
    }
    if (!link_into(cg, model))
        return false;
    internalize(cg, false);
    return true;
}

static bool build_host(mlc_codegen *cg) {
    LLVMModuleRef model = make_model(cg);
    return model && link_into(cg, model);
}

static bool add_host_image(mlc_codegen *cg) {
    const char *image;
    size_t size;
    if (!mlc_host_image(cg, &image, &size))
        return false;
    mlc_section_bytes(cg->module, "mlc_host", ".mlc.host", image, size);
    return true;
}

static bool finish(mlc_codegen *cg, mlc_result *result) {
    const char *data;
    size_t size;
    if (cg->options->emit == MLC_EMIT_LLVM_IR) {
        char *ir = LLVMPrintModuleToString(cg->module);
        data = mlc_arena_strdup(cg->arena, ir);
        size = strlen(data);
        LLVMDisposeMessage(ir);
    } else if (!mlc_llvm_emit(cg, cg->module, cg->machine, cg->options->emit == MLC_EMIT_ASM, &data, &size)) {
        return false;
    }
    if (cg->options->emit == MLC_EMIT_OBJ && cg->target->entry)
        mlc_object_stats(cg, data, size, &result->stats);
    result->data = malloc(size ? size : 1);
    if (!result->data)
        return mlc_error(cg->diag, "out of memory");
    memcpy(result->data, data, size);
    result->size = size;
    return true;
}

/* Positions of a convolution for each element of its output. */
static int64_t pool_area(const mlc_node *node) {
    int64_t n, area = 1;
    const int64_t *pool = mlc_attr_ints(node, "pool", &n);
    for (int64_t d = 0; d < n; d++)
        area *= pool[d];
    return area;
}

/* Multiplications by weights that are not zero, of one inference. */
static long count_macs(const mlc_graph *g) {
    long macs = 0;
    MLC_FOR_NODES (g, node) {
        bool conv = node->op == mlc_iop("Conv");
        if (!conv && node->op != mlc_iop("Linear"))
            continue;
        const mlc_tensor *w = node->in[1]->constant;
        int64_t n = mlc_shape_elements(&w->shape), out = mlc_shape_elements(&node->out[0]->shape), used = 0;
        for (int64_t i = 0; i < n; i++)
            used += w->i[i] != 0;
        if (w->shape.dim[0])
            macs += (long)(used * (out / w->shape.dim[0]) * pool_area(node));
    }
    return macs;
}

/* Constants stand behind the nodes; as debug source they would only add weight. */
static const char *without_constants(mlc_arena *arena, const char *listing) {
    const char *constants = strstr(listing, "\nconst %");
    return constants ? mlc_arena_strndup(arena, listing, (size_t)(constants - listing)) : listing;
}

bool mlc_codegen_run(mlc_codegen *cg, mlc_result *result) {
    result->stats.macs = count_macs(cg->graph);
    cg->listing = without_constants(cg->arena, mlc_graph_print(cg->graph, cg->arena));
    if (!mlc_layout_plan(cg->graph, cg->binding, cg->options, &cg->layout))
        return false;
    if (cg->options->emit == MLC_EMIT_JSON) {
        const char *manifest = mlc_manifest(cg);
        result->size = strlen(manifest);
        result->data = strdup(manifest);
        return result->data || mlc_error(cg->diag, "out of memory");
    }
    cg->context = LLVMContextCreate();
    mlc_arena_defer(cg->arena, mlc_llvm_dispose_context, cg->context);
    mlc_llvm_open(cg, cg->context);
    cg->machine = mlc_llvm_machine(cg, cg->target->entry == NULL, LLVMCodeGenLevelDefault);
    if (!cg->machine)
        return false;
    cg->module = new_module(cg, "mlc");
    mlc_arena_defer(cg->arena, mlc_llvm_dispose_module, cg->module);
    if (cg->target->entry ? !build_bpf(cg) : !build_host(cg))
        return false;
    const char *manifest = mlc_manifest(cg);
    mlc_section_bytes(cg->module, "mlc_manifest", ".mlc.manifest", manifest, strlen(manifest));
    if (cg->target->host_image && !add_host_image(cg))
        return false;
    return check_resolved(cg) && check_module(cg) && cg->llvm_errors == 0 && finish(cg, result);
}
