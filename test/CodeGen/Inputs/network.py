"""network.py NAME PATH: a network of the benchmark as PATH.onnx, its inputs as PATH.npz."""
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "Bench"))
import models

load = models.make(sys.argv[1])
pathlib.Path(sys.argv[2] + ".onnx").write_bytes(load.model.SerializeToString())
np.savez(sys.argv[2] + ".npz", x=load.inputs)
