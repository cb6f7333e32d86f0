/*
 * What the texts of bindings and actions mean, printed for bindings.test and
 * actions.test.
 *
 *   features bind SPEC
 *   features act N_CLASSES LABELS SPEC    LABELS: comma-separated or "-"; SPEC "-": none
 *   features list
 *
 * RUN: %build/test/Features/features list
 */
#include "mlc/actions.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void print_binding(const mlc_feature_binding *b) {
    printf("n %d groups %u builtins %" PRIx64 " packet [%u,%u) payload %u+%u\n", b->n, b->groups, b->builtins,
           b->pkt_begin, b->pkt_end, b->payload_off, b->payload_len);
    for (int k = 0; k < b->n_inputs; k++) {
        const mlc_feature_input *input = &b->inputs[k];
        printf("input %s: %d from %d\n", input->name ? mlc_escape(input->name) : "-", input->n, input->first);
    }
    for (int i = 0; i < b->n; i++) {
        const mlc_feature *f = &b->features[i];
        printf("%s: source %d offset %u %c%d%s [%" PRId64 ",%" PRId64 "]\n", f->name, (int)f->source,
               f->offset, f->is_signed ? 'i' : 'u', 8 * f->width, f->big_endian ? "be" : "", f->lo, f->hi);
    }
}

static void print_actions(const mlc_actions *a) {
    if (a->kind == MLC_ACTION_THRESHOLD)
        printf("%s[%" PRId64 "] %s %g\n", a->output ? mlc_escape(a->output) : "-", a->element,
               a->strict ? ">" : ">=", a->threshold);
    for (int i = 0; i < a->n_decisions; i++)
        printf("%d %s -> %s\n", i, mlc_escape(a->decisions[i].name), a->decisions[i].verdict);
}

static bool act(mlc_arena *arena, mlc_diag *diag, char **arg) {
    static const char *const verdicts[] = {"XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", NULL};
    const char *labels[64];
    int n = 0;
    for (char *label = strtok(arg[1], ","); label && n < 64; label = strtok(NULL, ","))
        labels[n++] = label;
    mlc_actions_context context = {.verdicts = verdicts,
                                   .pass = "XDP_PASS",
                                   .drop = "XDP_DROP",
                                   .n_classes = atoi(arg[0]),
                                   .labels = n == atoi(arg[0]) ? labels : NULL,
                                   .threshold = 0.5};
    mlc_actions *actions;
    if (!mlc_actions_parse(arena, diag, strcmp(arg[2], "-") == 0 ? NULL : arg[2], &context, &actions))
        return false;
    print_actions(actions);
    return true;
}

int main(int argc, char **argv) {
    mlc_arena *arena = mlc_arena_create((size_t)1 << 26);
    mlc_diag diag = {0};
    mlc_feature_binding *binding;
    bool ok = false;
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        mlc_features_list(stdout);
        ok = true;
    } else if (argc == 3 && strcmp(argv[1], "bind") == 0) {
        ok = mlc_features_parse_option(arena, &diag, argv[2], &binding);
        if (ok)
            print_binding(binding);
    } else if (argc == 5 && strcmp(argv[1], "act") == 0) {
        ok = act(arena, &diag, argv + 2);
    }
    mlc_arena_destroy(arena);
    return !ok;
}
