"""frame.py SIZE: an integer graph whose intermediate values, SIZE x SIZE pixels in four channels of 4 bytes, are needed
several at a time: by convolutions, an element-wise chain, a reduction and a dense layer."""
import random
import sys

import numpy as np

rng = random.Random(0)
n = int(sys.argv[1])
nodes, constants = [], []


def constant(x):
    x = np.array(x)
    constants.append(f"const %c{len(constants)} : int64[{','.join(map(str, x.shape))}] = [{', '.join(map(str, x.flatten()))}]")
    return f"%c{len(constants) - 1}"


def node(op, inputs, shape, attrs=""):
    nodes.append(f"%v{len(nodes)} = mlc.{op}({', '.join(inputs)}){attrs} : int64[{','.join(map(str, shape))}]")
    return f"%v{len(nodes) - 1}"


def weights(*shape):
    return constant(np.reshape([rng.randint(-99, 99) for _ in range(int(np.prod(shape)))], shape))


def conv(x, channels, kernel):
    w = weights(4, channels, kernel, kernel)
    pad = kernel // 2
    return node("Conv", [x, w, weights(4)], [1, 4, n, n], f" {{pads = [{pad}, {pad}]}}")


def halved(x):
    return node("Rescale", [x, constant(1), constant(512)], [1, 4, n, n], " {shift = 10}")


a = conv("%x", 1, 3)
b = halved(conv(a, 4, 3))
c = halved(conv(b, 4, 1))
d = node("Max", [node("Add", [node("Add", [a, b], [1, 4, n, n]), c], [1, 4, n, n]), constant(0)], [1, 4, n, n])
side = n // 4
pixel = np.arange(4 * n * n).reshape(4, n, n)
windows = [[pixel[ch, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].flatten() for j in range(side)] for ch in range(4) for i in range(side)]
e = node("ReduceMax", [d, constant(np.reshape(windows, (4 * side * side, 16)))], [4 * side * side])
y = node("Linear", [e, weights(24, 4 * side * side), weights(24)], [24])
print(f"graph integer frame\ninput %x : int64[1,1,{n},{n}] in -128..127\noutput {y}\n")
print("\n".join(nodes + [""] + constants))
