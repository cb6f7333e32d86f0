"""model.py WHAT OUT...: arrays for the model of Model.h, and what it makes of them, computed with numpy."""
import sys

import numpy as np

N = 3000
rng = np.random.default_rng(7)


def inputs():
    a = rng.uniform(-70, 70, (N, 2)).astype(np.float32)
    a[:4] = [[np.nan, np.inf], [-np.inf, 0.25], [0.75, -0.25], [1.25, 1e30]]
    return a, rng.integers(-1200000, 1200000, (N, 1)).astype(np.int32)


def model(qa, qb):
    y = 2 * (qa - 3) + qb
    return y.reshape(-1, 1, 2), (y[:, 1] > y[:, 0]).reshape(-1, 1), qb > 0


def reference(a, b):
    qa = np.where(np.isnan(a), 3, np.clip(np.rint(a.astype(float) / 0.5) + 3, -100, 100)).astype(np.int64)
    y, label, positive = model(qa, np.clip(b.astype(np.int64), -1000000, 1000000))
    return {"y": (y * 0.25).astype(np.float32), "label": label.astype(np.int64), "positive": positive}


what, out = sys.argv[1], sys.argv[2:]
a, b = inputs()
if what == "inputs":
    np.savez(out[0], b=b, a=a)
    np.savez_compressed(out[1], **reference(a, b))
elif what == "types":
    got = np.load(out[0])
    for name, array in reference(a, b).items():
        assert got[name].dtype == array.dtype and got[name].shape == array.shape, name
        assert (got[name] == array).all(), name
elif what == "integers":
    qa, qb = rng.integers(-100, 101, (N, 1, 2)), rng.integers(-1000000, 1000001, (N, 1, 1))
    y, label, positive = model(qa.reshape(N, 2), qb.reshape(N, 1))
    np.savez(out[0], a=qa, b=qb)
    np.savez(out[1], y=y, label=label.astype(np.int64), positive=positive.astype(np.int64))
elif what == "out-of-range":
    np.savez(out[0], a=np.array([[101, 0]]), b=np.array([[0]]))
elif what == "differing":
    r = reference(a, b)
    r["y"][7, 0, 1] += 10000
    r["y"][9, 0, 0] -= 2
    np.savez(out[0], **r)
elif what == "bad-shape":
    np.savez(out[0], a=np.zeros((5, 3)), b=np.zeros((5, 1)))
elif what == "uneven":
    np.savez(out[0], a=np.zeros((5, 2)), b=np.zeros((4, 1)))
elif what == "text":
    np.savez(out[0], a=np.array([["x", "y"]]), b=np.zeros((1, 1)))
else:
    sys.exit(f"what is {what}?")
