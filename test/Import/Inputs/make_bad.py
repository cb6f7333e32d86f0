"""Writes the ONNX files of one group of tests: make_bad.py GROUP DIRECTORY."""
import json
import os
import pickle
import struct
import sys
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def tensor(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def value(name, shape, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def model(nodes=None, inputs=None, outputs=None, initializers=None, opsets=(("", 13),), **more):
    """A Gemm from x [1,2] to y [1,2], with some of it replaced."""
    if nodes is None:
        nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="fc")]
    if inputs is None:
        inputs = [value("x", [1, 2])]
    if outputs is None:
        outputs = [value("y", [1, 2])]
    if initializers is None:
        initializers = [tensor("w", np.eye(2, dtype="f4")), tensor("b", np.zeros(2, "f4"))]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(*o) for o in opsets], ir_version=8, **more)


def varint(x):
    out = b""
    while x > 127:
        out += bytes([x & 127 | 128])
        x >>= 7
    return out + bytes([x])


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def kinds():
    yield "empty", b""
    yield "json", json.dumps({"learner": {}}).encode()
    yield "text", b"hello world\n" * 10
    yield "lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    yield "pickle", pickle.dumps([1, 2, 3])
    yield "h5", b"\x89HDF\r\n\x1a\n" + bytes(64)
    yield "tflite", b"\x1c\0\0\0TFL3" + bytes(64)
    yield "graphdef", field(1, field(1, b"x") + field(2, b"Placeholder")) * 3
    yield "tensor", tensor("t", np.zeros(3, "f4")).SerializeToString()
    yield "random", bytes(i * 97 % 251 for i in range(3, 1000))
    for name, member in (("torch", "archive/data.pkl"), ("keras", "model.weights.h5"), ("npz", "x.npy")):
        with zipfile.ZipFile(name + ".onnx", "w") as archive:
            archive.writestr(member, b"x")
    os.makedirs("saved_model")
    open("saved_model/saved_model.pb", "wb").close()


def wire():
    good = model().SerializeToString()
    yield "truncated", good[:-20]
    nested = b""
    for _ in range(10000):
        nested = field(4, field(1, nested))  # TypeProto.sequence_type.elem_type
    yield "nested", field(7, field(11, field(1, b"x") + field(2, nested)))
    yield "repeated", good + field(7, b"") * 170000  # ModelProto.graph
    yield "attributes", field(7, field(1, field(5, b"") * 500000))
    yield "overlong", field(7, field(1, b"\x0a\x7f"))
    yield "group", b"\x0b\x0c"
    yield "zero", b"\x02\0"
    yield "varint", b"\x08" + b"\xff" * 10
    yield "dims", field(7, field(5, field(1, b"\0" * 1000000) + b"\x10\x01"))


def inputs():
    yield "batch", model(inputs=[value("x", ["N", 2])], outputs=[value("y", ["N", 2])])
    yield "static", model(inputs=[value("x", [4, 2])], outputs=[value("y", [4, 2])])
    yield "dynamic", model(inputs=[value("x", ["N", "len", None])])
    yield "shapeless", model(inputs=[value("x", None)])
    yield "negative", model(inputs=[value("x", [1, -5])])
    yield "huge", model(inputs=[value("x", [1, 1 << 40, 1 << 40])])
    yield "rank", model(inputs=[value("x", [1] * 9)])
    yield "complex", model(inputs=[value("x", [1, 2], TensorProto.COMPLEX64)])
    yield "sequence", model(inputs=[helper.make_tensor_sequence_value_info("x", FLOAT, [1, 2])])
    yield "default", model(inputs=[value("x", [1, 2]), value("w", [2, 2])])


def tensors():
    def weight(name, dtype, dims, **fields):
        t = TensorProto(name="w", data_type=dtype, dims=dims)
        for key, data in fields.items():
            if key == "raw_data":
                t.raw_data = data
            else:
                getattr(t, key).extend(data)
        return name, model(initializers=[t, tensor("b", np.zeros(2, "f4"))])

    yield weight("length", FLOAT, [2, 2], raw_data=bytes(12))
    yield weight("count", FLOAT, [2, 2], float_data=[1, 2, 3])
    yield weight("negative", FLOAT, [2, -2], raw_data=bytes(16))
    yield weight("overflow", FLOAT, [1 << 33, 1 << 33], raw_data=bytes(16))
    yield weight("large", FLOAT, [1 << 14, 1 << 14])
    yield weight("twice", FLOAT, [1], raw_data=bytes(4), float_data=[1])
    yield weight("place", FLOAT, [1], int32_data=[1])
    yield weight("type", 99, [1], raw_data=bytes(4))
    yield weight("nan", FLOAT, [2, 2], float_data=[1, 2, float("nan"), 4])
    yield weight("inf", FLOAT, [2, 2], float_data=[1, float("inf"), 3, 4])
    yield weight("mask", FLOAT, [2, 2], float_data=[0, float("-inf"), 0, 0])
    yield weight("int8", TensorProto.INT8, [2], int32_data=[1, 200])
    yield weight("uint64", TensorProto.UINT64, [1], raw_data=b"\xff" * 8)
    yield weight("int4", 22, [3], raw_data=b"\x7f\x08")
    yield weight("strings", TensorProto.STRING, [2], string_data=[b"a", b"b\xc3\xa4"])
    yield weight("half", TensorProto.FLOAT16, [2], int32_data=[0x3C00, 0xC000])
    sparse = model(initializers=[tensor("b", np.zeros(2, "f4"))])
    sparse.graph.sparse_initializer.add(values=tensor("w", np.array([5, 7], "f4")),
                                        indices=tensor("", np.array([[0, 1], [1, 0]])), dims=[2, 2])
    yield "sparse", sparse
    outside = onnx.ModelProto()
    outside.CopyFrom(sparse)
    outside.graph.sparse_initializer[0].dims[0] = 1
    yield "outside", outside


def external():
    def stored(name, location, **more):
        t = TensorProto(name="w", data_type=FLOAT, dims=[2, 2], data_location=TensorProto.EXTERNAL)
        for key, text in dict(location=location, **more).items():
            t.external_data.add(key=key, value=str(text))
        return name, model(initializers=[t, tensor("b", np.zeros(2, "f4"))])

    with open("../secret.bin", "wb") as f:
        f.write(bytes(64))
    with open("w.bin", "wb") as f:
        f.write(bytes(16) + np.array([1, 2, 3, 4], "<f4").tobytes())
    os.makedirs("sub")
    os.symlink(os.path.abspath("../secret.bin"), "link.bin")
    os.symlink("..", "up")
    os.mkfifo("fifo.bin")
    yield stored("good", "./w.bin", offset=16, length=16)
    yield stored("rest", "w.bin", offset=16)
    yield stored("parent", "../secret.bin")
    yield stored("dots", "sub/../../secret.bin")
    yield stored("absolute", os.path.abspath("../secret.bin"))
    yield stored("symlink", "link.bin")
    yield stored("through", "up/secret.bin")
    yield stored("fifo", "fifo.bin")
    yield stored("folder", "sub")
    yield stored("missing", "nothing.bin")
    yield stored("short", "w.bin", offset=24)
    yield stored("wrap", "w.bin", offset=(1 << 64) - 8)
    yield stored("minus", "w.bin", offset=-8)
    yield stored("length", "w.bin", length=8)
    yield stored("unnamed", "")


def names():
    node = helper.make_node
    yield "twice", model([node("Relu", ["x"], ["y"], name="a"), node("Tanh", ["x"], ["y"], name="b")])
    yield "input", model([node("Relu", ["x"], ["x"], name="a"), node("Relu", ["x"], ["y"])])
    yield "initializer", model(initializers=[tensor("w", np.zeros(1, "f4")), tensor("w", np.zeros(1, "f4"))])
    yield "missing", model(initializers=[tensor("w", np.eye(2, dtype="f4"))])
    yield "cycle", model([node("Add", ["x", "s"], ["r"], name="one"), node("Relu", ["r"], ["s"], name="two"),
                          node("Relu", ["s"], ["y"])])
    yield "unsorted", model([node("Relu", ["t"], ["y"], name="last"), node("Tanh", ["x"], ["t"], name="first")])
    yield "output", model(outputs=[value("nowhere", [1, 2])])
    yield "none", model(outputs=[])
    yield "escape", model([node("Relu", ["\x1b[31m'\""], ["y"], name="evil\n\x1b]0;")])


def ops():
    node = helper.make_node
    yield "unknown", model([node("Rellu", ["x"], ["t"], name="one"), node("Relu", ["t"], ["u"]),
                            node("Frobnicate", ["u"], ["y"], name="two", domain="acme")],
                           opsets=(("", 13), ("acme", 3)))
    yield "domain", model([node("Frobnicate", ["x"], ["y"], name="two", domain="acme")])
    yield "version", model([node("LayerNormalization", ["x", "w"], ["y"], name="ln")])
    yield "attribute", model([node("Relu", ["x"], ["y"], name="r", slope=2)])
    yield "kind", model([node("Softmax", ["x"], ["y"], name="s", axis=1.5)])
    yield "arity", model([node("Relu", ["x", "x"], ["y"], name="r")])
    yield "omitted", model([node("Add", ["x", ""], ["y"], name="a")])
    yield "internal", model([node("add", ["x", "x"], ["y"], name="a", domain="mlc")], opsets=(("", 13), ("mlc", 1)))
    yield "opset", model(opsets=(("", 0),))
    yield "nan", model([node("Constant", [], ["y"], name="c", value_floats=[1.0, float("nan")])])
    yield "many", model([node("Nope", ["x"], [f"t{i}"]) for i in range(500)] + [node("Relu", ["x"], ["y"])])


def functions():
    node = helper.make_node
    opset = [helper.make_opsetid("", 13), helper.make_opsetid("own", 1)]

    def function(name, ins, outs, nodes, attributes=(), defaults=()):
        return helper.make_function("own", name, ins, outs, nodes, opset, list(attributes), list(defaults))

    leaky = node("LeakyRelu", ["a"], ["b"])
    leaky.attribute.append(onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope"))
    slope = helper.make_attribute("slope", 0.25)
    opsets = (("", 13), ("own", 1))
    f = function("Act", ["a"], ["b"], [leaky], ["slope"])
    yield "given", model([node("Act", ["x"], ["y"], name="call", domain="own", slope=0.5)], opsets=opsets, functions=[f])
    f = function("Act", ["a"], ["b"], [leaky], [], [slope])
    yield "default", model([node("Act", ["x"], ["y"], name="call", domain="own")], opsets=opsets, functions=[f])
    f = function("Twice", ["a"], ["b"], [node("Relu", ["a"], ["t"], name="in"), node("Tanh", ["t"], ["b"])])
    yield "inline", model([node("Twice", ["x"], ["m"], name="p", domain="own"),
                           node("Twice", ["m"], ["y"], name="q", domain="own")], opsets=opsets, functions=[f])
    f = function("Same", ["a"], ["a"], [])
    yield "same", model([node("Same", ["x"], ["y"], name="call", domain="own")], opsets=opsets, functions=[f])
    f = function("Self", ["a"], ["b"], [node("Self", ["a"], ["b"], domain="own")])
    yield "recursive", model([node("Self", ["x"], ["y"], domain="own")], opsets=opsets, functions=[f])
    f = function("Hole", ["a"], ["b"], [node("Relu", ["a"], ["c"])])
    yield "hole", model([node("Hole", ["x"], ["y"], name="call", domain="own")], opsets=opsets, functions=[f])
    levels = [function("F0", ["a"], ["b"], [node("Relu", ["a"], ["b"])])]
    for k in range(1, 20):
        chain = [node(f"F{k - 1}", ["a" if i == 0 else f"t{i}"], ["b" if i == 9 else f"t{i + 1}"], domain="own")
                 for i in range(10)]
        levels.append(function(f"F{k}", ["a"], ["b"], chain))
    yield "bomb", model([node("F19", ["x"], ["y"], domain="own")], opsets=opsets, functions=levels)


def bodies():
    node = helper.make_node
    def branch(out, op, ins):
        return helper.make_graph([node(op, ins, [out], name="n_" + out)], "body_" + out, [], [value(out, [1, 2])],
                                 [tensor("k_" + out, np.ones(2, "f4"))])

    def conditional(then, other):
        return [node("If", ["c"], ["y"], name="if", then_branch=then, else_branch=other)]

    inputs = [value("x", [1, 2]), value("c", [], TensorProto.BOOL)]
    yield "captured", model(conditional(branch("t", "Add", ["x", "k_t"]), branch("e", "Relu", ["x"])), inputs)
    yield "undefined", model(conditional(branch("t", "Add", ["x", "nowhere"]), branch("e", "Relu", ["x"])), inputs)
    yield "late", model(conditional(branch("t", "Add", ["x", "l"]), branch("e", "Relu", ["x"]))
                        + [node("Tanh", ["x"], ["l"], name="later")], inputs)


def main():
    group, folder = sys.argv[1:]
    os.makedirs(folder)
    os.chdir(folder)
    for name, content in globals()[group]():
        if not isinstance(content, bytes):
            content = content.SerializeToString()
        with open(name + ".onnx", "wb") as f:
            f.write(content)


main()
