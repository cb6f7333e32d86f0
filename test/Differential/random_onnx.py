"""Random valid ONNX models over the registered operators.

A model grows node by node. Every value carries a sample (a numpy array), so that shapes, types and values are at hand
when the next node is chosen; a node whose evaluation fails or leaves the finite numbers is discarded. What remains is
valid by construction. GENERATORS maps an operator to a function that adds one instance of it, with whatever it needs to
stay in its domain; operators that only differ in their attributes share one.

  random_onnx.py SEED FILE.onnx     writes one model
"""

import random
import sys
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

OPSETS = (13, 14, 15, 17, 18, 19, 20, 21, 22, 23, 24)
MAX_ELEMENTS = 48
MICROSOFT = "com.microsoft"
BREVITAS = "onnx.brevitas"
FLOATS = (np.float32,)
INTEGERS = (np.int8, np.uint8, np.int32, np.int64)
INEXACT_DOMAINS = {
    "Log": (0.05, 20), "Sqrt": (0, 50), "Acos": (-0.9, 0.9), "Asin": (-0.9, 0.9), "Atanh": (-0.9, 0.9),
    "Acosh": (1.1, 20), "Reciprocal": (0.2, 10), "Tan": (-1.2, 1.2), "Exp": (-6, 5), "Sinh": (-4, 4), "Cosh": (-4, 4),
}


class Invalid(Exception):
    """The chosen node cannot be added here."""


class Builder:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.np = np.random.default_rng(seed)
        self.opset = self.rng.choice(OPSETS)
        self.values = {}  # name -> sample; everything that may be read
        self.inputs, self.nodes, self.initializers = [], [], []
        self.used = set()
        self.domains = {""}
        self.count = 0

    # --- choice ---

    def chance(self, n):
        return self.rng.randrange(n) == 0

    def shape(self, rank=None, most=5):
        rank = self.rng.choice((1, 2, 2, 3, 4)) if rank is None else rank
        room, dims = MAX_ELEMENTS, []
        for _ in range(rank):
            dims.append(self.rng.randint(1, max(1, min(most, room))))
            room //= dims[-1]
        return tuple(dims)

    def fresh(self, prefix="v"):
        self.count += 1
        return f"{prefix}{self.count}"

    def constant(self, array):
        name = self.fresh("c")
        array = np.asarray(array)
        self.initializers.append(numpy_helper.from_array(array, name))
        self.values[name] = array
        return name

    def input(self, dtype, shape):
        name = self.fresh("x")
        dynamic = len(shape) > 0 and shape[0] == 1 and self.chance(3)
        self.inputs.append((name, dtype, shape, dynamic))
        if dtype == np.bool_:
            self.values[name] = self.np.integers(0, 2, shape).astype(np.bool_)
        elif np.issubdtype(dtype, np.integer):
            self.values[name] = self.np.integers(0 if np.issubdtype(dtype, np.unsignedinteger) else -9, 9,
                                                 shape).astype(dtype)
        else:
            self.values[name] = self.np.uniform(-1, 1, shape).astype(dtype)
        return name

    def pick(self, dtypes=FLOATS, ranks=range(1, 5), where=lambda a: True):
        """A value of one of these types and ranks, recent ones more often; a new input where there is none."""
        fit = [n for n, a in self.values.items()
               if n[0] != "c" and a.dtype.type in dtypes and a.ndim in ranks and a.size and where(a)]
        if fit and not self.chance(12):
            name = self.rng.choice(fit[-3:] if self.chance(2) else fit)
        else:
            for _ in range(20):
                name = self.input(self.rng.choice(dtypes), self.shape(self.rng.choice(tuple(ranks))))
                if where(self.values[name]):
                    break
                self.inputs.pop()
                del self.values[name]
            else:
                raise Invalid
        return name

    def __getitem__(self, name):
        return self.values[name]

    def weights(self, shape, scale=1.0):
        return self.constant(self.np.normal(0, scale, shape).astype(np.float32))

    def alike(self, name):
        """An operand that broadcasts with `name`: another value, or a constant."""
        a = self[name]
        fit = [n for n, b in self.values.items()
               if n[0] != "c" and b.dtype == a.dtype and fits(a.shape, b.shape)]
        if fit and not self.chance(3):
            return self.rng.choice(fit)
        shape = tuple(d if not self.chance(3) else 1 for d in a.shape[self.rng.randint(0, a.ndim):])
        if a.dtype == np.bool_:
            return self.constant(self.np.integers(0, 2, shape).astype(np.bool_))
        if np.issubdtype(a.dtype, np.integer):
            return self.constant(self.np.integers(1, 9, shape).astype(a.dtype))
        return self.weights(shape)

    # --- nodes ---

    def add(self, op, inputs, domain="", outputs=1, result=None, **attrs):
        """One node; its output names. `result`: samples of the outputs, of an op that cannot be evaluated here."""
        attrs = {k: v for k, v in attrs.items() if v is not None}
        names = [self.fresh() for _ in range(outputs)]
        node = helper.make_node(op, inputs, names, domain=domain, **attrs)
        if domain == "" and not defined(op, self.opset):
            raise Invalid
        if result is None:
            result = self.evaluate(node)
        for a in result:
            finite = np.issubdtype(a.dtype, np.integer) or a.dtype == np.bool_ or np.isfinite(a).all()
            if a.size == 0 or a.size > 4 * MAX_ELEMENTS or a.ndim > 6 or not finite:
                raise Invalid
        self.domains.add(domain)
        self.nodes.append(node)
        self.used.update(inputs)
        for name, a in zip(names, result):
            self.values[name] = a
        return names if outputs > 1 else names[0]

    def evaluate(self, node):
        feeds = {n: self.values[n] for n in node.input if n}
        info = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
                for n, a in feeds.items()]
        outputs = [helper.make_empty_tensor_value_info(n) for n in node.output]
        graph = helper.make_graph([node], "node", info, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset),
                                                        helper.make_opsetid("ai.onnx.ml", 3)])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = [np.asarray(a) for a in ReferenceEvaluator(model).run(None, feeds)]
            inferred = onnx.shape_inference.infer_shapes(model).graph.output
        except Exception as e:
            raise Invalid from e
        for a, info in zip(result, inferred):  # the evaluator is wrong about a few shapes
            if info.type.tensor_type.HasField("shape"):
                dims = info.type.tensor_type.shape.dim
                if len(dims) != a.ndim or any(d.HasField("dim_value") and d.dim_value != n
                                              for d, n in zip(dims, a.shape)):
                    raise Invalid
        return result

    def grow(self, op):
        """One instance of `op`, or nothing."""
        before = dict(self.values), list(self.inputs), list(self.nodes), list(self.initializers), set(self.used), \
            set(self.domains)
        try:
            GENERATORS[op](self, op.rpartition(".")[2])
            return True
        except Invalid:
            self.values, self.inputs, self.nodes, self.initializers, self.used, self.domains = before
            return False

    def model(self):
        read = {n for node in self.nodes for n in node.input}
        made = [n for node in self.nodes for n in node.output]
        outputs = [n for n in made if n not in read or self.chance(8)]
        return self.assemble(self.nodes, outputs)

    def assemble(self, nodes, outputs):
        read = {n for node in nodes for n in node.input}
        info = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)),
                                              ("N", *shape[1:]) if dynamic else shape)
                for n, dtype, shape, dynamic in self.inputs if n in read]
        result = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(self[n].dtype),
                                                None if any(i[3] for i in self.inputs) else self[n].shape)
                  for n in outputs]
        graph = helper.make_graph(nodes, "random", info, result, [t for t in self.initializers if t.name in read])
        versions = {"": self.opset, "ai.onnx.ml": 3}
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(d, versions.get(d, 1))
                                                        for d in sorted(self.domains)])
        model.ir_version = 8
        return model

    def submodel(self, output):
        """The part of the model that computes `output`."""
        needed, nodes = {output}, []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                nodes.insert(0, node)
                needed |= set(node.input)
        return self.assemble(nodes, [output])


def fits(a, b):
    try:
        return np.prod(np.broadcast_shapes(a, b)) <= MAX_ELEMENTS
    except ValueError:
        return False


def defined(op, opset):
    try:
        return not onnx.defs.get_schema(op, opset, "").deprecated
    except onnx.defs.SchemaError:
        return False


def clipped(b, x, lo, hi):
    return b.add("Clip", [x, b.constant(np.float32(lo)), b.constant(np.float32(hi))])


def axis_of(b, x):
    n = b[x].ndim
    return b.rng.randrange(-n, n)


def axes_of(b, x):
    n = b[x].ndim
    return sorted(b.rng.sample(range(n), b.rng.randint(1, n)))


def int64s(b, x):
    return b.constant(np.asarray(x, np.int64))


# --- generators: one instance of `op` ---

def unary(b, op):
    x = b.pick()
    if op in INEXACT_DOMAINS:
        x = clipped(b, x, *INEXACT_DOMAINS[op])
    b.add(op, [x])


def unary_with(**choices):
    def generate(b, op):
        b.add(op, [b.pick()], **{k: b.rng.choice(v) for k, v in choices.items()})
    return generate


def binary(b, op):
    x = b.pick(FLOATS + (np.int32, np.int64) if b.chance(4) else FLOATS)
    pair = [x, b.alike(x)]
    b.rng.shuffle(pair)
    b.add(op, pair)


def divide(b, op):
    x = b.pick()
    if b.chance(3):
        y = clipped(b, b.pick(where=lambda a: fits(a.shape, b[x].shape)), 0.25, 8)
    else:
        y = b.constant(b.np.uniform(0.3, 3, b[x].shape[-1:]).astype(np.float32) * b.rng.choice((1, -1)))
    b.add(op, [x, y])


def power(b, op):
    if b.chance(3):
        b.add(op, [b.constant(np.float32(b.rng.choice((0.5, 2, 1.5)))), clipped(b, b.pick(), -3, 3)])
    else:
        e = b.rng.choice((2, 3, 0.5, 1, -1))
        x = b.pick()
        b.add(op, [x if e in (2, 3, 1) else clipped(b, x, 0.3, 6), b.constant(np.float32(e))])


def modulo(b, op):
    x = b.pick((np.int32, np.int64))
    b.add(op, [x, b.constant(np.asarray(b.rng.choice((2, 3, 7, 10)), b[x].dtype))], fmod=b.rng.randrange(2))


def variadic(b, op):
    x = b.pick()
    b.add(op, [x] + [b.alike(x) for _ in range(b.rng.randint(0, 2))])


def compare(b, op):
    x = b.pick()
    b.add(op, [x, b.alike(x)])


def as_bool(b):
    try:
        if b.chance(2):
            x = b.pick()
            return b.add(b.rng.choice(("Greater", "Less")), [x, b.alike(x)])
    except Invalid:
        pass
    return b.pick((np.bool_,))


def logic(b, op):
    x = as_bool(b)
    b.add(op, [x, b.alike(x)])


def logic_not(b, op):
    b.add(op, [as_bool(b)])


def where(b, op):
    x = b.pick()
    c = b.add("Greater", [x, b.alike(x)])
    b.add(op, [c, x, b.alike(x)])


def cast(b, op):
    x = b.pick(FLOATS + INTEGERS + (np.bool_,))
    if b[x].dtype == np.float32 and not b.chance(3):
        x = clipped(b, x, -100, 100) if b.chance(2) else clipped(b, x, 0, 200)
    b.add(op, [x], to=b.rng.choice((1, 2, 3, 6, 7, 9, 11)))


def cast_like(b, op):
    b.add(op, [clipped(b, b.pick(), 0, 100), b.constant(np.zeros(1, b.rng.choice(INTEGERS)))])


def bitwise(b, op):
    x = b.pick((np.int32, np.uint8))
    b.add(op, [x, b.alike(x)])


def bitwise_not(b, op):
    b.add(op, [b.pick((np.int32, np.uint8, np.int8))])


def bit_shift(b, op):
    x = b.pick((np.uint8, np.uint32))
    b.add(op, [x, b.constant(np.asarray(b.rng.randint(0, 7), b[x].dtype))], direction=b.rng.choice(("LEFT", "RIGHT")))


def clip(b, op):
    lo, hi = sorted(b.rng.uniform(-2, 2) for _ in range(2))
    ends = [b.constant(np.float32(lo)), b.constant(np.float32(hi))]
    b.add(op, [b.pick()] + b.rng.choice((ends, ends[:1], ["", ends[1]], [])))


def factors(b, n, rank):
    dims = [1] * rank
    while n > 1:
        p = next(p for p in range(2, n + 1) if n % p == 0)
        dims[b.rng.randrange(rank)] *= p
        n //= p
    return dims


def reshape(b, op):
    x = b.pick(FLOATS + INTEGERS)
    dims = factors(b, b[x].size, b.rng.randint(1, 4))
    if b.chance(3):
        dims[b.rng.randrange(len(dims))] = -1
    b.add(op, [x, int64s(b, dims)])


def flatten(b, op):
    x = b.pick()
    b.add(op, [x], axis=b.rng.randint(-b[x].ndim, b[x].ndim))


def transpose(b, op):
    x = b.pick(FLOATS + INTEGERS)
    perm = list(range(b[x].ndim))
    b.rng.shuffle(perm)
    b.add(op, [x], perm=perm if not b.chance(5) else None)


def squeeze(b, op):
    x = b.pick(where=lambda a: 1 in a.shape)
    ones = [i for i, d in enumerate(b[x].shape) if d == 1]
    b.add(op, [x, int64s(b, b.rng.sample(ones, b.rng.randint(1, len(ones))))] if not b.chance(4) else [x])


def unsqueeze(b, op):
    x = b.pick(ranks=(1, 2, 3))
    b.add(op, [x, int64s(b, b.rng.sample(range(b[x].ndim + 1), 1))])


def concat(b, op):
    x = b.pick()
    axis = axis_of(b, x)
    same = [n for n, a in b.values.items() if a.dtype == b[x].dtype and a.ndim == b[x].ndim and
            all(p == q or i == axis % a.ndim for i, (p, q) in enumerate(zip(a.shape, b[x].shape)))]
    b.add(op, [x] + [b.rng.choice(same) for _ in range(b.rng.randint(0, 2))], axis=axis)


def slices(b, op):
    x = b.pick(FLOATS + INTEGERS)
    axes = axes_of(b, x)
    starts, ends, steps = [], [], []
    for a in axes:
        n = b[x].shape[a]
        step = b.rng.choice((1, 1, 2, -1))
        s, e = sorted((b.rng.randint(0, n - 1), b.rng.randint(1, n)))
        starts.append(s if step > 0 else e)
        ends.append(e if step > 0 else s - n - 1)
        steps.append(step)
    b.add(op, [x] + [int64s(b, i) for i in (starts, ends, axes, steps)])


def split(b, op):
    x = b.pick(where=lambda a: max(a.shape) >= 2)
    axis = max(range(b[x].ndim), key=lambda i: b[x].shape[i])
    n = b[x].shape[axis]
    first = b.rng.randint(1, n - 1)
    b.add(op, [x, int64s(b, [first, n - first])], outputs=2, axis=axis)


def gather(b, op):
    x = b.pick(FLOATS + INTEGERS)
    axis = axis_of(b, x)
    n = b[x].shape[axis]
    b.add(op, [x, int64s(b, b.np.integers(-n, n, b.shape(b.rng.randint(0, 2), 3)))], axis=axis)


def gather_table(b, op):
    """Constant data, computed index."""
    i = b.add("Cast", [clipped(b, b.pick(), 0, 4)], to=7)
    b.add("Gather", [b.weights((5, b.rng.randint(1, 3))), i], axis=0)


def gather_elements(b, op):
    x = b.pick()
    axis = axis_of(b, x)
    shape = list(b[x].shape)
    n = shape[axis]
    shape[axis] = b.rng.randint(1, 4)
    b.add(op, [x, int64s(b, b.np.integers(-n, n, shape))], axis=axis)


def gather_nd(b, op):
    x = b.pick()
    k = b.rng.randint(1, b[x].ndim)
    rows = [[b.rng.randrange(d) for d in b[x].shape[:k]] for _ in range(b.rng.randint(1, 4))]
    b.add(op, [x, int64s(b, rows)])


def expand(b, op):
    x = b.pick()
    shape = [b.rng.randint(2, 3) if d == 1 else d for d in b[x].shape]
    b.add(op, [x, int64s(b, shape)])


def tile(b, op):
    x = b.pick(ranks=(1, 2, 3))
    b.add(op, [x, int64s(b, [b.rng.randint(1, 2) for _ in b[x].shape])])


def pad(b, op):
    x = b.pick()
    n = b[x].ndim
    mode = b.rng.choice(("constant", "edge", "reflect"))
    most = [d - 1 if mode == "reflect" else 2 for d in b[x].shape]
    pads = [b.rng.randint(0, min(2, m)) for m in most * 2]
    b.add(op, [x, int64s(b, pads)] + ([b.constant(np.float32(0.75))] if mode == "constant" else []), mode=mode)


def depth_to_space(b, op):
    x = b.pick(ranks=(4,), where=lambda a: a.shape[1] % 4 == 0)
    b.add(op, [x], blocksize=2, mode=b.rng.choice(("DCR", "CRD")))


def space_to_depth(b, op):
    x = b.pick(ranks=(4,), where=lambda a: a.shape[2] % 2 == 0 and a.shape[3] % 2 == 0)
    b.add(op, [x], blocksize=2)


def trilu(b, op):
    b.add(op, [b.pick(ranks=(2, 3)), b.constant(np.int64(b.rng.randint(-1, 1)))], upper=b.rng.randrange(2))


def reverse_sequence(b, op):
    x = b.pick(ranks=(2, 3))
    n, m = b[x].shape[:2]
    b.add(op, [x, int64s(b, [b.rng.randint(1, n) for _ in range(m)])], time_axis=0, batch_axis=1)


def scatter_elements(b, op):
    x = b.pick()
    axis = axis_of(b, x)
    n = b[x].shape[axis]
    index = np.argsort(b.np.random(b[x].shape), axis=axis).astype(np.int64)
    b.add(op, [x, int64s(b, index % n), b.weights(b[x].shape)], axis=axis)


def scatter_nd(b, op):
    x = b.pick()
    rows = [[i] for i in b.rng.sample(range(b[x].shape[0]), b.rng.randint(1, b[x].shape[0]))]
    b.add(op, [x, int64s(b, rows), b.weights((len(rows), *b[x].shape[1:]))])


def one_hot(b, op):
    i = b.add("Cast", [clipped(b, b.pick(ranks=(1, 2)), -3, 3)], to=7)
    b.add(op, [i, int64s(b, 4), b.constant(np.float32([-0.5, 2]))], axis=b.rng.choice((-1, 0)))


def eye_like(b, op):
    b.add(op, [b.pick(ranks=(2,))], k=b.rng.randint(-1, 1))


def shape_of(b, op):
    x = b.pick()
    b.add("Mul", [x, b.add("Cast", [b.add("Size", [x])], to=1)]) if op == "Size" else \
        b.add("Reshape", [x, b.add("Shape", [x])])


def constant_node(b, op):
    x = b.pick()
    c = b.add(op, [], value=numpy_helper.from_array(b.np.normal(size=b[x].shape).astype(np.float32)))
    b.add("Add", [x, c])


def constant_of_shape(b, op):
    x = b.pick()
    c = b.add(op, [int64s(b, b[x].shape)], value=numpy_helper.from_array(np.float32([1.5])))
    b.add("Add", [x, c])


def range_of(b, op):
    x = b.pick(where=lambda a: a.shape[-1] > 1)
    ends = [b.constant(np.float32(v)) for v in (0, b[x].shape[-1], 1)]
    b.add("Add", [x, b.add(op, ends)])


def cum_sum(b, op):
    x = b.pick()
    b.add(op, [x, b.constant(np.int64(axis_of(b, x)))], exclusive=b.rng.randrange(2), reverse=b.rng.randrange(2))


def top_k(b, op):
    x = b.pick()
    axis = axis_of(b, x)
    b.add(op, [x, int64s(b, [b.rng.randint(1, b[x].shape[axis])])], outputs=2, axis=axis, largest=b.rng.randrange(2))


def reduce(b, op):
    x = b.pick()
    if op == "ReduceLogSum":
        x = clipped(b, x, 0.1, 9)
    elif op in ("ReduceProd", "ReduceLogSumExp", "ReduceSumSquare", "ReduceL2"):
        x = clipped(b, x, -3, 3)
    axes = axes_of(b, x)
    if b.opset >= 18 or op == "ReduceSum":
        b.add(op, [x, int64s(b, axes)], keepdims=b.rng.randrange(2))
    else:
        b.add(op, [x], axes=axes, keepdims=b.rng.randrange(2))


def arg(b, op):
    x = b.pick()
    b.add(op, [x], axis=axis_of(b, x), keepdims=b.rng.randrange(2), select_last_index=b.rng.randrange(2))


def along_axis(b, op):
    x = b.pick()
    if op in ("Softmax", "LogSoftmax"):
        x = clipped(b, x, -8, 8)
    b.add(op, [x], axis=axis_of(b, x))


def gemm(b, op):
    x = b.pick(ranks=(2,))
    ta, tb = b.rng.randrange(2), b.rng.randrange(2)
    k, m = b[x].shape if ta else b[x].shape[::-1]
    n = b.rng.randint(1, 5)
    c = [b.weights(b.rng.choice(((n,), (1, n), (), (1,))))] if b.chance(2) else []
    b.add(op, [x, b.weights((n, k) if tb else (k, n))] + c, transA=ta, transB=tb,
          alpha=b.rng.choice((None, 0.5)), beta=b.rng.choice((None, 2.0)))


def matmul(b, op):
    x = b.pick(ranks=(1, 2, 3))
    k = b[x].shape[-1]
    y = [n for n, a in b.values.items() if n[0] != "c" and a.dtype == np.float32 and a.ndim == 2 and a.shape[0] == k]
    b.add(op, [x, b.rng.choice(y) if y and b.chance(3) else b.weights((k, b.rng.randint(1, 5)))])


def spatial(b, x, kernel):
    """Strides, dilations and pads that fit."""
    n = len(kernel)
    return {"kernel_shape": kernel, "strides": [b.rng.randint(1, 2) for _ in range(n)],
            "pads": [b.rng.randint(0, kernel[i % n] - 1) for i in range(2 * n)]}


def kernel_of(b, x):
    return [b.rng.randint(1, min(3, d)) for d in b[x].shape[2:]]


def conv(b, op):
    x = b.pick(ranks=(3, 4), where=lambda a: a.shape[0] == 1)
    c = b[x].shape[1]
    group = c if b.chance(3) else 1
    out = group * b.rng.randint(1, 2)
    kernel = kernel_of(b, x)
    attrs = spatial(b, x, kernel)
    if b.chance(4):
        attrs["dilations"] = [2] * len(kernel)
    if b.chance(4):
        del attrs["pads"]
        attrs["auto_pad"] = b.rng.choice(("SAME_UPPER", "SAME_LOWER", "VALID"))
        attrs.pop("dilations", None)
    bias = [b.weights((out,))] if b.chance(2) else []
    b.add(op, [x, b.weights((out, c // group, *kernel))] + bias, group=group, **attrs)


def conv_transpose(b, op):
    x = b.pick(ranks=(3, 4), where=lambda a: a.shape[0] == 1)
    kernel = kernel_of(b, x)
    b.add(op, [x, b.weights((b[x].shape[1], 2, *kernel))], strides=[b.rng.randint(1, 2) for _ in kernel])


def resize(b, op):
    x = b.pick(ranks=(4,), where=lambda a: a.shape[0] == 1)
    sizes = [*b[x].shape[:2], *(d * b.rng.randint(1, 2) for d in b[x].shape[2:])]
    b.add(op, [x, "", "", int64s(b, sizes)], mode=b.rng.choice(("nearest", "linear")),
          coordinate_transformation_mode=b.rng.choice(("half_pixel", "asymmetric", "align_corners")))


def einsum(b, op):
    x = b.pick(ranks=(2,))
    i, j = b[x].shape
    equation, shape = b.rng.choice((("ij,jk->ik", (j, 2)), ("ij,kj->ki", (3, j)), ("ij,ij->i", (i, j)), ("ij,j->ij", (j,))))
    b.add(op, [x, b.weights(shape)], equation=equation)


def recurrent(b, op):
    x = b.pick(ranks=(3,), where=lambda a: a.shape[0] <= 3 and a.shape[1] == 1)
    n, hidden = {"RNN": 1, "GRU": 3, "LSTM": 4}[op], b.rng.randint(1, 3)
    inputs = [x, b.weights((1, n * hidden, b[x].shape[2]), 0.5), b.weights((1, n * hidden, hidden), 0.5)]
    if b.chance(2):
        inputs.append(b.weights((1, 2 * n * hidden), 0.5))
    b.add(op, inputs, outputs=2, hidden_size=hidden, linear_before_reset=b.rng.randrange(2) if op == "GRU" else None)


def dynamic_quantize(b, op):
    q, scale, zero = b.add(op, [b.pick()], outputs=3)
    b.add("DequantizeLinear", [q, scale, zero])


def pool(b, op):
    x = b.pick(ranks=(3, 4), where=lambda a: a.shape[0] == 1)
    attrs = spatial(b, x, kernel_of(b, x))
    if op == "AveragePool":
        attrs["count_include_pad"] = b.rng.randrange(2)
    if op == "LpPool":
        attrs["p"] = b.rng.choice((1, 2))
    b.add(op, [x], **attrs)


def global_pool(b, op):
    x = b.pick(ranks=(3, 4))
    if op == "GlobalLpPool":  # onnx's evaluator has none
        b.add(op, [x], p=b.rng.choice((1, 2)), result=[np.ones((*b[x].shape[:2], *[1] * (b[x].ndim - 2)), np.float32)])
    else:
        b.add(op, [x])


def batch_norm(b, op):
    x = b.pick(ranks=(2, 3, 4))
    c = b[x].shape[1]
    b.add(op, [x, b.weights((c,)), b.weights((c,)), b.weights((c,)),
               b.constant(b.np.uniform(0.1, 2, c).astype(np.float32))], epsilon=b.rng.choice((None, 1e-3)))


def instance_norm(b, op):
    x = clipped(b, b.pick(ranks=(3, 4)), -4, 4)
    c = b[x].shape[1]
    b.add(op, [x, b.weights((c,)), b.weights((c,))], epsilon=0.01)


def layer_norm(b, op):
    x = clipped(b, b.pick(ranks=(2, 3)), -4, 4)
    n = b[x].shape[-1:]
    b.add(op, [x, b.weights(n)] + ([b.weights(n)] if op == "LayerNormalization" else []), axis=-1, epsilon=0.01)


def group_norm(b, op):
    x = clipped(b, b.pick(ranks=(3, 4), where=lambda a: a.shape[1] % 2 == 0), -4, 4)
    c = b[x].shape[1] if b.opset >= 21 else 2
    b.add(op, [x, b.weights((c,)), b.weights((c,))], num_groups=2, epsilon=0.01)


def prelu(b, op):
    x = b.pick()
    b.add(op, [x, b.weights(b[x].shape[-1:])])


def scale_of(b):
    return b.constant(np.float32(b.rng.choice((0.01, 0.0625, 0.1, 0.37))))


def zero_of(b, dtype):
    return b.constant(np.asarray(b.rng.randint(-5, 5) if dtype == np.int8 else b.rng.randint(100, 150), dtype))


def quantized(b, **choice):
    """A uint8 or int8 value with its scale and zero point."""
    dtype = b.rng.choice((np.uint8, np.int8))
    scale, zero = scale_of(b), zero_of(b, dtype)
    return b.add("QuantizeLinear", [b.pick(**choice), scale, zero]), scale, zero


def quantize_linear(b, op):
    q, scale, zero = quantized(b)
    if b.chance(3):
        return
    b.add("DequantizeLinear", [q, scale, zero])


def quantize_per_channel(b, op):
    x = b.pick(ranks=(2, 3, 4))
    n = b[x].shape[1]
    scale = b.constant(b.np.uniform(0.01, 0.3, n).astype(np.float32))
    zero = b.constant(b.np.integers(-20, 20, n).astype(np.int8))
    q = b.add("QuantizeLinear", [x, scale, zero], axis=1)
    b.add("DequantizeLinear", [q, scale, zero], axis=1)


def int8s(b, shape):
    return b.constant(b.np.integers(-128, 128, shape).astype(np.int8))


def matmul_integer(b, op):
    q, _, zero = quantized(b, ranks=(2,))
    b.add(op, [q, int8s(b, (b[q].shape[-1], b.rng.randint(1, 4))), zero])


def conv_integer(b, op):
    q, _, zero = quantized(b, ranks=(4,), where=lambda a: a.shape[0] == 1)
    kernel = kernel_of(b, q)
    w = b.constant(b.np.integers(0, 256, (2, b[q].shape[1], *kernel)).astype(np.uint8))
    b.add(op, [q, w, zero], **spatial(b, q, kernel))


def qlinear_matmul(b, op):
    q, scale, zero = quantized(b, ranks=(2,))
    dtype = b[q].dtype.type
    b.add(op, [q, scale, zero, int8s(b, (b[q].shape[-1], b.rng.randint(1, 4))), scale_of(b), b.constant(np.int8(0)),
               b.constant(np.float32(b.rng.choice((0.5, 0.05)))), zero_of(b, dtype)])


def qlinear_conv(b, op):
    q, scale, zero = quantized(b, ranks=(4,), where=lambda a: a.shape[0] == 1)
    kernel = kernel_of(b, q)
    b.add(op, [q, scale, zero, int8s(b, (2, b[q].shape[1], *kernel)), scale_of(b), b.constant(np.int8(0)),
               b.constant(np.float32(b.rng.choice((0.5, 0.05)))), zero_of(b, b[q].dtype.type),
               b.constant(b.np.integers(-99, 99, 2).astype(np.int32))], **spatial(b, q, kernel))


def feature_extractor(b, op):
    x = b.pick(ranks=(2,))
    b.add(op, [x, int64s(b, [b.rng.randrange(b[x].shape[1]) for _ in range(2)])], domain="ai.onnx.ml")


ML = "ai.onnx.ml"


def floats(b, n, lo=-2.0, hi=2.0):
    return [float(np.float32(b.rng.uniform(lo, hi))) for _ in range(n)]


def binarizer(b, op):
    b.add(op, [b.pick()], ML, threshold=floats(b, 1)[0])


def imputer(b, op):
    x = b.pick(ranks=(2,))
    b.add(op, [x], ML, imputed_value_floats=floats(b, b.rng.choice((1, b[x].shape[1]))), replaced_value_float=0.0)


def normalizer(b, op):
    b.add(op, [clipped(b, b.pick(ranks=(2,)), 0.25, 4)], ML, norm=b.rng.choice(("MAX", "L1", "L2")))


def scaler(b, op):
    x = b.pick(ranks=(2,))
    n = b.rng.choice((1, b[x].shape[1]))
    b.add(op, [x], ML, offset=floats(b, n), scale=floats(b, n))


def linear_regressor(b, op):
    x = b.pick(ranks=(2,))
    targets = b.rng.randint(1, 3)
    b.add(op, [x], ML, coefficients=floats(b, targets * b[x].shape[1]), intercepts=floats(b, targets), targets=targets)


def linear_classifier(b, op):
    x = b.pick(ranks=(2,))
    classes = b.rng.randint(2, 4)
    b.add(op, [x], ML, outputs=2, coefficients=floats(b, classes * b[x].shape[1]), intercepts=floats(b, classes),
          classlabels_ints=list(range(classes)), post_transform=b.rng.choice(("NONE", "SOFTMAX", "LOGISTIC")))


def feature_vectorizer(b, op):
    x = b.pick(ranks=(2,))
    y = b.pick(ranks=(2,), where=lambda a: a.shape[0] == b[x].shape[0])
    b.add(op, [x, y], ML, inputdimensions=[b[x].shape[1], b[y].shape[1]])


def small_integer(b):
    return b.add("Cast", [clipped(b, b.pick(ranks=(1, 2)), 0, 4)], to=7)


def label_encoder(b, op):
    b.add(op, [small_integer(b)], ML, keys_int64s=[0, 1, 3], values_floats=floats(b, 3), default_float=-1.0)


def one_hot_encoder(b, op):
    b.add(op, [small_integer(b)], ML, cats_int64s=[0, 2, 3], zeros=1)


# com.microsoft and Quant nodes: only the types and shapes of the samples are right.

def like(a, dtype=None):
    return [np.zeros(a.shape, dtype or a.dtype)]


def ms_gelu(b, op):
    x = b.pick()
    b.add(op, [x], MICROSOFT, result=like(b[x]))


def ms_unary(b, op):
    q, scale, zero = quantized(b, ranks=(2,))
    attrs = {"QLinearLeakyRelu": {"alpha": 0.1}, "QLinearSoftmax": {"axis": -1, "opset": 13}}.get(op, {})
    if op == "QLinearSoftmax" and b[q].dtype != np.uint8:
        raise Invalid
    ends = [b.constant(np.float32(1 / 256)), b.constant(np.asarray(0, b[q].dtype))]
    b.add(op, [q, scale, zero, *ends], MICROSOFT, result=like(b[q]), **attrs)


def ms_binary(b, op):
    q, scale, zero = quantized(b)
    b.add(op, [q, scale, zero, q, scale, zero, scale_of(b), zero_of(b, b[q].dtype.type)], MICROSOFT, result=like(b[q]))


def ms_concat(b, op):
    q, scale, zero = quantized(b, ranks=(2,))
    b.add(op, [scale_of(b), zero, q, scale, zero, q, scale_of(b), zero], MICROSOFT, axis=1,
          result=[np.zeros((b[q].shape[0], 2 * b[q].shape[1]), b[q].dtype)])


def ms_pool(b, op):
    q, scale, zero = quantized(b, ranks=(4,), where=lambda a: a.shape[0] == 1)
    whole = op == "QLinearGlobalAveragePool"
    kernel = [1, 1] if whole else kernel_of(b, q)
    shape = b[q].shape[:2] + tuple(1 if whole else d - k + 1 for d, k in zip(b[q].shape[2:], kernel))
    attrs = {"channels_last": 0} if whole else {"kernel_shape": kernel, "strides": [1, 1]}
    b.add(op, [q, scale, zero, scale_of(b), zero_of(b, b[q].dtype.type)], MICROSOFT,
          result=[np.zeros(shape, b[q].dtype)], **attrs)


def ms_gemm(b, op):
    q, scale, zero = quantized(b, ranks=(2,))
    n = b.rng.randint(1, 4)
    b.add(op, [q, scale, zero, int8s(b, (b[q].shape[1], n)), scale_of(b), b.constant(np.int8(0)), "",
               b.constant(np.float32(0.5)), zero_of(b, b[q].dtype.type)], MICROSOFT,
          result=[np.zeros((b[q].shape[0], n), b[q].dtype)])


def ms_fused_gemm(b, op):
    x = b.pick(ranks=(2,))
    n = b.rng.randint(1, 4)
    b.add(op, [x, b.weights((b[x].shape[1], n)), b.weights((n,))], MICROSOFT, activation="Relu",
          result=[np.zeros((b[x].shape[0], n), np.float32)])


def ms_fused_conv(b, op):
    x = b.pick(ranks=(4,), where=lambda a: a.shape[0] == 1)
    kernel = kernel_of(b, x)
    shape = (1, 2, *(d - k + 1 for d, k in zip(b[x].shape[2:], kernel)))
    b.add(op, [x, b.weights((2, b[x].shape[1], *kernel))], MICROSOFT, activation="Relu", kernel_shape=kernel,
          result=[np.zeros(shape, np.float32)])


def ms_quantize(b, op):
    scale, zero = scale_of(b), zero_of(b, np.uint8)
    x = b.pick()
    q = b.add("QuantizeLinear", [x, scale, zero], MICROSOFT, result=like(b[x], np.uint8))
    b.add("DequantizeLinear", [q, scale, zero], MICROSOFT, result=like(b[x]))


def brevitas_quant(b, op):
    x = b.pick()
    b.add(op, [x, scale_of(b), b.constant(np.float32(0)), b.constant(np.float32(b.rng.choice((2, 4, 8))))],
          BREVITAS, result=like(b[x]), signed=1, narrow=b.rng.randrange(2),
          rounding_mode=b.rng.choice(("ROUND", "FLOOR", "CEIL")))


def bipolar_quant(b, op):
    x = b.pick()
    b.add(op, [x, scale_of(b)], BREVITAS, result=like(b[x]))


def table():
    t = {}
    for op in ("Abs Ceil Floor Round Neg Relu Sigmoid Tanh Exp Erf Sqrt Softplus Softsign Sign Identity Cos Sin Sinh Cosh "
               "Tan Asinh Atan Mish HardSwish Log Reciprocal Acos Asin Atanh Acosh Dropout").split():
        t[op] = unary
    for op in "IsInf IsNaN".split():
        t[op] = unary
    for op in "Sum Max Min Mean".split():
        t[op] = variadic
    for op in "Greater Less GreaterOrEqual LessOrEqual Equal".split():
        t[op] = compare
    for op in "L1 L2 Sum SumSquare Max Min Mean Prod LogSum LogSumExp".split():
        t["Reduce" + op] = reduce
    for op in "And Or Xor".split():
        t[op] = logic
        t["Bitwise" + op] = bitwise
    for op in "MaxPool AveragePool LpPool".split():
        t[op] = pool
        t["Global" + op] = global_pool
    for op in "Add Sub Mul".split():
        t[op] = binary
    for op in "Softmax LogSoftmax Hardmax".split():
        t[op] = along_axis
    for op in "QLinearSigmoid QLinearSoftmax QLinearLeakyRelu".split():
        t[f"{MICROSOFT}.{op}"] = ms_unary
    for op in "QLinearAdd QLinearMul".split():
        t[f"{MICROSOFT}.{op}"] = ms_binary
    for op in "QLinearAveragePool QLinearGlobalAveragePool".split():
        t[f"{MICROSOFT}.{op}"] = ms_pool
    for op in "QuantizeLinear DequantizeLinear".split():
        t[f"{MICROSOFT}.{op}"] = ms_quantize
    t.update({
        "Elu": unary_with(alpha=(None, 0.5, 2.0)), "Celu": unary_with(alpha=(None, 0.5, 2.0)),
        "Selu": unary_with(alpha=(None, 1.2), gamma=(None, 0.9)), "LeakyRelu": unary_with(alpha=(None, 0.1, 0.5)),
        "HardSigmoid": unary_with(alpha=(None, 0.3), beta=(None, 0.4)), "ThresholdedRelu": unary_with(alpha=(None, 0.3)),
        "Shrink": unary_with(lambd=(0.5, 0.25), bias=(None, 0.25)), "Gelu": unary_with(approximate=(None, "tanh")),
        "Swish": unary_with(alpha=(None, 0.5)), "Div": divide, "Pow": power, "Mod": modulo, "Not": logic_not,
        "Where": where, "Cast": cast, "CastLike": cast_like, "BitwiseNot": bitwise_not, "BitShift": bit_shift,
        "Clip": clip, "Reshape": reshape, "Flatten": flatten, "Transpose": transpose, "Squeeze": squeeze,
        "Unsqueeze": unsqueeze, "Concat": concat, "Slice": slices, "Split": split, "Gather": gather,
        "GatherElements": gather_elements, "GatherND": gather_nd, "Expand": expand, "Tile": tile, "Pad": pad,
        "DepthToSpace": depth_to_space, "SpaceToDepth": space_to_depth, "Trilu": trilu,
        "ReverseSequence": reverse_sequence, "ScatterElements": scatter_elements, "ScatterND": scatter_nd,
        "OneHot": one_hot, "EyeLike": eye_like, "Shape": shape_of, "Size": shape_of, "Constant": constant_node,
        "ConstantOfShape": constant_of_shape, "Range": range_of, "CumSum": cum_sum, "TopK": top_k, "ArgMax": arg,
        "ArgMin": arg, "Gemm": gemm, "MatMul": matmul, "Conv": conv, "BatchNormalization": batch_norm,
        "InstanceNormalization": instance_norm, "LayerNormalization": layer_norm, "RMSNormalization": layer_norm,
        "GroupNormalization": group_norm, "PRelu": prelu, "QuantizeLinear": quantize_linear,
        "DequantizeLinear": quantize_per_channel, "MatMulInteger": matmul_integer, "ConvInteger": conv_integer,
        "QLinearMatMul": qlinear_matmul, "QLinearConv": qlinear_conv,
        "ConvTranspose": conv_transpose, "Resize": resize, "Einsum": einsum, "RNN": recurrent, "GRU": recurrent,
        "LSTM": recurrent, "DynamicQuantizeLinear": dynamic_quantize, f"{MICROSOFT}.FusedGemm": ms_fused_gemm,
        f"{MICROSOFT}.FusedConv": ms_fused_conv, f"{ML}.FeatureVectorizer": feature_vectorizer,
        f"{ML}.LabelEncoder": label_encoder, f"{ML}.OneHotEncoder": one_hot_encoder,
        "ai.onnx.ml.ArrayFeatureExtractor": feature_extractor, f"{ML}.Binarizer": binarizer, f"{ML}.Imputer": imputer,
        f"{ML}.Normalizer": normalizer, f"{ML}.Scaler": scaler, f"{ML}.LinearRegressor": linear_regressor,
        f"{ML}.LinearClassifier": linear_classifier, "gather.table.Gather": gather_table,
        f"{MICROSOFT}.Gelu": ms_gelu, f"{MICROSOFT}.QLinearConcat": ms_concat, f"{MICROSOFT}.QGemm": ms_gemm,
        f"{BREVITAS}.Quant": brevitas_quant, f"{BREVITAS}.BipolarQuant": bipolar_quant,
    })
    return t


GENERATORS = table()


def random_model(seed, ops=None):
    """A builder with 1 to 10 nodes' worth of operators, of `ops` if given."""
    b = Builder(seed)
    names = sorted(ops or GENERATORS)
    wanted = b.rng.choice((1, 2, 4, 7, 10))
    for _ in range(wanted):
        b.grow(b.rng.choice(names))
    while not b.nodes:
        b.grow(b.rng.choice(names) if not b.chance(20) else "Relu")
    return b


if __name__ == "__main__":
    onnx.save(random_model(int(sys.argv[1])).model(), sys.argv[2])
