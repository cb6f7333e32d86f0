#include "Product.h"

#include "Real.h"

static bool infer(mlc_graph *g, mlc_node *node) {
    if (node->in[0]->dtype != node->in[1]->dtype)
        return mlc_error_at(g->diag, node, "inputs are of types %s and %s, they must be of one type",
                            mlc_dtype_name(node->in[0]->dtype), mlc_dtype_name(node->in[1]->dtype));
    mlc_product p;
    mlc_shape shape;
    return mlc_product_of(g, node, &node->in[0]->shape, &node->in[1]->shape, false, false, &p, &shape) &&
           mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    mlc_product p;
    mlc_shape shape;
    mlc_product_of(NULL, node, &in[0]->shape, &in[1]->shape, false, false, &p, &shape);
    mlc_product_eval(&p, 1, in[0], in[1], out[0]);
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    mlc_product p;
    mlc_shape shape;
    mlc_product_of(NULL, node, &node->in[0]->shape, &node->in[1]->shape, false, false, &p, &shape);
    return mlc_q_result(q, node, mlc_q_product(q, &p, 1, node->in[0], node->in[1], NULL, &shape));
}

MLC_OPS(MatMul, {.domain = "",
                 .name = "MatMul",
                 .since = 1,
                 .doc = "Matrix product as numpy.matmul",
                 .min_in = 2,
                 .max_in = 2,
                 .min_out = 1,
                 .max_out = 1,
                 .infer = infer,
                 .eval = eval,
                 .quantize = quantize});
