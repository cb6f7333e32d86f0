"""Trains an autoencoder on benign packets only, exports its anomaly score to ONNX and records onnxruntime's scores.

usage: train.py [--data ../packet-filter/data/packets.npz] [--seed N] [--epochs N]

The score is the mean squared difference between the normalized features and what is left of them behind a layer of
eight. A packet whose score is above that of all but one in 500 benign training packets is an anomaly. Written are
model.onnx and scores/NAME.golden.npz for the captures of the packet filter's example.
"""
import argparse
import pathlib
import sys

import numpy as np
import onnxruntime
import torch
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
FILTER = HERE.parent / "packet-filter"
sys.path += [str(HERE.parent), str(FILTER)]
import features  # noqa: E402
from export import export  # noqa: E402

FALSE_ALARMS = 0.002


class Autoencoder(nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", 1 / std.clamp(min=1e-2))
        n = len(mean)
        self.encode = nn.Sequential(nn.Linear(n, 24), nn.ReLU(), nn.Linear(24, 8), nn.ReLU())
        self.decode = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, n))

    def normalize(self, x):
        return ((x - self.mean) * self.scale).clamp(-4, 4)

    def forward(self, x):
        z = self.normalize(x)
        difference = z - self.decode(self.encode(z))
        return (difference * difference).mean(1, keepdim=True)


def train(x, seed, epochs):
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # sums in a fixed order: the same seed gives the same model
    x = torch.tensor(x, dtype=torch.float32)
    model = Autoencoder(x.mean(0), x.std(0))
    batches = -(-len(x) // 512)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * batches)
    for epoch in range(epochs):
        for rows in torch.randperm(len(x)).split(512):
            optimizer.zero_grad()
            value = model(x[rows]).mean()
            value.backward()
            optimizer.step()
            schedule.step()
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1}: loss {value.item():.5f}")
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=pathlib.Path, default=FILTER / "data/packets.npz")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=40)
    args = parser.parse_args()

    data = np.load(args.data)
    x, y, part = data["X"], data["y"], data["split"][data["capture"]]
    benign = x[(part == "train") & (y == 0)]
    model = train(benign, args.seed, args.epochs)
    with torch.no_grad():
        usual = model(torch.tensor(benign, dtype=torch.float32)).numpy()
    threshold = float(f"{np.quantile(usual, 1 - FALSE_ALARMS):.4g}")
    export(model, torch.zeros(2, x.shape[1]), "score", {
        "features": ",".join(features.NAMES), "labels": "usual,anomaly", "actions": f"drop: score >= {threshold}",
    }, HERE / "model.onnx")
    print(f"threshold {threshold}")

    session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])

    def score(rows):
        return session.run(["score"], {"x": rows.astype(np.float32)})[0][:, 0]

    def report(name, labels, scores):
        says = scores >= threshold
        print(f"{name}: {len(labels)} packets, malicious dropped {(says & (labels == 1)).sum()} of "
              f"{(labels == 1).sum()}, benign dropped {(says & (labels == 0)).sum()} of {(labels == 0).sum()}")

    for name in ("train", "test"):
        report(name, y[part == name], score(x[part == name]))
    (HERE / "scores").mkdir(exist_ok=True)
    for capture in sorted((FILTER / "captures").glob("*.golden.npz")):
        golden = np.load(capture)
        p = score(golden["X"])
        np.savez_compressed(HERE / "scores" / capture.name, p=p)
        report(capture.name.partition(".")[0], golden["y"][golden["y"] >= 0], p[golden["y"] >= 0])


if __name__ == "__main__":
    main()
