"""ties.py FILE: a quantized model half of whose dot products lie between two steps of the result."""
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(1)
K, N = 6, 4
constants = {
    "x_scale": np.float32(0.1), "w_scale": np.float32(0.05), "y_scale": np.float32(0.01), "zero": np.int8(0),
    "w": rng.integers(-127, 128, (K, N)).astype(np.int8),
}
nodes = [
    helper.make_node("QuantizeLinear", ["x", "x_scale", "zero"], ["q"]),
    helper.make_node("DequantizeLinear", ["q", "x_scale", "zero"], ["a"]),
    helper.make_node("DequantizeLinear", ["w", "w_scale", "zero"], ["b"]),
    helper.make_node("MatMul", ["a", "b"], ["c"]),
    helper.make_node("QuantizeLinear", ["c", "y_scale", "zero"], ["p"]),
    helper.make_node("DequantizeLinear", ["p", "y_scale", "zero"], ["y"]),
]
graph = helper.make_graph(nodes, "ties", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, K])],
                          [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, N])],
                          [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), sys.argv[1])
