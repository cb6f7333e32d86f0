"""Checks that a model in the kernel decides like onnxruntime, except close to the threshold.

usage: decisions.py OUTPUTS.npz REFERENCE.npz MODEL THRESHOLD

OUTPUTS holds the kernel's p, REFERENCE onnxruntime's p_MODEL.
"""
import sys

import numpy as np

MARGIN = 0.01

outputs, reference, model, threshold = sys.argv[1:]
threshold = float(threshold)
kernel = np.load(outputs)["p"].reshape(-1)
expected = np.load(reference)["p_" + model].reshape(-1)
assert kernel.shape == expected.shape and len(expected) >= 2000, (kernel.shape, expected.shape)
differs = (kernel >= threshold) != (expected >= threshold)
wrong = differs & (abs(expected - threshold) > MARGIN)
print(f"{model}: {len(expected)} samples, {differs.sum()} decided otherwise, {wrong.sum()} of them beyond the margin, "
      f"error at most {abs(kernel - expected).max():.3g}")
sys.exit(bool(wrong.any()))
