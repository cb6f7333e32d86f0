#include "Stack.h"

#include <stdlib.h>
#include <string.h>

/* The kernel's limits: MAX_CALL_FRAMES, BPF_MAX_SUBPROGS. */
enum { MAX_FRAMES = 8, MAX_FUNCTIONS = 256 };

/* The instruction that instruction i calls, or whose address it takes for a helper
 * to call; -1 for others. */
static long callee(const struct bpf_insn *insns, size_t n, size_t i) {
    const struct bpf_insn *insn = &insns[i];
    bool call = insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_CALL;
    bool address = insn->code == (BPF_LD | BPF_IMM | BPF_DW) && insn->src_reg == BPF_PSEUDO_FUNC;
    long target = (long)i + insn->imm + 1;
    return (call || address) && target >= 0 && target < (long)n ? target : -1;
}

static int parse_frames(const char *log, long own[MAX_FUNCTIONS]) {
    static const char key[] = "stack depth ";
    const char *s = strstr(log, key);
    char *end;
    int n = 0;
    if (!s)
        return 0;
    for (s += strlen(key); n < MAX_FUNCTIONS; s = end + 1) {
        own[n++] = strtol(s, &end, 10);
        if (*end != '+')
            break;
    }
    return n;
}

long mlc_stack_depth(mlc_run *run, const struct bpf_insn *insns, size_t n, const char *log) {
    long own[MAX_FUNCTIONS], depth[MAX_FUNCTIONS];
    int n_functions = parse_frames(log, own);
    if (n_functions == 0)
        return -1;
    memcpy(depth, own, sizeof depth);

    /* Functions are numbered by their first instruction. */
    bool *starts = MLC_NEW_ARRAY(run->arena, n + 1, bool);
    int *function = MLC_NEW_ARRAY(run->arena, n + 1, int);
    for (size_t i = 0; i < n; i++)
        if (callee(insns, n, i) >= 0)
            starts[callee(insns, n, i)] = true;
    for (size_t i = 1; i < n; i++)
        function[i] = function[i - 1] + starts[i];
    if (n == 0 || function[n - 1] != n_functions - 1)
        return -1;

    /* Each round extends the known chains by one call. */
    for (int round = 1; round < MAX_FRAMES; round++)
        for (size_t i = 0; i < n; i++) {
            long target = callee(insns, n, i);
            if (target < 0)
                continue;
            long with = own[function[i]] + depth[function[target]];
            if (with > depth[function[i]])
                depth[function[i]] = with;
        }
    return depth[0];
}
