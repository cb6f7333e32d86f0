"""The loads of the benchmark: networks and inputs, the same ones every time."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

# Name: layer sizes of a dense network; the convolutional one is written out in `convolutional`.
DENSE = {"8-16-2": (8, 16, 2), "12-32-32-2": (12, 32, 32, 2), "16-64-32-1": (16, 64, 32, 1),
         "32-128-64-2": (32, 128, 64, 2), "64-256-128-10": (64, 256, 128, 10),
         "64-1024-1024-10": (64, 1024, 1024, 10)}
CONVOLUTIONAL = "28x28 CNN"
NAMES = [*DENSE, CONVOLUTIONAL]
SAMPLES = 1024


class Load:
    """A model, its inputs and what it makes of them; `macs` are its multiplications."""

    def __init__(self, name, nodes, tensors, shape, inputs):
        self.name, self.inputs = name, inputs.astype(np.float32)
        graph = helper.make_graph(
            nodes, "model", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
            [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, ["N", None])],
            [numpy_helper.from_array(value.astype(np.float32), key) for key, value in tensors.items()])
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        self.model = onnx.shape_inference.infer_shapes(self.model, strict_mode=True)
        self.tensors, self.values = tensors, self._evaluate()
        self.outputs = self.values[nodes[-1].output[0]]
        self.macs = sum(self._macs(node) for node in nodes)

    def _evaluate(self):
        every = onnx.ModelProto()
        every.CopyFrom(self.model)
        names = [node.output[0] for node in every.graph.node]
        del every.graph.output[:]
        every.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
        values = dict(zip(names, ReferenceEvaluator(every).run(None, {"x": self.inputs})))
        return {"x": self.inputs, **values}

    def _macs(self, node):
        if node.op_type not in ("Gemm", "Conv"):
            return 0
        weights, y = self.tensors[node.input[1]], self.values[node.output[0]]
        return weights.size * int(np.prod(y.shape[2:]))

    def decisions(self, outputs):
        """The class, or whether the only output is above its median over the model's own."""
        outputs = outputs.reshape(len(outputs), -1)
        if outputs.shape[1] > 1:
            return outputs.argmax(1)
        return outputs[:, 0] > np.median(self.outputs)

    def save(self, path):
        onnx.save(self.model, path)


def balanced(name, nodes, tensors, shape, inputs):
    """The last bias makes every class about as likely as any other; random weights alone often choose one always."""
    load = Load(name, nodes, tensors, shape, inputs)
    tensors[nodes[-1].input[2]] -= load.outputs.mean(0)
    return Load(name, nodes, tensors, shape, inputs)


def make(name):
    rng = np.random.default_rng(list(name.encode()))
    tensors = {}

    def weights(key, shape, inputs):
        tensors[f"w{key}"] = rng.standard_normal(shape) * np.sqrt(2 / inputs)
        tensors[f"b{key}"] = rng.standard_normal(shape[0]) * 0.25
        return [f"w{key}", f"b{key}"]

    nodes, x = [], "x"

    def add(op, inputs=(), **attributes):
        nonlocal x
        y = f"v{len(nodes)}"
        nodes.append(helper.make_node(op, [x, *inputs], [y], name=f"{op}{len(nodes)}", **attributes))
        x = y

    def dense(sizes):
        for i, (k, n) in enumerate(zip(sizes, sizes[1:])):
            add("Gemm", weights(f"d{i}", (n, k), k), transB=1)
            if i < len(sizes) - 2:
                add("Relu")

    if name in DENSE:
        sizes = DENSE[name]
        dense(sizes)
        return balanced(name, nodes, tensors, sizes[:1], rng.uniform(-1, 1, (SAMPLES, sizes[0])))
    for i, (c, n) in enumerate(((1, 4), (4, 8))):
        add("Conv", weights(f"c{i}", (n, c, 3, 3), 9 * c))
        add("Relu")
        add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    add("Flatten")
    dense((200, 10))
    return balanced(name, nodes, tensors, (1, 28, 28), rng.uniform(0, 1, (SAMPLES, 1, 28, 28)))
