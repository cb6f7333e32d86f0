/* LLVM's life cycle and its diagnostics. */
#include "CodeGen.h"

#include <llvm-c/Error.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>
#include <string.h>

static void initialize(void) {
    LLVMInitializeBPFTargetInfo();
    LLVMInitializeBPFTarget();
    LLVMInitializeBPFTargetMC();
    LLVMInitializeBPFAsmPrinter();
    LLVMInitializeBPFAsmParser();
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    /* The order of the IR is chosen so that few values are alive at a time; the
     * default scheduler reorders for latency and spills beyond BPF's stack. The
     * machine schedulers (x86) take quadratic time on long straight-line code. Loop
     * invariants are constants, which are cheaper where they are used than on the stack. */
    const char *const flags[] = {"mlc", "-pre-RA-sched=source", "-enable-misched=false",
                                 "-enable-post-misched=false", "-disable-machine-licm"};
    LLVMParseCommandLineOptions(sizeof flags / sizeof flags[0], flags, NULL);
}

static void on_diagnostic(LLVMDiagnosticInfoRef info, void *user) {
    mlc_codegen *cg = user;
    LLVMDiagnosticSeverity severity = LLVMGetDiagInfoSeverity(info);
    if (severity != LLVMDSError && severity != LLVMDSWarning)
        return;
    char *text = LLVMGetDiagInfoDescription(info);
    /* A warning is never expected: a triple mismatch on linking, for one, is only a warning. */
    if (cg->llvm_errors++ < 10)
        mlc_error(cg->diag, "code generation: %s", text);
    LLVMDisposeMessage(text);
}

static void dispose_machine(void *machine) {
    LLVMDisposeTargetMachine(machine);
}

void mlc_llvm_dispose_context(void *context) {
    LLVMContextDispose(context);
}

void mlc_llvm_dispose_module(void *module) {
    LLVMDisposeModule(module);
}

void mlc_llvm_open(mlc_codegen *cg, LLVMContextRef context) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialize);
    LLVMContextSetDiagnosticHandler(context, on_diagnostic, cg);
}

LLVMTargetMachineRef mlc_llvm_machine(mlc_codegen *cg, bool host, LLVMCodeGenOptLevel level) {
    const char *triple = host ? "x86_64-unknown-linux-gnu" : "bpfel-unknown-none";
    LLVMTargetRef target;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(triple, &target, &message)) {
        mlc_error(cg->diag, "LLVM has no target %s: %s", triple, message);
        LLVMDisposeMessage(message);
        return NULL;
    }
    const char *cpu = host ? "x86-64" : cg->options->mcpu ? cg->options->mcpu : "v3";
    LLVMTargetMachineRef machine =
        LLVMCreateTargetMachine(target, triple, cpu, "", level, host ? LLVMRelocPIC : LLVMRelocDefault,
                                host ? LLVMCodeModelSmall : LLVMCodeModelDefault);
    mlc_arena_defer(cg->arena, dispose_machine, machine);
    return machine;
}

bool mlc_llvm_emit(mlc_codegen *cg, LLVMModuleRef m, LLVMTargetMachineRef machine, bool assembly,
                   const char **data, size_t *size) {
    char *message = NULL;
    LLVMMemoryBufferRef buffer = NULL;
    /* Emission reports success although the handler saw errors: count them. */
    int before = cg->llvm_errors;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine, m, assembly ? LLVMAssemblyFile : LLVMObjectFile,
                                            &message, &buffer)) {
        mlc_error(cg->diag, "code generation: %s", message ? message : "emission failed");
        LLVMDisposeMessage(message);
        return false;
    }
    *size = LLVMGetBufferSize(buffer);
    char *copy = mlc_arena_alloc(cg->arena, *size + 1);
    memcpy(copy, LLVMGetBufferStart(buffer), *size);
    *data = copy;
    LLVMDisposeMemoryBuffer(buffer);
    return cg->llvm_errors == before;
}

bool mlc_llvm_passes(mlc_codegen *cg, LLVMModuleRef m, LLVMTargetMachineRef machine, const char *pipeline) {
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(m, pipeline, machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (!error)
        return true;
    char *text = LLVMGetErrorMessage(error);
    mlc_error(cg->diag, "code generation: %s", text);
    LLVMDisposeErrorMessage(text);
    return false;
}
