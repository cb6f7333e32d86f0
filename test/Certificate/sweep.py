"""sweep.py [--models=DIR] [--build=DIR] [--inputs=N] [--seconds=S] [--jobs=N] [--markdown=FILE] [NAME...]

`mlc-opt --certify` on every model under DIR: the certified bound of each output, the worst error that a search over N inputs
found (fewer where these would take more than S seconds), and how many results lie outside their bounds. Twice: on the whole default
range of float inputs, and on the one that the recorded samples need, in 16 bits, as a user would declare it. Exit status 1
if any bound was violated.
"""
import argparse
import math
import os
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx

here = os.path.dirname(os.path.abspath(__file__))
LINE = re.compile(r"^(.*?) +bound (\S+), worst (\S+), tightness (\S+), range (\S+), violations (\d+)")
QUANTIZERS = {"QuantizeLinear", "Quant"}  # their models say themselves what the range of inputs is
DENSE = {"Gemm", "MatMul", "FusedGemm"}
OTHER = {"Conv", "ConvTranspose", "LSTM", "GRU", "RNN", "LayerNormalization", "Einsum", "Scan", "Loop", "QuantizeLinear",
         "Quant", "DynamicQuantizeLinear", "MatMulInteger", "ReduceMean", "ReduceSum", "ReduceMax", "Exp", "Pow", "Gather"}


def is_mlp(model):
    """Up to three dense layers and activations."""
    ops = [node.op_type for node in model.graph.node]
    return 2 <= sum(op in DENSE for op in ops) <= 3 and not OTHER & set(ops)


def declared_format(folder):
    """qM.N of 16 bits for the recorded inputs; None where that would need a format for each, or there is none."""
    try:
        with np.load(os.path.join(folder, "inputs.npz")) as samples:
            most = max(float(np.abs(samples[k]).max()) for k in samples if samples[k].dtype.kind == "f")
    except (OSError, ValueError):
        return None
    whole = max(0, math.floor(math.log2(most)) + 1) if most > 0 else 0
    return f"q{whole}.{15 - whole}" if whole <= 15 else None


def certify(options, path, inputs, extra):
    """[(output, bound, worst, tightness, violations)], or the diagnostic."""
    r = subprocess.run([os.path.join(options.build, "bin", "mlc-opt"), f"--certify={inputs}", *extra, path],
                       capture_output=True, text=True, errors="replace", timeout=20 * options.seconds)
    found = [(m[1].strip(), *map(float, m.groups()[1:4]), int(m[6])) for m in map(LINE.match, r.stdout.splitlines()) if m]
    return found or r.stderr.split("error: ")[-1].splitlines()[0]


def certify_for(options, path, extra):
    """The same on as many inputs as the time allows, and how many these are."""
    start, few = 4, 50  # the first few inputs are the ones that are searched for longest
    try:
        times = [time.monotonic()]
        for n in (start, start + few, start + 20 * few):
            result = certify(options, path, n, extra)
            times.append(time.monotonic())
            if isinstance(result, str):
                return result, 0
            seconds = [b - a for a, b in zip(times, times[1:])]
            once = max(seconds[-1] - seconds[0], 1e-3) / (n - start or 1)
            if n > start and seconds[-1] > 1.2 * seconds[0]:  # else it drowns in what all have
                break
        inputs = int(min(options.inputs, options.seconds / once))
        return (certify(options, path, inputs, extra), inputs) if inputs > n else (result, n)
    except subprocess.TimeoutExpired:
        return "takes too long", 0


def examine(options, folder):
    path = os.path.join(folder, "model.onnx")
    model = onnx.load(path)
    rows = []
    formats = [("default", [])]
    declared = None if any(node.op_type in QUANTIZERS for node in model.graph.node) else declared_format(folder)
    if declared:
        formats.append((declared, ["--input-format=" + declared]))
    for label, extra in formats:
        rows.append((label, *certify_for(options, path, extra)))
        if isinstance(rows[-1][1], str):
            break
    return is_mlp(model), rows


def row_of(name, mlp, label, result, inputs):
    bound, worst, tightness = max((r[1:4] for r in result), key=lambda r: r[0])
    # A bound below what floats resolve is that of a quantized model: exact up to its last conversion.
    tight = "exact" if bound < max(worst, 1e-12) else "" if worst == 0 else f"{tightness:.3g}"
    return f"| {name}{' *' if mlp else ''} | {label} | {inputs} | {bound:.3g} | {worst:.3g} | {tight} | " \
           f"{sum(r[4] for r in result)} |"


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--models", default="/work/shared/models")
    parser.add_argument("--build", default=os.path.join(here, "..", "..", "build"))
    parser.add_argument("--inputs", type=int, default=100000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--markdown")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    folders = [(n, os.path.join(options.models, group, n)) for group in ("exported", "public")
               for n in sorted(os.listdir(os.path.join(options.models, group)))]
    folders = [(n, f) for n, f in folders
               if os.path.exists(os.path.join(f, "model.onnx")) and (not options.names or n in options.names)]
    lines, refused, violations, fewer, tightness = [], 0, 0, 0, {}
    pool = ThreadPoolExecutor(options.jobs)
    for (name, _), (mlp, rows) in zip(folders, pool.map(lambda f: examine(options, f[1]), folders)):
        for label, result, inputs in rows:
            if isinstance(result, str):
                refused += 1
                print(f"{name}: {result}", file=sys.stderr)
                continue
            lines.append(row_of(name, mlp, label, result, inputs))
            print(lines[-1], flush=True)
            violations += sum(r[4] for r in result)
            fewer += inputs < options.inputs
            kind = "default" if label == "default" else "declared"
            for who in ["all models"] + ["MLPs (*)"] * mlp:
                tightness.setdefault((kind, who), []).extend(r[3] for r in result if r[1] >= r[2] > 0)
    summary = [f"| {who} | {kind} | {len(t)} | {statistics.median(t):.3g} |" for (kind, who), t in sorted(tightness.items())]
    print("\n".join(summary), f"\n{violations} violations, {refused} models refused, {fewer} rows cut short")
    if options.markdown:
        with open(options.markdown, "w") as f:
            f.write(f"""# Certified bounds against what a search finds

Made by `test/Certificate/sweep.py --inputs={options.inputs} --seconds={options.seconds:g} --markdown FILE`: the output with the
largest bound of each model, the largest error found, and their ratio. {len(lines) - fewer} of {len(lines)} rows are of {options.inputs}
inputs; the others, which say so, would have taken longer than {options.seconds:g} s. *Default* is the whole range of q15.16, +-32768; the
other ranges are those of the recorded samples in 16 bits. Outputs that are exact, or in which no error was found (labels,
whose bound speaks of ties), have no ratio. {violations} results outside their bounds; {refused} models use operators
that are not supported.

| outputs of | range | count | median of bound / worst |
|---|---|---|---|
""" + "\n".join(summary) + """

| model | range | inputs | bound | worst | bound / worst | outside |
|---|---|---|---|---|---|---|
""" + "\n".join(lines) + "\n")
    return violations != 0


sys.exit(main())
