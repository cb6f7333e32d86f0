#!/usr/bin/env python3
"""Compare quantized models, compiled and run by mlc, with ONNX's semantics, output by output and bit by bit.

usage: compare.py [--samples N] [--backend kernel|host] [--markdown FILE] FOLDER ...
       compare.py --recorded FOLDER ...
       compare.py --record OUT [--samples N] FOLDER ...

A folder is one model (model.onnx, inputs.npz) or holds models at any depth; models without quantized ops are
left out. Each runs on the recorded inputs and on N random ones, uniform between the least and the largest
recorded value of every feature. The reference is onnxruntime without graph optimizations; a model with ops that
it does not have is run by the onnx package's evaluator with the definition below. Where outputs differ, the
first quantized value that does is found, how far its real value is from a rounding tie, and what the onnx
package's evaluator, which adds floats in another order, says, and RoundedOnce, in which no order matters.

--record writes models, samples and the reference's outputs to a folder from which --recorded, which needs no
onnxruntime, compares. A folder's deviations.json says which models may differ in how many samples, by how
many steps, and why. Exit status 1 when a model does not run, or differs by more.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

QUANTIZERS = {"QuantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd", "QLinearMul", "QLinearSigmoid",
              "QLinearLeakyRelu", "QLinearConcat", "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearSoftmax",
              "DynamicQuantizeLinear", "Quant", "BipolarQuant"}
CALIBRATION = 1000  # random samples that mlc sees besides the recorded ones: ranges for what is not quantized
QUANTIZED = QUANTIZERS | {"DequantizeLinear", "MatMulInteger", "ConvInteger"}


class Quant(OpRun):
    """QONNX's definition: clamp(x / scale + zero) rounded, on a grid of any width."""
    op_domain = "qonnx.custom_op.general"

    def _run(self, x, scale, zero, width, signed=1, narrow=0, rounding_mode="ROUND"):
        f = np.float32
        top = 2.0 ** (float(np.ravel(width)[0]) - bool(signed)) - 1
        low = -top - 1 + bool(narrow) if signed else 0.0
        if not signed:
            top -= bool(narrow)
        rounded = {"ROUND": np.rint, "FLOOR": np.floor, "CEIL": np.ceil}[rounding_mode.upper()]
        y = rounded(np.clip((x / scale).astype(f) + zero, f(low), f(top)))
        return (((y - zero) * scale).astype(f),)


def saturated(x, like):
    limits = np.iinfo(like.dtype)
    return np.clip(x, limits.min, limits.max).astype(like.dtype)


def single(x):
    """Rounded to float, in double."""
    return np.asarray(x, np.float64).astype(np.float32).astype(np.float64)


class RoundedOnce:
    """ONNX node by node: the exact result of each node (double precision stands for it), rounded once to its type.
    Only to sums and to products of two tensors is what DequantizeLinear gives, an integer times a scale, handed on
    as it is, biases of 32 bits apart."""
    MOVES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Gather", "Concat", "Split", "Pad",
             "Identity", "MaxPool", "GlobalMaxPool"}
    UNROUNDED = MOVES | {"Conv", "Gemm", "MatMul", "GlobalAveragePool", "AveragePool", "ReduceMean", "ReduceSum"}

    def __init__(self, model):
        self.graph = model.graph
        opsets = {o.domain: o.version for o in model.opset_import}
        self.nodes = [(n, getattr(self, n.op_type) if hasattr(self, n.op_type) else
                       ReferenceEvaluator(n, opsets=opsets, new_ops=[Quant])) for n in model.graph.node]
        self.constants = {t.name: self.wide(numpy_helper.to_array(t)) for t in model.graph.initializer}

    @staticmethod
    def wide(x):
        return single(x) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x

    @staticmethod
    def along(node, p, x):
        """A scale or zero point as it meets x."""
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        if next((a.i for a in node.attribute if a.name == "block_size"), 0):
            p = np.repeat(p, -(-x.shape[axis] // p.shape[axis]), axis).take(range(x.shape[axis]), axis)
        return p.reshape([-1 if k == axis % x.ndim else 1 for k in range(x.ndim)]) if p.ndim == 1 and p.size > 1 else \
            p.reshape(()) if p.size == 1 else p

    def DequantizeLinear(self, node, x, scale, zero=None):
        x64 = x.astype(np.float64) - (0 if zero is None else self.along(node, zero, x).astype(np.float64))
        y = x64 * self.along(node, scale, x)
        return [single(y) if x.dtype == np.int32 else y]

    def QuantizeLinear(self, node, x, scale, zero=np.uint8(0)):
        zero = np.asarray(zero)
        return [saturated(np.rint(single(x / self.along(node, scale, x))) + self.along(node, zero, x), zero)]

    def DynamicQuantizeLinear(self, node, x):
        low, high = min(x.min(), 0), max(x.max(), 0)
        scale = single(single(high - low) / 255)
        zero = saturated(np.rint(single(-low / scale)), np.uint8(0))
        return [saturated(np.rint(single(x / scale)) + zero, zero), scale, zero]

    def QGemm(self, node, a, a_scale, a_zero, b, b_scale, b_zero, c=0, y_scale=None, y_zero=None):
        given = {x.name: x.f if x.name == "alpha" else x.i for x in node.attribute}
        a, b = ((x.astype(np.float64) - z.astype(np.float64)) for x, z in ((a, a_zero), (b, b_zero)))
        total = (a.T if given.get("transA") else a) @ (b.T if given.get("transB") else b) + c
        y = single(total * single(single(given.get("alpha", 1) * a_scale * b_scale) / y_scale))
        return [saturated(np.rint(y) + y_zero, y_zero)]

    def takes_exact(self, node):
        return node.op_type in self.UNROUNDED or \
            (node.op_type == "Mul" and not self.constants.keys() & set(node.input))

    def run(self, sample):
        values = {**self.constants, **{k: self.wide(v) for k, v in sample.items()}, "": None}
        for node, how in self.nodes:
            given = [values[k] if self.takes_exact(node) else self.wide(values[k]) for k in node.input]
            if callable(how):
                results = how(node, *given)
            else:
                results = how.run(None, dict(zip(node.input, given)))
                if node.op_type not in self.MOVES:
                    results = [self.wide(y) for y in results]
            values.update(zip(node.output, results))
        return {o.name: values[o.name] for o in self.graph.output}


def without_free_names(model):
    """onnxruntime takes no node of a domain it does not know."""
    return any(n.domain.startswith(("qonnx", "onnx.brevitas", "finn")) for n in model.graph.node)


class Reference:
    def __init__(self, model):
        self.model, self.session = model, None
        self.inputs = [i for i in model.graph.input if i.name not in {t.name for t in model.graph.initializer}]
        self.outputs = [o.name for o in model.graph.output]
        if without_free_names(model):
            model = onnx.ModelProto.FromString(model.SerializeToString())
            for i in model.opset_import:
                if i.domain == Quant.op_domain:
                    i.version = 1
            self.session, self.name = ReferenceEvaluator(model, new_ops=[Quant]), "onnx.reference"
        else:
            import onnxruntime as ort
            o = ort.SessionOptions()
            o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            o.intra_op_num_threads = o.inter_op_num_threads = 1
            o.use_deterministic_compute = True
            o.log_severity_level = 3
            self.session = ort.InferenceSession(model.SerializeToString(), o, providers=["CPUExecutionProvider"])
            self.name = "onnxruntime"

    def run(self, samples):
        """One run per sample: {output: array with the sample index first}."""
        n = len(next(iter(samples.values())))
        rows = [self.session.run(self.outputs, {k: v[i] for k, v in samples.items()}) for i in range(n)]
        return {name: np.stack([np.asarray(r[k]) for r in rows]) for k, name in enumerate(self.outputs)}


def make_samples(reference, recorded, n):
    """Recorded samples, then random ones: {input: [samples, batch 1, ...]}."""
    rng, out = np.random.default_rng(1), {}
    for i in reference.inputs:
        dims = [max(d.dim_value, 1) for d in i.type.tensor_type.shape.dim]
        own = recorded[i.name] if i.name in recorded else next(iter(recorded.values()))
        own = own.reshape([len(own)] + dims)
        low, high = own.min(axis=0), own.max(axis=0)
        if own.dtype.kind == "f":
            x = low + (high - low) * rng.random([n] + dims)
        else:
            x = rng.integers(low.astype(np.int64), high.astype(np.int64) + 1, [n] + dims)
        out[i.name] = np.concatenate([own, x.astype(own.dtype)])
    return out


class Recorded:
    """The reference's outputs as --record wrote them."""
    name = "recorded"

    def __init__(self, model, folder):
        self.inputs = [i for i in model.graph.input if i.name not in {t.name for t in model.graph.initializer}]
        self.values = dict(np.load(os.path.join(folder, "outputs.npz")))

    def run(self, samples):
        return self.values


def run_mlc(a, model, samples, recorded, folder):
    """Outputs of the compiled model, or the reason why there are none."""
    path, obj, inputs, outputs = (os.path.join(folder, f) for f in ("m.onnx", "m.o", "in.npz", "out.npz"))
    onnx.save(model, path)
    np.savez(inputs, **{k: v for k, v in samples.items()})
    calibration = os.path.join(folder, "calibration.npz")
    np.savez(calibration, **{k: v[:recorded + CALIBRATION] for k, v in samples.items()})
    for command in ([a.mlc, "--target=bpf-raw", *a.mlc_arg, "--calibrate=" + calibration, path, "-o", obj],
                    [a.mlc_run, "eval", obj, "--backend=" + a.backend, "--inputs=" + inputs, "--outputs=" + outputs]):
        p = subprocess.run(command, capture_output=True, text=True, timeout=a.timeout)
        if p.returncode:
            lines = [line for line in p.stderr.splitlines() if "error:" in line] or p.stderr.splitlines() or ["?"]
            return None, re.sub(r"^\S*: (error: )?", "", lines[0].strip())[:150]
    with np.load(outputs) as f:
        return dict(f), ""


def constants(graph):
    c = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    c.update({n.output[0]: numpy_helper.to_array(n.attribute[0].t) for n in graph.node
              if n.op_type == "Constant" and n.attribute[0].name == "value"})
    return c


def step_of(graph, name):
    """The size of one quantization step of an output, 0 where it is not quantized."""
    c = constants(graph)
    for n in graph.node:
        if name in n.output:
            if n.op_type == "DequantizeLinear" and n.input[1] in c:
                return float(np.max(c[n.input[1]]))
            if n.op_type in ("Reshape", "Flatten", "Squeeze", "Transpose", "Identity", "Unsqueeze"):
                return step_of(graph, n.input[0])
            return 1.0 if n.op_type in QUANTIZERS and n.op_type != "Quant" else 0.0
    return 0.0


def exposed(model, nodes):
    """The model with the results of `nodes` and the inputs of those that are QuantizeLinear as its outputs."""
    wide = onnx.ModelProto.FromString(model.SerializeToString())
    del wide.graph.output[:]
    known = {i.name for i in wide.graph.input} | set(constants(wide.graph))
    inferred = {v.name: v for v in onnx.shape_inference.infer_shapes(wide).graph.value_info}
    originals = {o.name: o for o in model.graph.output}
    for n in nodes:
        for t in [n.output[0]] + ([n.input[0]] if n.op_type == "QuantizeLinear" else []):
            if t not in known:
                wide.graph.output.append(originals.get(t) or inferred.get(t) or helper.make_empty_tensor_value_info(t))
                known.add(t)
    return wide


def explain(a, model, samples, recorded, bad, folder):
    """The first quantized values that differ on sample indices `bad`: {node: [count, largest distance from a tie]}."""
    nodes = [n for n in model.graph.node if n.op_type in QUANTIZERS]
    c, want, got, why = constants(model.graph), {}, {}, "no quantized value to look at"
    some = {k: np.concatenate([v[:recorded], v[bad]]) for k, v in samples.items()}
    for group in [nodes] + [[n] for n in nodes] if nodes else []:
        try:
            wide = exposed(model, group)
            w = Reference(wide).run({k: v[bad] for k, v in samples.items()})
            g, why = run_mlc(a, wide, some, recorded, folder)
        except Exception as e:  # whatever onnxruntime or the checker raises
            g, why = None, str(e).splitlines()[0][:80]
        if g is not None:
            want.update(w)
            got.update({k: v.reshape((len(bad) + recorded,) + w[k].shape[1:])[recorded:] for k, v in g.items() if k in w})
            if group is nodes:
                break
    if not want:
        return {"?": [len(bad), why]}
    found = {}
    for row in range(len(bad)):
        for n in nodes:
            t = n.output[0]
            if t not in want:
                continue
            at = np.flatnonzero(want[t][row].ravel() != got[t][row].ravel())
            if not len(at):
                continue
            entry = found.setdefault(f"{n.name or t} ({n.op_type})", [0, 0.0])
            entry[0] += 1
            if n.op_type == "QuantizeLinear" and n.input[0] in want and n.input[1] in c and c[n.input[1]].size == 1:
                x = want[n.input[0]][row].ravel()[at].astype(np.float64) / float(c[n.input[1]].ravel()[0])
                entry[1] = max(entry[1], float(np.max(np.abs(np.abs(x - np.floor(x)) - 0.5))))
            break
        else:
            found.setdefault("behind the last quantized value", [0, 0.0])[0] += 1
    return found


def second_opinion(model, samples, bad, want, got):
    """Of samples `bad`, how many the onnx package's evaluator has as mlc, as onnxruntime, or otherwise."""
    try:
        other = ReferenceEvaluator(model, new_ops=[Quant])
        names = [o.name for o in model.graph.output]
        as_mlc = as_ort = 0
        for i in bad:
            values = dict(zip(names, other.run(names, {k: v[i] for k, v in samples.items()})))
            as_mlc += all(np.array_equal(np.ravel(values[k]), np.ravel(got[k][i])) for k in names)
            as_ort += all(np.array_equal(np.ravel(values[k]), np.ravel(want[k][i])) for k in names)
        return f"the onnx package's evaluator agrees with mlc in {as_mlc} of {len(bad)}, with onnxruntime in {as_ort}"
    except Exception:  # an op that it does not have
        return None


def rounded_once(a, model, samples, which, got):
    """Of samples `which`, how many mlc has as RoundedOnce says, real numbers as --real says; None: it cannot tell."""
    most = {k: max(float(np.max(np.abs(v))), 1e-30) for k, v in got.items() if v.dtype.kind == "f"}
    same = 0
    try:
        evaluator = RoundedOnce(model)
        for i in which:
            values = evaluator.run({k: v[i] for k, v in samples.items()})
            same += all(np.array_equal(np.ravel(v).astype(got[k].dtype), np.ravel(got[k][i]))
                        if k not in most or step_of(model.graph, k) else
                        np.max(np.abs(np.ravel(v) - np.ravel(got[k][i]))) <= a.real * most[k]
                        for k, v in values.items() if v.size)
        return same
    except Exception:  # an op that the onnx package does not have
        return None


def record(a, folder, model, samples, outputs):
    to = os.path.join(a.record, os.path.basename(folder))
    os.makedirs(to, exist_ok=True)
    onnx.save(model, os.path.join(to, "model.onnx"))
    np.savez_compressed(os.path.join(to, "inputs.npz"), **samples)
    np.savez_compressed(os.path.join(to, "outputs.npz"), **outputs)
    return None


def deviations(folder):
    path = os.path.join(os.path.dirname(folder), "deviations.json")
    if not os.path.exists(path):
        return {}
    with open(path) as f:
        return json.load(f)


def compare(a, folder):
    r = {"model": os.path.basename(folder), "ops": "", "samples": 0, "outputs": 0, "equal": 0, "steps": 0.0, "why": ""}
    model = onnx.load(os.path.join(folder, "model.onnx"))
    present = {n.op_type for n in model.graph.node} & QUANTIZED
    if not present:
        return None
    r["ops"] = ", ".join(sorted(present))
    with tempfile.TemporaryDirectory() as tmp:
        try:
            reference = Recorded(model, folder) if a.recorded else Reference(model)
            recorded = dict(np.load(os.path.join(folder, "inputs.npz")))
            n_recorded = len(next(iter(recorded.values())))
            samples = make_samples(reference, recorded, a.samples)
            if a.record:
                return record(a, folder, model, samples, reference.run(samples))
            got, why = run_mlc(a, model, samples, n_recorded, tmp)
            if got is None:
                r["why"] = why
                return r
            want = reference.run(samples)
        except subprocess.TimeoutExpired:
            r["why"] = f"no answer in {a.timeout} s"
            return r
        except Exception as e:  # whatever onnxruntime or the checker raises
            r["why"] = str(e).splitlines()[0][:150]
            return r
        n = n_recorded + a.samples
        different, notes = np.zeros(n, bool), []
        for name, w in want.items():
            if name not in got:
                r["why"] = f"output {name} is missing"
                return r
            w = w.reshape(n, -1)
            g = got[name].reshape(n, -1)
            delta = np.abs(g.astype(np.float64) - w.astype(np.float64))
            step, same = 1.0 if w.dtype.kind in "iub" else step_of(model.graph, name), g == w
            if not step and w.dtype.kind == "f":  # a real number: within the rounding of float sums
                scale = max(float(np.max(np.abs(w))), 1e-30)
                same = delta <= a.real * scale
                notes.append(f"{name}: real, off by {np.max(delta) / scale:.1e} of its range")
                step = scale
            different |= ~same.all(axis=1)
            r["steps"] = max(r["steps"], float(np.max(delta) / step) if w.size else 0.0)
        r.update(samples=n, outputs=len(want), equal=int(n - different.sum()), reference=reference.name)
        bad = np.flatnonzero(different)
        allowed = deviations(folder).get(r["model"])
        if allowed and len(bad) <= allowed["samples"] * n and r["steps"] <= allowed["steps"] * 1.001:
            r["allowed"] = True
            notes.append(allowed["why"])
        shaped = {k: v.reshape(want[k].shape) for k, v in got.items() if k in want}
        if not a.recorded:
            which = np.union1d(bad, np.arange(min(n, a.rounded)))
            r["rounded"], r["of"] = rounded_once(a, model, samples, which, shaped), len(which)
        if len(bad) and not a.recorded:
            found = explain(a, model, samples, n_recorded, bad[:a.explain], tmp)
            if reference.name == "onnxruntime":
                notes.append(second_opinion(model, samples, bad[:a.explain], want, shaped))
            notes += [f"{k}: first in {v[0]} of {min(len(bad), a.explain)}" +
                      (f", at most {v[1]:.1e} of a step from a tie" if isinstance(v[1], float) and v[1] else
                       f" ({v[1]})" if isinstance(v[1], str) else "") for k, v in found.items()]
        r["why"] = "; ".join(note for note in notes if note)
    return r


HEADER = """# Quantized models against ONNX's semantics

Made by `test/Quantized/compare.py --samples N --markdown FILE`: each model, compiled and run in the {backend}, against
the reference on the recorded inputs and on random ones, uniform over the recorded range of each feature. *Equal* counts
samples all of whose outputs are equal: quantized and integer ones bit by bit, real ones (of models that end in floats)
within {real:g} of their range. *Worst* is the largest deviation in steps of the output's quantization, or in parts of a
real output's range.

*Rounded once* counts the samples that are equal to another reading of ONNX, in which no order of additions matters:
node by node, the exact result of each (double precision stands for it), rounded once to its type, but that sums and
products of two tensors get what DequantizeLinear gives, biases apart, as it is. It is computed for every sample that
differs, and for {rounded} others; not for operators that the onnx package does not have.

The last column names, for up to {explain} of the samples that differ, the quantized value that does so first, how far
the reference's float value was from the middle between two steps, and how often the onnx package's evaluator agrees
with either side. What to expect there:

- The references add floats, in an order that ONNX leaves open, and round at each step. Where the exact value of a dot
  product or mean is within that of a tie, they may fall on the other side; both often do so together, since both begin
  with the same rounded products. The mean of numbers of the result's own scale is often a tie exactly
  (tq_fx_int8_cnn1d_leg), and no two of the three agree.
- Values of 16 bits have steps near the resolution of float: such ties are frequent.
- Operators on floats that no quantization is in front of (LSTM, Softmax, the whole of ortq_sk_scaler_mlp_qdq_s8s8 but
  its end, what is between the products of dynamic models) are fixed-point arithmetic in mlc: near a tie, one step either
  way. One step of an inner value may be more than one of an output.

| model | ops | reference | samples | equal | rounded once | worst | where and why |
|---|---|---|---|---|---|---|---|
"""


def table(results, a):
    rows = [f"| {r['model']} | {r['ops']} | {r.get('reference', '-')} | {r['samples'] or '-'} | "
            f"{r['equal'] if r['samples'] else 'does not run'} | "
            f"{'-' if r.get('rounded') is None else '%d of %d' % (r['rounded'], r['of'])} | "
            f"{r['steps']:.3g} | {r['why']} |\n" for r in results]
    return HEADER.format(backend=a.backend, real=a.real, explain=a.explain, rounded=a.rounded) + "".join(rows)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--mlc", default="mlc")
    p.add_argument("--mlc-run", default="mlc-run")
    p.add_argument("--mlc-arg", action="append", default=[])
    p.add_argument("--backend", default="kernel", choices=["kernel", "host"])
    p.add_argument("--samples", type=int, default=200, help="random samples per model")
    p.add_argument("--explain", type=int, default=50, help="differing samples to look into")
    p.add_argument("--rounded", type=int, default=200, help="samples to compare with RoundedOnce besides differing ones")
    p.add_argument("--real", type=float, default=1e-4, help="what a real output may be off, in parts of its range")
    p.add_argument("--timeout", type=float, default=600)
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--recorded", action="store_true", help="compare with recorded outputs, on recorded inputs")
    p.add_argument("--record", metavar="OUT", help="write models, samples and the reference's outputs")
    p.add_argument("--markdown")
    p.add_argument("--json")
    p.add_argument("folders", nargs="+")
    a = p.parse_args()
    if a.recorded:
        a.samples = 0
    found = sorted({d for f in a.folders for d, _, files in os.walk(f) if {"model.onnx", "inputs.npz"} <= set(files)})
    results = []
    with ThreadPoolExecutor(a.jobs) as pool:
        for r in pool.map(lambda d: compare(a, d), found):
            if r is None:
                continue
            results.append(r)
            state = "fails" if not r["samples"] else "equal" if r["equal"] == r["samples"] else \
                "allowed" if r.get("allowed") else "differs"
            print(f"{state:8}{r['equal']:6}/{r['samples']:<6} worst {r['steps']:<9.3g} {r['model']}  {r['why']}", flush=True)
    equal = sum(r["samples"] > 0 and r["equal"] == r["samples"] for r in results)
    print(f"{equal} of {len(results)} models equal on every sample")
    if a.markdown:
        with open(a.markdown, "w") as f:
            f.write(table(results, a))
    if a.json:
        with open(a.json, "w") as f:
            json.dump(results, f, indent=1)
    return 0 if equal + sum(r.get("allowed", False) for r in results) == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
