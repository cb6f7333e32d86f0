/*
 * The parts that everything rests on: arena, diagnostics, dtypes, shapes, and
 * editing of graphs.
 *
 * RUN: %build/test/Graph/core
 */
#include "mlc/op.h"
#include "mlc/str.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define EXPECT(condition)                                          \
    do {                                                           \
        if (!(condition)) {                                        \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            failures++;                                            \
        }                                                          \
    } while (0)

static char log_text[4096];

static void record(void *user, mlc_severity severity, const char *line) {
    (void)user, (void)severity;
    size_t used = strlen(log_text);
    snprintf(log_text + used, sizeof log_text - used, "%s\n", line);
}

static bool logged(const char *text) {
    bool found = strstr(log_text, text) != NULL;
    if (!found)
        printf("not in the log: %s\n%s", text, log_text);
    log_text[0] = '\0';
    return found;
}

/* --- arena --- */

static int order[2], n_order;

static void note_order(void *object) {
    order[n_order++] = *(int *)object;
}

static void test_arena(void) {
    static int first = 1, second = 2;
    mlc_arena *arena = mlc_arena_create(1 << 20);
    mlc_arena_defer(arena, note_order, &first);
    mlc_arena_defer(arena, note_order, &second);

    mlc_arena_mark mark = mlc_arena_save(arena);
    for (int round = 0; round < 100; round++) {
        unsigned char *p = mlc_arena_alloc(arena, 700000);
        EXPECT((uintptr_t)p % 16 == 0 && p[0] == 0 && p[699999] == 0);
        memset(p, 0xff, 700000);
        mlc_arena_restore(arena, mark);
    }
    EXPECT(strcmp(mlc_arena_strndup(arena, "abc", 2), "ab") == 0);
    EXPECT(strcmp(mlc_arena_printf(arena, "%d-%s", 7, "x"), "7-x") == 0);

    jmp_buf handler;
    volatile int jumps = 0;
    jmp_buf *previous = mlc_arena_guard(arena, &handler);
    EXPECT(previous == NULL);
    if (setjmp(handler) == 0)
        mlc_arena_alloc(arena, 1 << 20);
    else
        jumps++;
    if (setjmp(handler) == 0)
        mlc_arena_array(arena, SIZE_MAX / 2, 4);
    else
        jumps++;
    EXPECT(jumps == 2);
    EXPECT(mlc_arena_guard(arena, previous) == &handler);
    mlc_arena_destroy(arena);
    mlc_arena_destroy(NULL);
    EXPECT(n_order == 2 && order[0] == 2 && order[1] == 1);
}

static void test_str(mlc_arena *arena) {
    mlc_str s = {.arena = arena};
    for (int k = 0; k < 1000; k++)
        mlc_str_printf(&s, "%d,", k % 10);
    mlc_str_char(&s, '.');
    EXPECT(s.size == 2001 && strlen(s.data) == 2001 && strncmp(s.data, "0,1,2,3", 7) == 0);
    mlc_str_printf(&s, "%*d", 5000, 1);
    EXPECT(s.size == 7001 && s.data[7000] == '1');
}

/* --- diagnostics --- */

static void test_diag(mlc_arena *arena) {
    mlc_diag diag = {.sink = record, .file = "m.onnx"};
    EXPECT(!mlc_error(&diag, "bad %d", 7) && diag.errors == 1 && logged("m.onnx: error: bad 7\n"));
    EXPECT(!mlc_note(&diag, "do this") && diag.errors == 1 && logged("m.onnx: note: do this\n"));
    mlc_graph *g = mlc_graph_create(arena, &diag);
    mlc_value *x = mlc_graph_value(g, "x"), *y = mlc_graph_value(g, "y");
    mlc_node *node = mlc_graph_insert(g, NULL, mlc_op_find("", "Relu", 14), "a\nb", &x, 1, &y, 1);
    mlc_warning_at(&diag, node, "odd");
    EXPECT(diag.warnings == 1 && logged("m.onnx: node 'a\\x0ab' (Relu): warning: odd\n"));
    node->origin = "c (Conv)";
    diag.line = 12;
    mlc_error_at(&diag, node, "odd");
    EXPECT(logged("m.onnx:12: node 'a\\x0ab' (Relu from 'c (Conv)'): error: odd\n"));

    EXPECT(strcmp(mlc_escape("a\\'\"\x80z"), "a\\x5c\\x27\\x22\\x80z") == 0);
    char *text = mlc_arena_alloc(arena, 302);
    memset(text, 1, 301);
    EXPECT(strlen(mlc_escape(text)) == 803);

    static const char *const words[] = {"Relu", "Selu", "Conv", "ConvTranspose"};
    EXPECT(mlc_closest("relu", words, 4) == words[0]);
    EXPECT(mlc_closest("Cnv", words, 4) == words[2]);
    EXPECT(mlc_closest("Conv2d", words, 4) == words[2]);
    EXPECT(mlc_closest("Gemm", words, 4) == NULL && mlc_closest("", words, 4) == NULL);
}

/* --- dtypes and shapes --- */

static void test_dtypes(void) {
    EXPECT(mlc_dtype_from_name(mlc_dtype_name(MLC_BFLOAT16)) == MLC_BFLOAT16);
    EXPECT(mlc_dtype_from_name("int7") == MLC_UNDEFINED);
    for (uint32_t i = 0; i < 2000000; i++) {
        uint32_t bits = i * 2147u;
        float f;
        memcpy(&f, &bits, sizeof f);
        if (isfinite(f))
            EXPECT(mlc_dtype_round(MLC_FLOAT, f) == f);
        double x = (double)f * 1.00000003;
        if (isfinite(f) && fabs(x) < 3.4e38)
            EXPECT(mlc_dtype_round(MLC_FLOAT, x) == (double)(float)x);
    }
    EXPECT(mlc_dtype_round(MLC_FLOAT16, 65519.9) == 65504 && isinf(mlc_dtype_round(MLC_FLOAT16, 65520)));
    EXPECT(mlc_dtype_round(MLC_FLOAT16, 0x1p-25) == 0 && mlc_dtype_round(MLC_FLOAT16, 0x1.8p-25) == 0x1p-24);
    EXPECT(mlc_dtype_round(MLC_FLOAT16, 2049) == 2048 && mlc_dtype_round(MLC_FLOAT16, 2051) == 2052);
    EXPECT(mlc_dtype_round(MLC_BFLOAT16, 257) == 256 && isnan(mlc_dtype_round(MLC_BFLOAT16, NAN)));
    EXPECT(mlc_dtype_round(MLC_DOUBLE, 0.1) == 0.1);
    int64_t lo, hi;
    mlc_dtype_range(MLC_INT4, &lo, &hi);
    EXPECT(lo == -8 && hi == 7);
    EXPECT(mlc_dtype_is_integer(MLC_BOOL) && !mlc_dtype_is_integer(MLC_STRING) &&
           !mlc_dtype_is_float(MLC_INT8));
}

static void test_shapes(mlc_arena *arena) {
    mlc_shape a = {3, {2, 1, 4}}, b = {2, {3, 1}}, c;
    EXPECT(mlc_shape_broadcast(&a, &b, &c) && strcmp(mlc_shape_str(arena, &c), "[2,3,4]") == 0);
    EXPECT(mlc_shape_broadcast_index(&a, &c, 23) == 7 && mlc_shape_broadcast_index(&b, &c, 23) == 2);
    EXPECT(mlc_shape_broadcast_index(&(mlc_shape){0}, &c, 23) == 0);
    EXPECT(!mlc_shape_broadcast(&a, &(mlc_shape){1, {3}}, &c));
    EXPECT(mlc_shape_elements(&(mlc_shape){0}) == 1 && mlc_shape_elements(&(mlc_shape){2, {0, 5}}) == 0);
    EXPECT(mlc_shape_elements(&(mlc_shape){3, {INT64_MAX, 2, 3}}) == INT64_MAX);
    int64_t strides[MLC_MAX_RANK];
    mlc_shape_strides(&a, strides);
    EXPECT(strides[0] == 4 && strides[1] == 4 && strides[2] == 1);
}

/* --- graphs --- */

static void test_graph(mlc_arena *arena) {
    mlc_diag diag = {.sink = record, .file = "g"};
    mlc_graph *g = mlc_graph_create(arena, &diag);
    mlc_value *x = mlc_graph_value(g, "x"), *chain = x;
    mlc_graph_add_input(g, x);
    for (int k = 0; k < 5000; k++) {
        mlc_value *y = mlc_graph_value(g, "y");
        mlc_graph_insert(g, NULL, mlc_op_find("", "Relu", 14), NULL, &chain, 1, &y, 1);
        chain = y;
    }
    mlc_graph_add_output(g, chain);
    EXPECT(g->n_nodes == 5000 && g->n_values == 5001 && mlc_graph_verify(g));
    for (int k = 0; k < g->n_values; k++)
        EXPECT(mlc_graph_find(g, g->values[k]->name) == g->values[k]);
    EXPECT(mlc_graph_find(g, "z") == NULL);

    mlc_value *middle = g->first->next->out[0];
    mlc_graph_replace(g, chain, middle);
    EXPECT(g->outputs[0] == middle && mlc_graph_uses(g, arena)[middle->id] == 2);
    EXPECT(mlc_graph_sweep(g) == 4998 && g->n_nodes == 2 && g->last->out[0] == middle && mlc_graph_verify(g));

    mlc_node *last = g->last;
    mlc_graph_remove(g, last);
    EXPECT(!mlc_graph_verify(g) && logged("is not defined"));
    mlc_graph_insert(g, g->first, last->op, "early", last->in, 1, &middle, 1);
    EXPECT(!mlc_graph_verify(g) && logged("is used before node"));
    mlc_graph_remove(g, g->first);
    mlc_graph_rename(g, middle, "renamed");
    EXPECT(mlc_graph_find(g, "renamed") == middle);
}

static void test_attributes(mlc_arena *arena) {
    mlc_diag diag = {.sink = record, .file = "g"};
    mlc_graph *g = mlc_graph_create(arena, &diag);
    mlc_value *y = mlc_graph_value(g, NULL);
    mlc_node *node = mlc_graph_insert(g, NULL, mlc_op_find("", "Relu", 14), NULL, NULL, 0, &y, 1);
    int64_t n, list[] = {1, 2, 3};
    EXPECT(mlc_attr_int(node, "axis", 9) == 9 && mlc_attr_ints(node, "pads", &n) == NULL && n == 0);
    mlc_attr_set_int(g, node, "axis", -1);
    mlc_attr_set_ints(g, node, "pads", list, 3);
    mlc_attr_set_int(g, node, "axis", 2);
    EXPECT(node->n_attr == 2 && mlc_attr_int(node, "axis", 9) == 2);
    EXPECT(mlc_attr_ints(node, "pads", &n)[2] == 3 && n == 3);
    EXPECT(mlc_attr_float(node, "axis", 0.5) == 0.5);
}

static void test_registry(void) {
    int n;
    const mlc_op *const *ops = mlc_ops(&n);
    for (int k = 0; k < n; k++) {
        const mlc_op *op = ops[k];
        EXPECT(op->since >= 1 && (op->until == 0 || op->until >= op->since) && op->doc);
        EXPECT(mlc_op_find(op->domain, op->name, op->since) == op);
        EXPECT(mlc_op_is_integer(op) ? op->check && op->interval && op->eval_int && op->lower && op->generate
                                     : op->infer != NULL);
    }
    EXPECT(mlc_op_find("", "Relu", 0) == NULL && mlc_op_find("", "Rel", 14) == NULL);
    EXPECT(mlc_op_find("ai.onnx", "Relu", 14) == mlc_op_find("", "Relu", 14));
}

int main(void) {
    mlc_arena *arena = mlc_arena_create((size_t)1 << 30);
    test_arena();
    test_str(arena);
    test_diag(arena);
    test_dtypes();
    test_shapes(arena);
    test_graph(arena);
    test_attributes(arena);
    test_registry();
    mlc_arena_destroy(arena);
    return failures > 0;
}
