"""make.py DIRECTORY: small models of each shape that classifiers have, and samples for them.

NAME.onnx has input x; NAME.npz has samples x and labels y: the model's own answers, one in twenty of them wrong.
"""
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

rng = np.random.default_rng(1)


def weights(name, *shape):
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 8
    return numpy_helper.from_array((rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32), name)


def dense(nodes, constants, x, k, n, activation):
    i = len(constants)
    constants += [weights(f"w{i}", n, k), weights(f"b{i}", n)]
    nodes.append(helper.make_node("Gemm", [x, f"w{i}", f"b{i}"], [f"g{i}"], name=f"gemm{i // 2}", transB=1))
    if not activation:
        return f"g{i}"
    nodes.append(helper.make_node(activation, [f"g{i}"], [f"a{i}"]))
    return f"a{i}"


def mlp(sizes, activation, last):
    nodes, constants, x = [], [], "x"
    for k, (a, b) in enumerate(zip(sizes, sizes[1:])):
        x = dense(nodes, constants, x, a, b, last if k == len(sizes) - 2 else activation)
    return nodes, constants, x, [1, sizes[0]], sizes[-1]


def normalized():
    """Features of very different sizes, normalized inside the model."""
    nodes, constants, _, shape, n = mlp([6, 16, 8, 1], "Relu", "Sigmoid")
    spread = np.array([1, 255, 1500, 65535, 40, 3], np.float32)
    constants += [numpy_helper.from_array(spread / 2, "mean"), numpy_helper.from_array(spread / 3, "std")]
    nodes[0].input[0] = "n"
    nodes = [helper.make_node("Sub", ["x", "mean"], ["c"]), helper.make_node("Div", ["c", "std"], ["n"])] + nodes
    return nodes, constants, nodes[-1].output[0], shape, n


def convolution():
    constants = [weights("w0", 4, 1, 3, 3), weights("b0", 4), weights("w1", 6, 4, 3, 3), weights("b1", 6)]
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], name="conv0", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("MaxPool", ["r0"], ["p0"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p0", "w1", "b1"], ["c1"], name="conv1"),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Flatten", ["r1"], ["f"]),
    ]
    y = dense(nodes, constants, "f", 24, 3, "Softmax")
    return nodes, constants, y, [1, 1, 8, 8], 3


def samples(name, shape, n):
    if name == "normalized":
        spread = np.array([1, 255, 1500, 65535, 40, 3], np.float32)
        return np.floor(rng.random((n, 6), np.float32) ** 2 * (spread + 1)).astype(np.float32)
    return rng.standard_normal((n, *shape[1:])).astype(np.float32)


MODELS = {
    "relu": lambda: mlp([8, 16, 12, 3], "Relu", "Softmax"),
    "tanh": lambda: mlp([8, 16, 12, 1], "Tanh", "Sigmoid"),
    "elu": lambda: mlp([8, 12, 4], "Elu", None),
    "normalized": normalized,
    "convolution": convolution,
}

os.makedirs(sys.argv[1], exist_ok=True)
for name, make in MODELS.items():
    nodes, constants, y, shape, n = make()
    nodes[-1].output[0] = "y"
    graph = helper.make_graph(
        nodes, name, [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, n])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, f"{sys.argv[1]}/{name}.onnx")
    x = samples(name, shape, 600)
    run = ReferenceEvaluator(model)
    out = np.concatenate([run.run(None, {"x": v[None]})[0] for v in x])
    labels = out.argmax(1) if n > 1 else (out[:, 0] >= 0.5).astype(np.int64)
    wrong = rng.random(len(x)) < 0.05
    labels[wrong] = (labels[wrong] + 1) % max(n, 2)
    np.savez(f"{sys.argv[1]}/{name}.npz", x=x[:400], y=labels[:400])
    np.savez(f"{sys.argv[1]}/{name}.held.npz", x=x[400:], y=labels[400:])
