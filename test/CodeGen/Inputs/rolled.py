"""rolled.py SEED: an integer graph of what loops compute: element-wise chains, padded convolutions in one to three
dimensions, dense, grouped and depthwise, with and without pools, reductions, transposes."""
import random
import sys

import numpy as np

rng = random.Random(int(sys.argv[1]))
nodes, constants, outputs = [], [], []


def constant(x):
    x = np.array(x)
    name = f"%c{len(constants)}"
    constants.append(f"const {name} : int64[{','.join(map(str, x.shape))}] = [{', '.join(map(str, x.flatten()))}]")
    return name


def node(op, inputs, shape, attrs=""):
    name = f"%v{len(nodes)}"
    nodes.append(f"{name} = mlc.{op}({', '.join(inputs)}){attrs} : int64[{','.join(map(str, shape))}]")
    return name


def to_bytes(x, shape):
    """What a dot product is followed by: one shift for each channel, limits."""
    channels = [1, shape[1]] + [1] * (len(shape) - 2)
    factor = [1 << rng.randint(0, 2) for _ in range(shape[1])]
    x = node("Rescale", [x, constant(np.reshape(factor, channels)), constant(4096)], shape, " {shift = 10}")
    if rng.random() < 0.3:  # a second reader
        extra = node("Equal", [x, constant(7)], shape)
        x = node("Sub", [x, extra], shape)
    x = node("Max", [x, constant(0)], shape)
    return node("Min", [x, constant(255)], shape)


def conv(x, shape, rank):
    c, group = shape[1], 1
    out = rng.choice([3, 8, 10])
    kind = rng.randrange(3)
    if kind == 1:
        group = out = c
    elif kind == 2 and c % 2 == 0:
        group, out = 2, 8
    kernel = [rng.randint(1, min(n, 3)) for n in shape[2:]]
    stride = [rng.randint(1, 2) for _ in range(rank)]
    pad = [rng.randint(0, k - 1) for k in kernel]
    size = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(shape[2:], pad, kernel, stride)]
    w = [rng.randint(-127, 127) for _ in range(out * (c // group) * int(np.prod(kernel)))]
    y = [1, out] + size
    attrs = f" {{strides = {stride}, pads = {pad}, group = {group}, pad_value = {rng.choice([0, 5])}}}"
    x = node("Conv", [x, constant(np.reshape(w, [out, c // group] + kernel)),
                      constant([rng.randint(-999, 999) for _ in range(out)])], y, attrs)
    return to_bytes(x, y), y


def pool(x, shape, rank, op):
    window = [min(2, n) for n in shape[2:]]
    step = [rng.choice([w, max(1, w - 1)]) for w in window]
    size = [(n - w) // s + 1 for n, w, s in zip(shape[2:], window, step)]
    flat = np.arange(int(np.prod(shape))).reshape(shape)
    y = [1, shape[1]] + size
    index = np.zeros(y + [int(np.prod(window))], int)
    for at in np.ndindex(*y):
        part = tuple([0, at[1]] + [slice(a * s, a * s + w) for a, s, w in zip(at[2:], step, window)])
        index[at] = flat[part].flatten()
    return node(op, [x, constant(index)], y), y


inputs = []
for rank, size in ((1, [120]), (2, [14, 13]), (3, [8, 7, 6])):
    c = rng.choice([1, 2, 4])
    shape = [1, c] + size
    inputs.append(f"input %x{rank} : int64[{','.join(map(str, shape))}] in -30000..30000")
    x = node("Rescale", [f"%x{rank}", constant(77), constant(1 << 21)], shape, " {shift = 14}")
    x = node("Min", [node("Max", [x, constant(0)], shape), constant(255)], shape)
    x, shape = conv(x, shape, rank)
    x, shape = pool(x, shape, rank, "ReduceMax")
    x, shape = conv(x, shape, rank)
    if rng.random() < 0.5:
        x, shape = pool(x, shape, rank, "ReduceSum")
    last = np.transpose(np.arange(int(np.prod(shape))).reshape(shape), [0] + list(range(2, rank + 2)) + [1])
    outputs.append(node("Gather", [x, constant(last)], last.shape))
print("graph integer rolled")
print("\n".join(inputs + [f"output {y}" for y in outputs] + [""] + nodes + [""] + constants))
