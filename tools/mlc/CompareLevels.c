/* --compare-O: every optimization level beside the others. What only the kernel can tell comes from mlc-run.
 */
#include "Mlc.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* mlc-run beside this program, else on the path. */
static const char *runner(const char *argv0, char *buffer, size_t size) {
    const char *slash = strrchr(argv0, '/');
    if (slash && snprintf(buffer, size, "%.*s/mlc-run", (int)(slash - argv0), argv0) < (int)size &&
        access(buffer, X_OK) == 0)
        return buffer;
    return "mlc-run";
}

/* Standard output of a program as JSON; NULL when it fails. */
static json_t *run_json(char *const *argv) {
    int ends[2];
    if (pipe(ends) != 0)
        return NULL;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid;
    int error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    FILE *f = fdopen(ends[0], "r");
    json_t *j = error || !f ? NULL : json_loadf(f, 0, NULL);
    if (f)
        fclose(f);
    else
        close(ends[0]);
    int status = 1;
    if (!error)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            continue;
    if (status == 0)
        return j;
    json_decref(j);
    return NULL;
}

static void print_number(const json_t *j, const char *key, const char *format) {
    const json_t *x = json_object_get(j, key);
    if (json_is_number(x))
        printf(format, json_number_value(x));
    else
        printf("%10s", "-");
}

/* The object's main program among those that `verify` lists. */
static const json_t *first_program(const json_t *verify) {
    const json_t *programs = json_object_get(verify, "programs");
    return json_is_array(programs) ? json_array_get(programs, 0) : verify;
}

static bool print_row(const arguments *a, char level, char *run, char *object) {
    arguments one = *a;
    one.options.opt_level = level;
    one.options.emit = MLC_EMIT_OBJ;
    mlc_diag diag = {0};
    mlc_result result;
    if (!mlc_compile(&one.options, &diag, &result))
        return false;
    bool ok = write_file(object, result.data, result.size);
    printf("-O%c %12ld %8ld %8ld", level, result.stats.instructions, result.stats.stack,
           result.stats.scratch);
    mlc_result_free(&result);
    if (!ok)
        return false;
    json_t *verify = run_json((char *[]){run, "verify", object, "--json", NULL});
    json_t *bench = verify ? run_json((char *[]){run, "bench", object, "--json", NULL}) : NULL;
    print_number(first_program(verify), "verified_insns", "%10.0f");
    print_number(bench, "ns", "%10.1f");
    printf("\n");
    json_decref(verify);
    json_decref(bench);
    return true;
}

int compare_levels(const arguments *a, const char *argv0) {
    char path[PATH_MAX], directory[] = "/tmp/mlc-compare-XXXXXX", object[sizeof directory + 8];
    if (!mkdtemp(directory)) {
        fprintf(stderr, "mlc: error: cannot make a directory in /tmp: %s\n", strerror(errno));
        return 1;
    }
    snprintf(object, sizeof object, "%s/model.o", directory);
    char *run = strdup(runner(argv0, path, sizeof path));
    printf("    instructions    stack    frame  verified        ns\n");
    bool ok = run != NULL;
    for (const char *level = "0123s"; *level && ok; level++)
        ok = print_row(a, *level, run, object);
    free(run);
    unlink(object);
    rmdir(directory);
    return ok ? 0 : 1;
}
