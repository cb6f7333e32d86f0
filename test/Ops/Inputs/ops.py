"""ops.py GROUP DIRECTORY: models of one node or a few, against numpy.

The real-valued evaluation must agree with the reference, and `mlc-opt --certify` must find no
value outside its error bound. A case may also bound the certified error itself.
"""
import os
import re
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ML, MS = "ai.onnx.ml", "com.microsoft"
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
SAMPLES = 12
rng = np.random.default_rng(7)
failed = []


def node(op, inputs, outputs, domain="", **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), domain=domain, **attributes)


def normal(*shape):
    return rng.standard_normal(shape)


def floats(*shape):
    return normal(*shape).astype(np.float32)


def run(*arguments):
    return subprocess.run(arguments, capture_output=True, text=True)


def case(name, nodes, inputs, reference, constants=(), types=None, draw=None, bound=None):
    """inputs: name -> [shape] or (type, [shape]); reference(x...) gives the outputs of the last node, in order."""
    types = types or {}
    inputs = {k: v if isinstance(v, tuple) else (FLOAT, v) for k, v in inputs.items()}
    outputs = [o for o in nodes[-1].output if o]
    graph = helper.make_graph(
        nodes, name, [helper.make_tensor_value_info(k, t, s) for k, (t, s) in inputs.items()],
        [helper.make_tensor_value_info(o, types.get(o, FLOAT), None) for o in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(d, v) for d, v in (("", 17), (ML, 3), (MS, 1))])
    model.ir_version = 9
    path = os.path.join(directory, name)
    onnx.save(model, path + ".onnx")
    samples = {k: np.stack([(draw or normal)(*s) for _ in range(SAMPLES)]).astype(helper.tensor_dtype_to_np_dtype(t))
               for k, (t, s) in inputs.items()}
    np.savez(path + ".in.npz", **samples)
    r = run("mlc-opt", "--pass=infer-shapes", "--eval=" + path + ".in.npz", "--outputs=" + path + ".npz", path + ".onnx")
    problem = r.stderr
    if not problem:
        got = np.load(path + ".npz")
        for s in range(SAMPLES):
            want = reference(*(samples[k][s].astype(np.float64) for k in inputs))
            for o, w in zip(outputs, want if isinstance(want, tuple) else (want,)):
                if not np.allclose(got[o][s].reshape(np.shape(w)), w, rtol=1e-5, atol=1e-5):
                    problem = f"{o} is {got[o][s]}, expected {w}"
    r = run("mlc-opt", "--certify=100", path + ".onnx")
    if r.returncode:
        problem += r.stdout + r.stderr
    certified = [float(b) for b in re.findall(r"bound ([^ ,]+)", r.stdout)]
    if bound is not None and not max(certified, default=np.inf) <= bound:
        problem += f"the certified bound is {certified}"
    print(name, problem or "ok")
    if problem:
        failed.append(name)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# --- functions that are steep somewhere, on the whole range of q15.16 ---

def functions():
    one = [("one", np.float32(1)), ("tiny", np.float32(1e-3))]
    above = [node("Abs", "x", "a"), node("Add", "a one", "b")]
    case("log1p", above + [node("Log", "b", "y")], {"x": [9]}, lambda x: np.log(np.abs(x) + 1), one, bound=2e-5)
    case("reciprocal", above + [node("Reciprocal", "b", "y")], {"x": [9]}, lambda x: 1 / (np.abs(x) + 1), one, bound=4e-5)
    case("rsqrt", above + [node("Sqrt", "b", "c"), node("Reciprocal", "c", "y")], {"x": [9]},
         lambda x: (np.abs(x) + 1) ** -.5, one, bound=4e-5)
    case("power", above + [node("Pow", "b p", "y")], {"x": [9]}, lambda x: (np.abs(x) + 1) ** .3,
         one + [("p", np.float32(.3))], bound=1e-3)
    limits = [("lo", np.float32([-1e-3, -3e7, -3e38])), ("hi", np.float32([1e-3, 3e7, 2]))]
    case("limits", [node("Max", "lo x", "a"), node("Min", "a hi", "y")], {"x": [2, 3]},
         lambda x: np.clip(x, limits[0][1], limits[1][1]), limits, bound=1e-5)
    for op, f in (("Atan", np.arctan), ("Asinh", np.arcsinh), ("Sigmoid", sigmoid), ("Tanh", np.tanh),
                  ("Softplus", lambda x: np.logaddexp(0, x))):
        case(op.lower(), [node(op, "x", "y")], {"x": [9]}, f, bound=3e-5)


# --- patterns that the pass `simplify` replaces ---

def fuse():
    case("log_sigmoid", [node("Sigmoid", "x", "s"), node("Log", "s", "y")], {"x": [2, 5]}, lambda x: np.log(sigmoid(x)),
         bound=1e-3)
    case("log_softmax", [node("Softmax", "x", "s", axis=-1), node("Log", "s", "y")], {"x": [2, 5]},
         lambda x: np.log(softmax(x)), bound=1e-3)
    infinite = [("inf", np.float32(-np.inf))]
    case("no_limit", [node("Max", "inf x", "y")], {"x": [5]}, lambda x: x, infinite)
    axes = [("axes", np.array([-1])), ("k", np.float32(1e3)), ("one", np.float32(1))]
    case("bounded_inverse", [node("Mul", "x x", "xx"), node("ReduceSum", "xx axes", "s"), node("Sqrt", "s", "r"),
                             node("Div", "one r", "i"), node("Min", "i k", "y")], {"x": [2, 5]},
         lambda x: np.minimum(1 / np.sqrt((x * x).sum(-1, keepdims=True)), 1e3), axes)


# --- activations in the spellings of exporters; the bounds say that no factor's error was multiplied ---

def activations():
    def gated(name, gate, constants=(), scaled="g"):
        gate = [node(*g[:3], **(g[3] if len(g) > 3 else {})) for g in gate]
        product = [node("Mul", f"{scaled} x", "y")] if "y" not in gate[-1].output else []
        case(name, gate + product, {"x": [9]}, reference, constants, draw=lambda *s: 4 * normal(*s), bound=7e-5)

    def reference(x):
        return x * sigmoid(x)
    gated("silu", [("Sigmoid", "x", "g")])

    def reference(x):
        return x * np.tanh(np.logaddexp(0, x))
    gated("mish", [("Softplus", "x", "s"), ("Tanh", "s", "g")])

    def reference(x):
        return x * np.clip(x / 6 + .5, 0, 1)
    numbers = [(k, np.float32(v)) for k, v in {"zero": 0, "six": 6, "three": 3, "sixth": 1 / 6}.items()]
    gated("hard_swish_op", [("HardSwish", "x", "y")])
    gated("hard_swish", [("HardSigmoid", "x", "g", {"alpha": 1 / 6, "beta": .5})])
    clip = [("Add", "x three", "t"), ("Clip", "t zero six", "c")]
    gated("hard_swish_keras", clip + [("Mul", "c x", "m"), ("Mul", "sixth m", "y")], numbers)
    gated("hard_swish_div", clip + [("Div", "c six", "g")], numbers)

    def reference(x):
        return x / (1 + np.abs(x))
    gated("softsign", [("Abs", "x", "a"), ("Add", "one a", "b"), ("Div", "x b", "y")], [("one", np.float32(1))])

    def reference(x):
        return np.logaddexp(0, x)
    gated("softplus_torch", [("Greater", "x t", "c"), ("Softplus", "x", "s"), ("Where", "c x s", "y")],
          [("t", np.float32(20))])


# --- masks of -inf in front of Softmax ---

def masks():
    mask = np.triu(np.full((4, 4), -np.inf, np.float32), 1)
    case("added", [node("Add", "x mask", "a"), node("Softmax", "a", "y", axis=-1)], {"x": [4, 4]},
         lambda x: softmax(x + mask), [("mask", mask)], bound=1e-3)
    case("lowest", [node("Add", "x mask", "a"), node("Softmax", "a", "y", axis=-1)], {"x": [4, 4]},
         lambda x: softmax(x + mask), [("mask", np.maximum(mask, np.finfo(np.float32).min))], bound=1e-3)
    case("chosen", [node("Where", "c x low", "a"), node("Softmax", "a", "y", axis=-1)], {"x": [4, 4]},
         lambda x: softmax(np.where(mask == 0, x, -np.inf)), [("c", mask == 0), ("low", np.float32(-np.inf))], bound=1e-3)
    case("finite", [node("IsNaN", "x", "n"), node("IsInf", "x", "i"), node("Or", "n i", "y")], {"x": [4]},
         lambda x: x != x, types={"y": BOOL}, bound=0)


# --- ai.onnx.ml ---

def scores(post, s):
    return {"NONE": s, "LOGISTIC": sigmoid(s), "SOFTMAX": softmax(s)}[post]


def ml():
    def whole(*shape):
        return rng.integers(-3, 12, shape)

    w, b = floats(3, 4), floats(3)
    labels = np.array([5, 7, 2])
    for post in "NONE", "LOGISTIC", "SOFTMAX":
        case("classifier_" + post, [node("LinearClassifier", "x", "l z", ML, coefficients=w.ravel(), intercepts=b,
                                         classlabels_ints=labels, post_transform=post)], {"x": [2, 4]},
             lambda x: (labels[(x @ w.T + b).argmax(-1)], scores(post, x @ w.T + b)), types={"l": INT64})
        case("regressor_" + post, [node("LinearRegressor", "x", "z", ML, coefficients=w.ravel(), intercepts=b, targets=3,
                                        post_transform=post)], {"x": [2, 4]}, lambda x: scores(post, x @ w.T + b))

    def binary(post):
        def f(x):
            s = x @ w[0] + b[0]
            p = sigmoid(s) if post == "LOGISTIC" else s
            return np.where(s > 0, 7, 5), np.stack([1 - p, p], -1)
        return f
    for post in "NONE", "LOGISTIC":
        case("binary_" + post, [node("LinearClassifier", "x", "l z", ML, coefficients=w[0], intercepts=b[:1],
                                     classlabels_ints=labels[:2], post_transform=post)], {"x": [2, 4]}, binary(post),
             types={"l": INT64})
    offset, scale = np.float32([1e6, 2, 0, -4]), np.float32([1e-7, .25, 3, 10])
    case("scaler", [node("Scaler", "x", "y", ML, offset=offset, scale=scale)], {"x": [2, 4]},
         lambda x: (x - offset) * scale, bound=1e-4)
    case("scaler_integers", [node("Scaler", "x", "y", ML, offset=[1.], scale=[.5])], {"x": (INT64, [2, 4])},
         lambda x: (x - 1) / 2, draw=whole, bound=0)
    case("binarizer", [node("Binarizer", "x", "y", ML, threshold=.5)], {"x": [2, 4]}, lambda x: x > .5)
    case("imputer", [node("Imputer", "x", "y", ML, imputed_value_floats=[1., 2., 3., 4.], replaced_value_float=2.)],
         {"x": [2, 4]}, lambda x: np.where(x == 2, [1, 2, 3, 4], x), draw=whole)
    case("imputer_integers", [node("Imputer", "x", "y", ML, imputed_value_int64s=[9], replaced_value_int64=2)],
         {"x": (INT64, [2, 4])}, lambda x: np.where(x == 2, 9, x), types={"y": INT64}, draw=whole, bound=0)
    for norm, length in (("MAX", lambda x: x.max(-1)), ("L1", lambda x: np.abs(x).sum(-1)),
                         ("L2", lambda x: np.sqrt((x * x).sum(-1)))):
        case("normalizer_" + norm, [node("Normalizer", "x", "y", ML, norm=norm)], {"x": [2, 4]},
             lambda x: x / np.where(length(x) == 0, 1, length(x))[:, None], draw=whole)
    case("one_hot", [node("OneHotEncoder", "x", "y", ML, cats_int64s=[1, 5, 7])], {"x": (INT64, [2, 3])},
         lambda x: x[..., None] == [1, 5, 7], draw=whole, bound=0)
    table = {1: 10, 5: 20, 7: .25}
    case("label_integers", [node("LabelEncoder", "x", "y", ML, keys_int64s=[1, 5], values_int64s=[10, 20], default_int64=-7)],
         {"x": (INT64, [6])}, lambda x: [{1: 10, 5: 20}.get(int(i), -7) for i in x], types={"y": INT64}, draw=whole, bound=0)
    case("label_floats", [node("LabelEncoder", "x", "y", ML, keys_int64s=list(table), values_floats=list(map(float, table.values())),
                               default_float=-.5)], {"x": (INT64, [6])}, lambda x: [table.get(int(i), -.5) for i in x],
         draw=whole, bound=1e-6)
    case("vectorizer", [node("FeatureVectorizer", "x z", "y", ML, inputdimensions=[3, 2])], {"x": [2, 3], "z": [2, 2]},
         lambda x, z: np.concatenate([x, z], -1))


# --- recurrent layers ---

def recurrent():
    steps, n, hidden = 4, 3, 5
    f = {"Sigmoid": sigmoid, "Tanh": np.tanh, "Relu": lambda x: np.maximum(x, 0)}

    def cell(op, acts, a, x, h, c, w, r, b, p, clip):
        act = [lambda v, k=k: f[acts[k]](np.clip(v, -clip, clip)) for k in range(len(acts))]
        wb, rb = np.split(b, 2)
        xs, hs = x @ w.T + wb, h @ r.T + rb
        if op == "RNN":
            return act[0](xs + hs), c
        if op == "GRU":
            z, g = (act[0](v) for v in np.split((xs + hs)[..., :2 * hidden], 2, -1))
            inner = g * hs[..., 2 * hidden:] if a.get("linear_before_reset") else (g * h) @ r[2 * hidden:].T + rb[2 * hidden:]
            return (1 - z) * act[1](xs[..., 2 * hidden:] + inner) + z * h, c
        i, o, k, g = np.split(xs + hs, 4, -1)
        pi, po, pf = np.split(p, 3)
        i, k = act[0](i + pi * c), act[0](k + pf * c)
        c = (1 - i if a.get("input_forget") else k) * c + i * act[1](g)
        return act[0](o + po * c) * f[acts[2]](c), c

    def layer(name, op, direction="forward", state=False, peephole=False, **a):
        gates, d = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], 2 if direction == "bidirectional" else 1
        w, r, b = floats(d, gates * hidden, n) / 2, floats(d, gates * hidden, hidden) / 3, floats(d, 2 * gates * hidden) / 3
        h0, c0, p = floats(d, 1, hidden) / 3, floats(d, 1, hidden) / 3, floats(d, 3 * hidden) / 3
        acts = a.get("activations", {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}[op] * d)
        per = len(acts) // d

        def reference(x):
            y, last, cells = np.zeros((steps, d, 1, hidden)), [], []
            for k in range(d):
                h, c = (h0[k], c0[k]) if state else (np.zeros((1, hidden)), np.zeros((1, hidden)))
                backward = direction == "reverse" or k == 1
                for t in reversed(range(steps)) if backward else range(steps):
                    h, c = cell(op, acts[k * per:(k + 1) * per], a, x[t], h, c, w[k], r[k], b[k],
                                p[k] if peephole else 0 * p[k], a.get("clip", np.inf))
                    y[t, k] = h
                last.append(h)
                cells.append(c)
            return (y, np.stack(last), np.stack(cells))[:3 if op == "LSTM" else 2]
        inputs, constants = ["x", "w", "r", "b"], [("w", w), ("r", r), ("b", b)]
        if state or peephole:
            zero = 1 if state else 0
            inputs += ["", "h0"] + ["c0"] * (op == "LSTM") + ["p"] * peephole
            constants += [("h0", h0 * zero), ("c0", c0 * zero)] + [("p", p)] * peephole
        outputs = ["y", "yh"] + ["yc"] * (op == "LSTM")
        case(name, [helper.make_node(op, inputs, outputs, hidden_size=hidden, direction=direction, **a)],
             {"x": [steps, 1, n]}, reference, constants)

    layer("lstm", "LSTM")
    layer("lstm_reverse", "LSTM", "reverse")
    layer("lstm_both", "LSTM", "bidirectional", state=True)
    layer("lstm_peephole", "LSTM", peephole=True)
    layer("lstm_clip", "LSTM", clip=.5)
    layer("lstm_coupled", "LSTM", input_forget=1)
    layer("gru", "GRU")
    layer("gru_both", "GRU", "bidirectional", state=True)
    layer("gru_reset", "GRU", linear_before_reset=1)
    layer("rnn", "RNN")
    layer("rnn_relu", "RNN", "bidirectional", activations=["Relu", "Tanh"])


def einsum():
    def formula(name, text, *shapes, constant=None):
        names = ["x", "z"][:len(shapes)]
        c = [("xz"[constant], floats(*shapes[constant]))] if constant is not None else []
        free = {k: list(s) for i, (k, s) in enumerate(zip(names, shapes)) if i != constant}

        def reference(*x):
            x = list(x)
            if constant is not None:
                x.insert(constant, c[0][1])
            return np.einsum(text, *x)
        case(name, [node("Einsum", " ".join(names), "y", equation=text)], free, reference, c)

    formula("experts", "bi,eio->beo", (1, 5), (3, 5, 4), constant=1)
    formula("experts_left", "eio,bi->beo", (3, 5, 4), (1, 5), constant=0)
    formula("mixture", "be,beo->bo", (1, 3), (1, 3, 4))
    formula("transpose", "ij->ji", (3, 4))
    formula("sums", "ij->i", (3, 4))
    formula("total", "ij->", (3, 4))
    formula("implicit", "ij,jk", (3, 4), (4, 2))
    formula("ellipsis", "...ij,...jk->...ik", (2, 3, 4), (2, 4, 2))
    formula("heads", "bhid,bhjd->bhij", (1, 2, 3, 4), (1, 2, 5, 4))
    formula("alone", "ij,kl->ik", (3, 4), (2, 5))
    formula("batch", "bij,bjk->bik", (2, 3, 4), (2, 4, 2), constant=1)
    formula("spaces", "ba, cb -> ca", (3, 4), (5, 3), constant=1)


def fused():
    w, b = floats(4, 3), floats(3)
    for name, f in (("Relu", lambda x: np.maximum(x, 0)), ("Sigmoid", sigmoid), ("Tanh", np.tanh),
                    ("LeakyRelu", lambda x: np.where(x < 0, np.float32(.1) * x, x))):
        case("gemm_" + name, [node("FusedGemm", "x w b", "y", MS, activation=name, activation_alpha=.1, alpha=2., beta=.5)],
             {"x": [2, 4]}, lambda x: f(2 * x @ w + .5 * b), [("w", w), ("b", b)], bound=1e-3)
    k = floats(2, 3, 1, 1)
    case("conv_Clip", [node("FusedConv", "x w", "y", MS, activation="Clip", activation_params=[-.5, 1.5])], {"x": [1, 3, 2, 2]},
         lambda x: np.clip(np.einsum("bchw,oc->bohw", x, k[:, :, 0, 0]), -.5, 1.5), [("w", k)], bound=1e-3)


# --- upsampling ---

def upsample():
    x = {"x": [1, 4, 3, 5]}

    def transposed(name, w, stride=(1, 1), dilation=(1, 1), pads=(0, 0, 0, 0), more=(0, 0), group=1):
        def reference(x):
            size = [(x.shape[d + 2] - 1) * stride[d] + (w.shape[d + 2] - 1) * dilation[d] + 1 + more[d] for d in (0, 1)]
            per, out = w.shape[0] // group, w.shape[1]
            y = np.zeros((1, out * group, *size))
            for c, i, j in np.ndindex(x.shape[1:]):
                for m, k, l in np.ndindex(w.shape[1:]):
                    y[0, c // per * out + m, i * stride[0] + k * dilation[0], j * stride[1] + l * dilation[1]] += \
                        x[0, c, i, j] * w[c, m, k, l]
            return y[..., pads[0]:size[0] - pads[2], pads[1]:size[1] - pads[3]]
        case(name, [node("ConvTranspose", "x w", "y", strides=stride, dilations=dilation, pads=pads, output_padding=more,
                         group=group)], x, reference, [("w", w)], bound=1e-2)

    w = floats(4, 3, 2, 3)
    transposed("transposed", w)
    transposed("transposed_stride", w, stride=(2, 2))
    transposed("transposed_pads", w, stride=(2, 3), pads=(0, 1, 1, 0), more=(1, 1))
    transposed("transposed_dilation", w, dilation=(2, 1), pads=(1, 1, 1, 1))
    transposed("transposed_groups", floats(4, 2, 2, 3), stride=(2, 1), group=2)
    scales = [("s", np.float32([1, 1, 2, 3]))]
    case("nearest", [helper.make_node("Resize", ["x", "", "s"], ["y"], mode="nearest", nearest_mode="floor",
                                      coordinate_transformation_mode="asymmetric")], x,
         lambda x: x.repeat(2, 2).repeat(3, 3), scales, bound=1e-5)

    def linear(x, axis, n):
        at = np.linspace(0, x.shape[axis] - 1, n)
        return np.apply_along_axis(lambda v: np.interp(at, np.arange(len(v)), v), axis, x)
    case("linear", [helper.make_node("Resize", ["x", "", "", "n"], ["y"], mode="linear",
                                     coordinate_transformation_mode="align_corners")], x,
         lambda x: linear(linear(x, 2, 7), 3, 3), [("n", np.array([1, 4, 7, 3]))], bound=1e-4)


group, directory = sys.argv[1:]
os.makedirs(directory, exist_ok=True)
globals()[group]()
sys.exit(len(failed) > 0)
