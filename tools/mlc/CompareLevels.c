/* --compare-O: every optimization level beside the others. What only the kernel can tell comes from mlc-run.
 */
#include "Mlc.h"

#include <math.h>
#include <string.h>

static void print_number(double x, const char *format, int width) {
    if (isnan(x))
        printf(" %*s", width, "-");
    else
        printf(format, x);
}

static bool compile_level(const arguments *a, char level, const char *argv0, bench *b, arguments *one,
                          mlc_stats *stats) {
    *one = *a;
    one->options.opt_level = level;
    one->options.emit = MLC_EMIT_OBJ;
    one->options.report = true;
    mlc_diag diag = {0};
    mlc_result result;
    if ((level == '3' && !choose_code(one, argv0)) || !mlc_compile(&one->options, &diag, &result))
        return false;
    *stats = result.stats;
    bool ok = bench_add(b, &result);
    mlc_result_free(&result);
    return ok;
}

int compare_levels(const arguments *a, const char *argv0) {
    static const char levels[] = "0123s";
    enum { N = sizeof levels - 1 };
    arguments one[N];
    mlc_stats stats[N];
    bench b;
    if (!bench_open(&b, argv0))
        return 1;
    bool ok = true;
    for (int i = 0; i < N && ok; i++)
        ok = compile_level(a, levels[i], argv0, &b, &one[i], &stats[i]);
    ok = ok && bench_run(&b, strcmp(a->options.target, "bpf-xdp") == 0);
    if (ok)
        printf("    instructions    stack    frame  verified  estimated        ns\n");
    for (int i = 0; i < N && ok; i++) {
        printf("-O%c %12ld %8ld %8ld", levels[i], stats[i].instructions, stats[i].stack, stats[i].scratch);
        print_number(b.verified[i], " %9.0f", 9);
        print_number(stats[i].executed ? stats[i].ns : NAN, " %10.1f", 10);
        print_number(b.ns[i], " %9.1f", 9);
        printf("%s%s\n", one[i].choice[0] ? "  " : "", one[i].choice);
    }
    bench_close(&b);
    return ok ? 0 : 1;
}
