#ifndef MLC_CODEGEN_H
#define MLC_CODEGEN_H

#include "mlc/actions.h"
#include "mlc/cost.h"
#include "mlc/lower.h"
#include "mlc/mlc.h"
#include "mlc/target.h"

#include <llvm-c/Core.h>
#include <llvm-c/DebugInfo.h>
#include <llvm-c/TargetMachine.h>

/* A model's intermediate values may take so many entries of the map mlc_frame. */
enum { MLC_MAX_ENTRIES = 64 };

/* Where a value lives. MLC_AREA_SCRATCH + k is the scratch of entry k of the frame. */
typedef enum mlc_area {
    MLC_AREA_NONE,
    MLC_AREA_IN,
    MLC_AREA_OUT,
    MLC_AREA_SCRATCH,
    MLC_N_AREAS = MLC_AREA_SCRATCH + MLC_MAX_ENTRIES
} mlc_area;

typedef struct mlc_storage {
    uint8_t width; /* bytes: 1, 2, 4, 8 */
    bool is_signed;
    bool big_endian; /* packet fields only */
} mlc_storage;

typedef struct mlc_place {
    mlc_area area;  /* NONE: constant, or computed in place */
    int64_t offset; /* bytes; of the first element */
    mlc_storage storage;
    const mlc_feature *features; /* graph inputs of packet targets: each element's own place */
    bool shared; /* area NONE: an element is read several times, to compute one element of one stored value */
} mlc_place;

enum { MLC_SUMS_BYTES = 256, MLC_LOOP_SLOTS = 8 };

typedef struct mlc_layout {
    mlc_place *place;                    /* by value id */
    int64_t in_size, out_size;           /* bytes, as all sizes multiples of 8 */
    int n_entries;                       /* of the frame, at least 1 */
    int64_t entry_size[MLC_MAX_ENTRIES]; /* the scratch in each */
    int64_t scratch_size;                /* of all entries; on the host one lies behind the other */
    int64_t sums_offset;  /* in entry 0: MLC_SUMS_BYTES for rolled dense layers, where there are any */
    int64_t loops_offset; /* likewise: MLC_LOOP_SLOTS counters of 8 bytes, where there may be loops */
    /* Packet targets: byte offsets of the parts of entry 0, which begins with inputs and outputs. */
    int64_t features_offset, packet_offset, payload_offset, out_offset, scratch_offset;
    int64_t frame_size; /* of one entry */
    /* Bytes of each area, from its first on, that speculation can reach (Loop.h); known once code is emitted.
     */
    int64_t reach[MLC_N_AREAS];
} mlc_layout;

/* The narrowest storage for all elements of v. */
mlc_storage mlc_storage_of(const mlc_value *v, bool prefer_wide_signed);
const char *mlc_storage_name(mlc_storage s); /* "u8", "i64" */

/* A convolution whose positions share one piece of code (pass `roll`), or a dense
 * layer whose outputs do (pass `roll-linear`). */
bool mlc_is_rolled(const mlc_node *node);

/* Whether the kernels that are to load the object have may_goto. */
bool mlc_has_may_goto(const mlc_options *options);
/* Decides what is materialized, and where. `binding` NULL: inputs are contiguous tensors. */
bool mlc_layout_plan(mlc_graph *g, const mlc_feature_binding *binding, const mlc_options *options,
                     mlc_layout *layout);
int64_t mlc_area_size(const mlc_layout *layout, mlc_area area);
/* Of the maps' values, with what speculation can reach as far as they may be that large. */
int64_t mlc_frame_value_size(const mlc_layout *layout);
int64_t mlc_tensors_value_size(const mlc_layout *layout, mlc_area area); /* IN or OUT, as maps of their own */

typedef struct mlc_codegen {
    mlc_arena *arena;
    mlc_diag *diag;
    mlc_graph *graph; /* INTEGER */
    const mlc_options *options;
    const mlc_target *target;
    const mlc_feature_binding *binding; /* NULL unless target->packet */
    const mlc_actions *actions;         /* likewise */
    const char *on_error;               /* "pass" or "drop" */
    mlc_layout layout;
    const char *listing; /* text of the graph: the debug source */
    mlc_work *work;      /* by line of the listing, 0 .. n_lines - 1; NULL: not counted */
    int n_lines;

    LLVMContextRef context;
    LLVMModuleRef module; /* glue and entry, then everything */
    LLVMTargetMachineRef machine;
    int llvm_errors;
} mlc_codegen;

/* Debug information of one module, so that BTF and line numbers come out. */
typedef struct mlc_debug {
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMDIBuilderRef builder;
    LLVMMetadataRef file, unit, u8, u32, u64, i32;
} mlc_debug;

/* The debug source; named in BTF, no such file exists. */
#define MLC_LISTING_NAME "model.graph"

void mlc_debug_open(mlc_debug *d, LLVMModuleRef module, const char *listing);
void mlc_debug_close(mlc_debug *d);
/* Gives a static function with pointer-to-bytes parameters its subprogram. */
LLVMMetadataRef mlc_debug_function(mlc_debug *d, LLVMValueRef fn, const char *const *params, int n, int line);
/* The same for a global function `int f(unsigned, unsigned)`, which the kernel verifies on
 * its own; `areas`: in front are three pointers to bytes. */
LLVMMetadataRef mlc_debug_aside(mlc_debug *d, LLVMValueRef fn, const char *const numbers[2], bool areas,
                                int line);
void mlc_debug_line(mlc_debug *d, LLVMBuilderRef b, LLVMMetadataRef scope, int line);

/* An ordinary BTF-defined map. Returns the global. */
LLVMValueRef mlc_bpf_map(mlc_debug *d, const char *name, unsigned type, unsigned key_size,
                         unsigned value_size, unsigned max_entries);
/* The lookup of an entry of an array map: its address, or NULL. */
LLVMValueRef mlc_bpf_map_lookup(LLVMModuleRef m, LLVMBuilderRef b, LLVMValueRef map, LLVMValueRef key);
/* The address of a constant u32. */
LLVMValueRef mlc_bpf_key(LLVMModuleRef m, uint32_t key);
/* Defines `ptr name(ptr index)` (parameter, the address of a u32, only with `indexed`): the map's element or
 * NULL. */
void mlc_bpf_map_getter(mlc_debug *d, const char *name, LLVMValueRef map, bool indexed);
/* Defines an internal constant. */
void mlc_glue_u32(LLVMModuleRef m, const char *name, uint32_t x);
void mlc_glue_u32s(LLVMModuleRef m, const char *name, const uint32_t *x, int n);
/* A string in .rodata, seen by `bpftool prog show` as metadata. */
void mlc_bpf_metadata(mlc_debug *d, const char *key, const char *value);

/* Emits `void mlc_model(in, out, scratch)` and its parts into `module`. */
bool mlc_emit_model(mlc_codegen *cg, LLVMModuleRef module, mlc_debug *debug);

/* Position-independent x86-64 code of the model; arena-owned. */
bool mlc_host_image(mlc_codegen *cg, const char **data, size_t *size);

/* JSON text (object format in README.md). */
const char *mlc_manifest(mlc_codegen *cg);

/* Bytes in a section that libbpf skips. */
void mlc_section_bytes(LLVMModuleRef m, const char *symbol, const char *section, const char *data,
                       size_t size);

/* For mlc_arena_defer. */
void mlc_llvm_dispose_context(void *context);
void mlc_llvm_dispose_module(void *module);
/* Diagnostics of LLVM go to cg->diag from here on. */
void mlc_llvm_open(mlc_codegen *cg, LLVMContextRef context);
LLVMTargetMachineRef mlc_llvm_machine(mlc_codegen *cg, bool host, LLVMCodeGenOptLevel level);
/* Object or assembly in memory; arena-owned. */
bool mlc_llvm_emit(mlc_codegen *cg, LLVMModuleRef m, LLVMTargetMachineRef machine, bool assembly,
                   const char **data, size_t *size);
bool mlc_llvm_passes(mlc_codegen *cg, LLVMModuleRef m, LLVMTargetMachineRef machine, const char *pipeline);

/* Counts instructions, read-only data and stack of a BPF object; with the option
 * `report` also what is executed, into cg->work. */
void mlc_object_stats(mlc_codegen *cg, const char *data, size_t size, mlc_stats *stats);

/* The whole of it. `result` is malloc'ed. */
bool mlc_codegen_run(mlc_codegen *cg, mlc_result *result);

#endif
