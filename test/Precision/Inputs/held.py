"""held.py MLC-RUN DIRECTORY NAME AGREEMENT ERROR: NAME.o against NAME.onnx on the samples kept back."""
import subprocess
import sys

import numpy as np
from onnx.reference import ReferenceEvaluator

run, directory, name, agreement, error = *sys.argv[1:4], *map(float, sys.argv[4:])
x = np.load(f"{directory}/{name}.held.npz")["x"]
np.savez(f"{directory}/in.npz", x=x)
subprocess.run([run, "eval", f"{directory}/{name}.o", "--backend=host", f"--inputs={directory}/in.npz",
                f"--outputs={directory}/out.npz"], check=True, stdout=subprocess.DEVNULL)
model = ReferenceEvaluator(f"{directory}/{name}.onnx")
want = np.concatenate([model.run(None, {"x": v[None]})[0] for v in x])
got = np.load(f"{directory}/out.npz")["y"].reshape(want.shape)


def decide(y):
    return y.argmax(1) if y.shape[1] > 1 else y[:, 0] >= 0.5


same, off = np.mean(decide(got) == decide(want)), np.sqrt(np.mean((got - want) ** 2))
if same < agreement or off > error:
    sys.exit(f"{name}: decisions agree on {same:.3f} of the samples, error {off:.3g}")
