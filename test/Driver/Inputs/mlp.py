"""Writes a small classifier, 4-6-1 with a sigmoid, whose weights are the same everywhere."""
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def weights(name, *shape):
    n = int(np.prod(shape))
    return numpy_helper.from_array((np.sin(np.arange(n, dtype=np.float64) * 1.7).astype(np.float32)).reshape(shape), name)


graph = helper.make_graph(
    [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="hidden", transB=1),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["z"], name="last", transB=1),
        helper.make_node("Sigmoid", ["z"], ["p"], name="probability"),
    ],
    "mlp",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
    [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["batch", 1])],
    [weights("w1", 6, 4), weights("b1", 6), weights("w2", 1, 6), weights("b2", 1)],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model)
onnx.save(model, sys.argv[1])
