#include "Explain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/utsname.h>
#include <unistd.h>

const char *mlc_kernel_release(void) {
    static struct utsname name;
    return uname(&name) == 0 ? name.release : "unknown";
}

static bool have(cap_value_t value) {
    cap_t caps = cap_get_proc();
    cap_flag_value_t set = CAP_CLEAR;
    if (caps)
        cap_get_flag(caps, value, CAP_EFFECTIVE, &set);
    cap_free(caps);
    return set == CAP_SET;
}

static bool is_network(enum bpf_prog_type type) {
    switch (type) {
    case BPF_PROG_TYPE_XDP:
    case BPF_PROG_TYPE_SCHED_CLS:
    case BPF_PROG_TYPE_SCHED_ACT:
    case BPF_PROG_TYPE_CGROUP_SKB:
    case BPF_PROG_TYPE_CGROUP_SOCK:
    case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
    case BPF_PROG_TYPE_LWT_IN:
    case BPF_PROG_TYPE_LWT_OUT:
    case BPF_PROG_TYPE_LWT_XMIT:
    case BPF_PROG_TYPE_SOCK_OPS:
    case BPF_PROG_TYPE_SK_SKB:
    case BPF_PROG_TYPE_SK_MSG:
    case BPF_PROG_TYPE_SK_LOOKUP:
    case BPF_PROG_TYPE_FLOW_DISSECTOR:
        return true;
    default:
        return false;
    }
}

static bool is_tracing(enum bpf_prog_type type) {
    switch (type) {
    case BPF_PROG_TYPE_KPROBE:
    case BPF_PROG_TYPE_TRACEPOINT:
    case BPF_PROG_TYPE_PERF_EVENT:
    case BPF_PROG_TYPE_RAW_TRACEPOINT:
    case BPF_PROG_TYPE_TRACING:
    case BPF_PROG_TYPE_LSM:
    case BPF_PROG_TYPE_STRUCT_OPS:
    case BPF_PROG_TYPE_EXT:
        return true;
    default:
        return false;
    }
}

const char *mlc_missing_capability(enum bpf_prog_type type) {
    if (have(CAP_SYS_ADMIN) && (!is_network(type) || have(CAP_NET_ADMIN)))
        return NULL;
    if (!have(CAP_BPF) && !have(CAP_SYS_ADMIN))
        return "CAP_BPF";
    if (is_network(type) && !have(CAP_NET_ADMIN))
        return "CAP_NET_ADMIN";
    if (is_tracing(type) && !have(CAP_PERFMON))
        return "CAP_PERFMON";
    return NULL;
}

long mlc_log_number(const char *log, const char *key) {
    size_t n = strlen(key);
    for (const char *s = strstr(log, key); s; s = strstr(s + n, key))
        if (s[n] == ' ')
            return strtol(s + n, NULL, 10);
    return -1;
}

/* The line is part of the statistics that follow the verdict. */
static bool is_statistic(const char *line) {
    static const char *const starts[] = {
        "processed ",  "verification time", "stack depth", "max_states_per_insn",
        "peak_states", "total_states",      "mark_read"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        if (!strncmp(line, starts[i], strlen(starts[i])))
            return true;
    return false;
}

/* "; text @ file:line" from kernel 6.9 on; older ones print the text alone. */
static void read_source(mlc_run *run, const char *line, mlc_rejection *r) {
    char *text = mlc_arena_strdup(run->arena, line + 2);
    char *at = NULL;
    for (char *s = strstr(text, " @ "); s; s = strstr(s + 1, " @ "))
        at = s;
    r->line = 0;
    if (at) {
        const char *colon = strrchr(at, ':');
        *at = 0;
        if (colon)
            r->line = atoi(colon + 1);
    }
    r->source = *text ? mlc_arena_strdup(run->arena, mlc_escape(text)) : NULL;
}

/* The line shows registers or the path, not the complaint. */
static bool is_trace(const char *line) {
    static const char *const starts[] = {
        "from ", "cur state:", "old state:", "caller:", "callee:", "frame", "mark_precise:", "Live regs"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        if (!strncmp(line, starts[i], strlen(starts[i])))
            return true;
    static const char digits[] = "0123456789";
    if (line[0] == 'R') { /* "R1=ctx() R10=fp0", but not "R1 invalid mem access" */
        const char *end = line + 1 + strspn(line + 1, digits);
        return end > line + 1 && (*end == '=' || *end == '_');
    }
    size_t n = strspn(line, digits);
    return n > 0 && line[n] == ':';
}

/* Keeps what the last line before the statistics says, and the last instruction
 * and source line before it. */
static void read_log(mlc_run *run, const char *log, mlc_rejection *r) {
    for (const char *s = log; *s;) {
        size_t n = strcspn(s, "\n");
        const char *line = mlc_arena_strndup(run->arena, s, n < 1000 ? n : 1000);
        s += n + (s[n] == '\n');
        int insn;
        char bracket;
        if (!*line || is_statistic(line))
            continue;
        if (line[0] == ';' && line[1] == ' ') {
            read_source(run, line, r);
        } else if (sscanf(line, "%d: %c", &insn, &bracket) == 2 && bracket == '(') {
            r->insn = insn;
        } else if (!is_trace(line)) {
            r->reason = mlc_arena_strdup(run->arena, mlc_escape(line));
        }
    }
}

static const mlc_node_line *find_node(const mlc_manifest *m, const mlc_rejection *r) {
    for (int i = 0; m && i < m->n_nodes; i++)
        if (r->line ? m->nodes[i].line == r->line
                    : r->source && !strcmp(mlc_escape(m->nodes[i].text), r->source))
            return &m->nodes[i];
    return NULL;
}

#define NO_PERFMON \
    "without CAP_PERFMON the verifier refuses this; grant it, or compile with -O2 --unroll=full"

#define OLDER                                                                                            \
    "the kernel is older than the object; compile with -mcpu=v3 and --kernel=VERSION, which `uname -r` " \
    "tells"

/* First match wins. */
static const struct {
    const char *message, *hint;
} hints[] = {
    {"BPF program is too large",
     "the verifier gave up after 1,000,000 instructions; compile with -O2 or -Os, or use a smaller model"},
    {"too complex",
     "too many branches are open at once; compile with -O1 or higher, which leaves none in the model"},
    {"combined stack size", "the call chain needs more than 512 bytes of stack; compile with -Os"},
    {"back-edge", "this kernel refuses the loop; compile with -O2, which unrolls"},
    {"infinite loop", "this kernel cannot prove that the loop ends; compile with -O2, which unrolls"},
    {"unknown opcode", OLDER},
    {"uses reserved fields", OLDER},
    {"invalid func", "the kernel has no such helper function; it is too old for this object"},
    {"unknown func", "the kernel does not offer this helper to the program; it is too old for this object"},
    {"cannot use helper",
     "the kernel does not offer this helper to the program; it is too old for this object"},
    {"GPL", "the program calls a helper that needs a GPL-compatible license section"},
    {"!root", NO_PERFMON},
    {"pointer comparison prohibited", NO_PERFMON},
    {"leaks addr", NO_PERFMON},
    {"invalid access to packet", "the program reads beyond what it proved to be inside the packet"},
    {"outside of the packet", "the program reads beyond what it proved to be inside the packet"},
    {"invalid BTF", "the kernel does not accept the object's type information"},
};

static const char *hint_for(mlc_run *run, const mlc_rejection *r, enum bpf_prog_type type, bool logged) {
    const char *capability = mlc_missing_capability(type);
    if ((r->err == EPERM || r->err == EACCES) && capability)
        return mlc_arena_printf(run->arena,
                                "%s is missing%s; run as root or grant it, e.g. with setcap or systemd's "
                                "AmbientCapabilities",
                                capability, geteuid() == 0 ? " although the user is root (container?)" : "");
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++)
        if (logged && strstr(r->reason, hints[i].message))
            return hints[i].hint;
    if (logged)
        return NULL;
    switch (r->err) {
    case EPERM:
    case EACCES:
        return "all capabilities are here: a security module, kernel lockdown or the container forbids it";
    case E2BIG:
        return "the program has more than 1,000,000 instructions; compile with -Os";
    case EINVAL:
        return mlc_arena_printf(run->arena, "kernel %s may be too old for this kind of program",
                                mlc_kernel_release());
    case ENOMEM:
        return "not enough kernel memory, or the cgroup's memory limit is reached";
    case 524:
        return "the JIT could not compile the program and this kernel has no interpreter; with "
               "net.core.bpf_jit_harden=2 "
               "long jumps are the usual cause: compile with -Os";
    default:
        return NULL;
    }
}

/* libbpf's "libbpf: prog 'x': something\n" without prefix and end of line. */
static const char *trim_heard(mlc_run *run, const char *heard) {
    if (!strncmp(heard, "libbpf: ", 8))
        heard += 8;
    return mlc_arena_strdup(run->arena,
                            mlc_escape(mlc_arena_strndup(run->arena, heard, strcspn(heard, "\n"))));
}

mlc_rejection mlc_explain(mlc_run *run, int err, enum bpf_prog_type type, const char *log, const char *heard,
                          const mlc_manifest *manifest) {
    mlc_rejection r = {.err = abs(err), .insn = -1};
    read_log(run, log, &r);
    bool logged = r.reason != NULL;
    if (r.err == ENOSPC && *log)
        r.reason = "the verifier's log did not fit; its end is lost";
    else if (!logged && *heard && r.err != EPERM && r.err != EACCES)
        r.reason = trim_heard(run, heard);
    else if (!logged)
        r.reason = mlc_errno(r.err);
    r.node = find_node(manifest, &r);
    r.hint = hint_for(run, &r, type, logged);
    return r;
}

const char *mlc_rejection_str(mlc_run *run, const mlc_rejection *r) {
    const char *at = "";
    if (r->node)
        at = mlc_arena_printf(run->arena, " at node '%s' (%s)", mlc_escape(r->node->name),
                              mlc_escape(r->node->op));
    else if (r->source)
        at = mlc_arena_printf(run->arena, " at \"%s\"", r->source);
    if (r->line)
        at = mlc_arena_printf(run->arena, "%s, line %d", at, r->line);
    if (r->insn >= 0)
        at = mlc_arena_printf(run->arena, "%s, instruction %d", at, r->insn);
    return mlc_arena_printf(run->arena, "rejected%s: %s", at, r->reason);
}
