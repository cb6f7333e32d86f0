/* A packet filter on a network device. */
#include "CodeGen/CodeGen.h"
#include "Target.h"

#include <linux/bpf.h>
#include <string.h>

static const char *const verdicts[] = {"XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", NULL};
static const int verdict_values[] = {XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX};

static uint32_t verdict_value(const char *name) {
    for (int i = 0; verdicts[i]; i++)
        if (strcmp(verdicts[i], name) == 0)
            return (uint32_t)verdict_values[i];
    return XDP_ABORTED;
}

static bool glue(mlc_codegen *cg, mlc_debug *debug) {
    LLVMModuleRef m = debug->module;
    const mlc_feature_binding *b = cg->binding;
    const mlc_layout *layout = &cg->layout;
    uint32_t answers[MLC_MAX_DECISIONS];
    for (int i = 0; i < MLC_MAX_DECISIONS; i++)
        answers[i] =
            i < cg->actions->n_decisions ? verdict_value(cg->actions->decisions[i].verdict) : XDP_ABORTED;
    mlc_glue_u32s(m, "mlc_verdicts", answers, MLC_MAX_DECISIONS);
    mlc_glue_u32(m, "mlc_n_decisions", (uint32_t)cg->actions->n_decisions);
    mlc_glue_u32(m, "mlc_on_error_verdict",
                 verdict_value(strcmp(cg->on_error, "drop") == 0 ? "XDP_DROP" : "XDP_PASS"));
    mlc_glue_u32(m, "mlc_clock_from_map", cg->options->clock_from_map);

    const uint32_t builtins[2] = {(uint32_t)b->builtins, (uint32_t)(b->builtins >> 32)};
    mlc_glue_u32s(m, "mlc_feature_builtins", builtins, 2);
    mlc_glue_u32(m, "mlc_feature_groups", b->groups);
    mlc_glue_u32(m, "mlc_pkt_begin", b->pkt_begin);
    mlc_glue_u32(m, "mlc_pkt_end", b->pkt_end);
    mlc_glue_u32(m, "mlc_payload_off", b->payload_off);
    mlc_glue_u32(m, "mlc_payload_len", b->payload_len);

    mlc_glue_u32(m, "mlc_frame_features", (uint32_t)layout->features_offset);
    mlc_glue_u32(m, "mlc_frame_packet", (uint32_t)layout->packet_offset);
    mlc_glue_u32(m, "mlc_frame_payload", (uint32_t)layout->payload_offset);
    mlc_glue_u32(m, "mlc_frame_out", (uint32_t)layout->out_offset);
    return true;
}

const mlc_target mlc_target_bpf_xdp = {
    .name = "bpf-xdp",
    .doc = "a packet filter on a network device",
    .entry = "xdp",
    .packet = true,
    .verdicts = verdicts,
    .pass = "XDP_PASS",
    .drop = "XDP_DROP",
    .glue = glue,
};
