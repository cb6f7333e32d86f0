"""kernel.py [--models=DIR] [--build=DIR] [--inputs=N] [--markdown=FILE] NAME...

The certified bounds of float models, checked in the kernel: N inputs, uniform over the range that the recorded samples need
in 16 bits, one element in eight at an end of it, through the compiled program and through onnxruntime. Quick enough for
convolutional and recurrent models, on which sweep.py gets through few inputs. onnxruntime computes with floats, so a result
counts as outside where it is further off than the bound and SLACK of the largest output. Exit status 1 if one is.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime

here = os.path.dirname(os.path.abspath(__file__))
SLACK = 2e-5
BATCH = 4096


def declared_format(samples):
    most = max((float(np.abs(x).max()) for x in samples.values() if x.dtype.kind == "f"), default=0)
    whole = max(0, int(np.floor(np.log2(most))) + 1) if most > 0 else 0
    return f"q{whole}.{15 - whole}", 2.0 ** whole, 2.0 ** (whole - 15)


def inputs_like(samples, rng, n, most, step):
    made = {}
    for name, x in samples.items():
        shape = (n, *x.shape[1:])
        if x.dtype.kind != "f":
            made[name] = rng.integers(x.min(), x.max() + 1, shape).astype(x.dtype)
            continue
        v = rng.uniform(-most, most - step, shape)
        v = np.where(rng.random(shape) < 1 / 8, np.where(rng.random(shape) < 0.5, -most, most - step), v)
        made[name] = (np.round(v / step) * step).astype(np.float32)
    return made


def reference(session, batch):
    """All outputs; sample by sample where the model has no dynamic batch."""
    shapes = {i.name: [d if isinstance(d, int) else 1 for d in i.shape] for i in session.get_inputs()}
    n = len(next(iter(batch.values())))
    if all(i.shape and not isinstance(i.shape[0], int) for i in session.get_inputs()):
        return session.run(None, {k: v.reshape(n, *shapes[k][1:]) for k, v in batch.items()})
    rows = [session.run(None, {k: v[i].reshape(shapes[k]) for k, v in batch.items()}) for i in range(n)]
    return [np.stack([row[k] for row in rows]) for k in range(len(rows[0]))]


def examine(options, folder, work):
    path, obj, report = (os.path.join(folder, "model.onnx"), os.path.join(work, "m.o"), os.path.join(work, "r.json"))
    with np.load(os.path.join(folder, "inputs.npz")) as f:
        samples = dict(f)
    fmt, most, step = declared_format(samples)
    tools = os.path.join(options.build, "bin")
    subprocess.run([f"{tools}/mlc", "--target=bpf-raw", f"--input-format={fmt}", f"--report={report}", "-o", obj, path],
                   check=True, capture_output=True)
    outputs = json.load(open(report))["outputs"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rng, worst, outside, done = np.random.default_rng(1), {}, 0, 0
    while done < options.inputs:
        n = min(BATCH, options.inputs - done)
        batch = inputs_like(samples, rng, n, most, step)
        np.savez(f"{work}/in.npz", **batch)
        subprocess.run([f"{tools}/mlc-run", "eval", obj, f"--inputs={work}/in.npz", f"--outputs={work}/out.npz"], check=True,
                       capture_output=True)
        ours, theirs = np.load(f"{work}/out.npz"), dict(zip([o.name for o in session.get_outputs()], reference(session, batch)))
        for o in outputs:
            want = np.asarray(theirs[o["name"]]).reshape(n, -1)
            if want.dtype.kind != "f":
                continue
            off = np.abs(ours[o["name"]].reshape(n, -1) - want).max(1)
            worst[o["name"]] = max(worst.get(o["name"], 0), float(off.max()))
            outside += int((off > o["bound"] + SLACK * max(1e-30, np.abs(want).max())).sum())
        done += n
    real = [(o["bound"], worst[o["name"]]) for o in outputs if o["name"] in worst]
    bound, most_off = max(real, default=(0, 0))
    return f"{fmt} | {done} | {bound:.3g} | {most_off:.3g} | {outside}", outside


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--models", default="/work/shared/models")
    parser.add_argument("--build", default=os.path.join(here, "..", "..", "build"))
    parser.add_argument("--inputs", type=int, default=100000)
    parser.add_argument("--markdown")
    parser.add_argument("names", nargs="+")
    options = parser.parse_args()
    lines, violations = [], 0
    for name in options.names:
        folders = [os.path.join(options.models, group, name) for group in ("exported", "public")]
        with tempfile.TemporaryDirectory() as work:
            try:
                row, outside = examine(options, next(f for f in folders if os.path.isdir(f)), work)
            except Exception as e:  # one model's trouble is not that of the others
                print(f"{name}: {str(e)[:200]}", file=sys.stderr)
                continue
        violations += outside
        lines.append(f"| {name} | {row} |")
        print(lines[-1], flush=True)
    if options.markdown:
        with open(options.markdown, "w") as f:
            f.write(f"""# Certified bounds in the kernel

Made by `test/Certificate/kernel.py`, which see: {options.inputs} inputs for each of the models on which the search of
RESULTS.md gets through fewer in any range. That bounds are far above what is found says that random inputs are not the
worst ones.

| model | range | inputs | bound | worst | outside |
|---|---|---|---|---|---|
""" + "\n".join(lines) + "\n")
    return violations != 0


sys.exit(main())
