"""dynamic_quantize.py DIRECTORY [ARGUMENT OF mlc-run eval...]: DynamicQuantizeLinear against its definition in floats.

Quotients at or beside a tie are what is hard: of whole numbers, most of them many times the range's 255th
part, where the rounding of the scale decides; of fractions; of ranges that a float does not hold exactly.
"""
import os
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper

ELEMENTS, SAMPLES = 8, 6000
FRACTION = 2.0 ** -15  # of inputs of 31 bits
rng = np.random.default_rng(11)


def sample(i):
    """Whole numbers from 0 or from a negative one, or fractions of any size."""
    if i % 3 == 2:
        x = rng.normal(0, 2.0 ** rng.integers(-6, 13), ELEMENTS)
        return np.clip(np.rint(x / FRACTION) * FRACTION, -30000, 30000)
    span = int(rng.integers(1, 2000) if i % 2 else rng.integers(1, 60) * [510, 170, 102, 34, 30, 6][i // 6 % 6])
    low = -int(rng.integers(0, span + 1)) if i % 5 < 2 else 0
    x = rng.integers(low, low + span + 1, ELEMENTS)
    x[0], x[1] = low, low + span
    return x * 2.0 ** -(i % 8)


def definition(x):
    f = np.float32
    low, high = min(f(0), x.min()), max(f(0), x.max())
    scale = f(f(high - low) / f(255))
    zero = np.clip(np.rint(f(-low / scale)), 0, 255)
    return np.clip(np.rint((x / scale).astype(f)) + zero, 0, 255), zero


directory = sys.argv[1]
shape = [1, ELEMENTS]
graph = helper.make_graph(
    [helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "scale", "zero"])], "dynamic",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
    [helper.make_tensor_value_info("y", TensorProto.UINT8, shape),
     helper.make_tensor_value_info("zero", TensorProto.UINT8, [])])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
model.ir_version = 8
path = os.path.join(directory, "dynamic")
onnx.save(model, path + ".onnx")
x = np.stack([sample(i) for i in range(SAMPLES)]).astype(np.float32)
np.savez(path + ".in.npz", x=x.reshape(SAMPLES, *shape))
subprocess.run(["mlc", "--target=bpf-raw", path + ".onnx", "-o", path + ".o"], check=True)
subprocess.run(["mlc-run", "eval", path + ".o", "--inputs=" + path + ".in.npz", "--outputs=" + path + ".npz",
                *sys.argv[2:]], check=True, stdout=subprocess.DEVNULL)
with np.load(path + ".npz") as f:
    y, zero = f["y"].reshape(SAMPLES, ELEMENTS), f["zero"].reshape(SAMPLES)
want = [definition(row) for row in x]
bad = [i for i, (w, z) in enumerate(want) if (w != y[i]).any() or z != zero[i]]
for i in bad[:3]:
    print(f"{x[i]}: {y[i]} zero {zero[i]}, expected {want[i][0]} zero {want[i][1]}")
sys.exit(f"{len(bad)} of {SAMPLES} samples differ" if bad else 0)
