#include "Mlc.h"

#include <limits.h>
#include <string.h>
#include <time.h>

/* The model's file name with another ending, in the current directory; text goes to standard output. */
static const char *default_output(const arguments *a, char *buffer, size_t size) {
    static const char *const endings[] = {".o", ".s", ".ll", NULL, NULL, NULL};
    if (a->options.stop_after || !endings[a->options.emit])
        return "-";
    const char *slash = strrchr(a->options.input, '/'), *name = slash ? slash + 1 : a->options.input;
    const char *dot = strrchr(name, '.');
    int length = (int)(dot && dot > name ? (size_t)(dot - name) : strlen(name));
    if (snprintf(buffer, size, "%.*s%s", length, name, endings[a->options.emit]) >= (int)size)
        return "a.o";
    return buffer;
}

/* A graph of stage INTEGER has no model to compare with: figures of the object only. */
static void print_stats(const arguments *a, const mlc_result *result) {
    const mlc_stats *s = &result->stats;
    if (a->choice[0])
        printf("the code of             %s\n\n", a->choice);
    if (result->table) {
        fputs(result->table, stdout);
        return;
    }
    printf("multiplications     %10ld\n"
           "instructions        %10ld\n"
           "stack bytes         %10ld\n"
           "frame bytes         %10ld\n"
           "read-only bytes     %10ld\n",
           s->macs, s->instructions, s->stack, s->scratch, s->rodata);
    if (s->executed)
        printf("executed            %10ld\n"
               "estimated ns        %10.0f\n",
               s->executed, s->ns);
}

int compile_file(const arguments *given, const char *argv0) {
    arguments chosen = *given, *a = &chosen;
    mlc_diag diag = {0};
    mlc_result result;
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    if (a->options.opt_level == '3' && !choose_code(a, argv0))
        return 1;
    if (!mlc_compile(&a->options, &diag, &result))
        return 1;
    clock_gettime(CLOCK_MONOTONIC, &end);
    char buffer[PATH_MAX];
    const char *output = a->output ? a->output : default_output(a, buffer, sizeof buffer);
    bool ok = a->options.check_only || write_file(output, result.data, result.size);
    if (ok && a->report && !result.report) {
        fprintf(stderr, "mlc: error: --report needs a model and code: no graph, no --stop-after, --emit=obj, "
                        "asm, llvm-ir or json\n");
        ok = false;
    }
    if (ok && a->report)
        ok = write_file(a->report, result.report, strlen(result.report));
    if (ok && a->verbose)
        fprintf(stderr, "mlc: %s: %zu bytes in %s, compiled in %.2f s\n", a->options.input, result.size,
                a->options.check_only ? "nothing" : output,
                (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9);
    if (ok && a->stats)
        print_stats(a, &result);
    if (ok && a->options.check_only)
        printf("%s: ok for %s\n", a->options.input, a->options.target);
    mlc_result_free(&result);
    return ok ? 0 : 1;
}
