"""words.py < GRAPH: how many 64-bit words the accumulators of each dot product take, and its largest weight.

Follows the intervals of every element through the integer graph of an MLP.
"""
import re
import sys

import numpy as np

graph = sys.stdin.read()
values = {}
for name, shape, data in re.findall(r"^const %(\S+) : int64\[([\d,]*)\] = \[([^\]]*)\]", graph, re.M):
    x = np.array([int(x) for x in data.split(",")], object)
    values[name] = x.reshape([int(d) for d in shape.split(",")] if shape else [])
for name, dims, lo, hi in re.findall(r"^input %(\S+) : int64\[\w+,(\d+)\] in (-?\d+)\.\.(-?\d+)", graph, re.M):
    values[name] = np.array([[int(lo)] * int(dims), [int(hi)] * int(dims)], object)


def run(op, x, other, shift):
    if op == "Linear":
        w, bias = other
        up, down = np.maximum(w, 0), np.minimum(w, 0)
        return np.array([up @ x[0] + down @ x[1] + bias, up @ x[1] + down @ x[0] + bias], object)
    if op == "Rescale":
        ends = (x * other[0].reshape(-1) + other[1].reshape(-1)) >> shift
        return np.array([ends.min(0), ends.max(0)], object)
    limit = {"Max": np.maximum, "Min": np.minimum}.get(op)
    return limit(x, other[0].reshape(-1)) if limit else x  # Gather: keeps the order here


for name, op, args, rest in re.findall(r"^%(\S+) = mlc\.(\w+)\(([^)]*)\)(.*)$", graph, re.M):
    if op not in ("Linear", "Rescale", "Max", "Min", "Gather") or "Softmax" in rest:
        break
    x, *other = [values[a.strip(" %")] for a in args.split(",")]
    shift = re.search(r"shift = (\d+)", rest)
    values[name] = run(op, x, other, int(shift[1]) if shift else 0)
    if op != "Linear":
        continue
    words, used = 1, 0
    for bits in (int(hi - lo).bit_length() for lo, hi in values[name].T):
        if used + bits > 64:
            words, used = words + 1, 0
        used += bits
    node = re.search(r'from "(\S+) ', rest)[1]
    print(f"{node}: {len(other[0])} outputs in {words} words, weights to {abs(other[0]).max()}")
