#include <mlc/mlc.h>

#include <stdio.h>

static int lines;

static void count(void *user, mlc_severity severity, const char *line) {
    (void)user;
    lines++;
    printf("%d: %s\n", (int)severity, line);
}

int main(int argc, char **argv) {
    mlc_options options;
    mlc_options_init(&options);
    options.input = argc > 1 ? argv[1] : "/nonexistent.onnx";
    options.target = "bpf-raw";

    mlc_diag diag = {.sink = count};
    mlc_result result;
    bool ok = mlc_compile(&options, &diag, &result);
    printf("%s: %s, %zu bytes, %s\n", mlc_version(), ok ? "compiled" : "failed", result.size,
           lines > 0 ? "reported" : "silent");
    mlc_result_free(&result);
    return 0;
}
