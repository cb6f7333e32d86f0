"""Trains the filter's model, exports it to ONNX and records what onnxruntime makes of the captures.

usage: train.py [--data data/packets.npz] [--seed N] [--epochs N]

data/packets.npz holds the features of 27 captures of a test bed (X, y, capture) and which of them are for training
(split). Written are model.onnx and, in captures/NAME.golden.npz, features X, labels y and onnxruntime's scores p of
each packet of captures/NAME.pcap. Labels of captures are not computed: they are kept.
"""
import argparse
import pathlib
import sys

import numpy as np
import onnxruntime
import torch
from torch import nn

import features

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from export import export  # noqa: E402
THRESHOLD = 0.5


class Filter(nn.Module):
    """Score of a packet: at least 0.5 for malicious ones. Takes features as they are; normalization is inside."""

    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer("mean", mean)
        # A feature that never changes in training says nothing: whatever it is later, it counts as 0.
        self.register_buffer("scale", torch.where(std > 1e-6, 1 / std.clamp(min=1e-6), torch.zeros_like(std)))
        self.net = nn.Sequential(nn.Linear(len(mean), 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(),
                                 nn.Linear(32, 1))

    def normalize(self, x):
        return ((x - self.mean) * self.scale).clamp(-4, 4)

    def forward(self, x):
        return torch.sigmoid(self.net(self.normalize(x)))


def train(x, y, seed, epochs):
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # sums in a fixed order: the same seed gives the same model
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
    model = Filter(x.mean(0), x.std(0))
    batches = -(-len(x) // 1024)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * batches)
    loss = nn.BCEWithLogitsLoss(pos_weight=(y == 0).sum() / (y == 1).sum())
    z = model.normalize(x)
    for epoch in range(epochs):
        for rows in torch.randperm(len(x)).split(1024):
            optimizer.zero_grad()
            # Hiding features from it keeps the model from relying on a few that give one attack tool away. How many
            # to hide was chosen by leaving one capture of the training part out at a time.
            value = loss(model.net(nn.functional.dropout(z[rows], 0.3) * 0.7), y[rows])
            value.backward()
            optimizer.step()
            schedule.step()
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1}: loss {value.item():.5f}")
    return model.eval()


def score(session, x):
    return session.run(["p"], {"x": x.astype(np.float32)})[0][:, 0]


def report(name, y, p):
    says = p >= THRESHOLD
    tp, fp = int((says & (y == 1)).sum()), int((says & (y == 0)).sum())
    fn, tn = int((~says & (y == 1)).sum()), int((~says & (y == 0)).sum())
    print(f"{name}: {len(y)} packets, accuracy {(tp + tn) / len(y):.4f}, malicious dropped {tp} of {tp + fn}, "
          f"benign dropped {fp} of {tn + fp}")


def record(session, capture):
    """Brings captures/NAME.golden.npz up to date with the features and the model."""
    path = capture.with_suffix(".golden.npz")
    y = np.load(path)["y"]
    x, _ = features.extract(capture)
    if len(x) != len(y):
        raise SystemExit(f"{path}: {len(y)} labels, but {capture.name} has {len(x)} IPv4 packets")
    p = score(session, x)
    np.savez_compressed(path, X=x, y=y, p=p, names=np.array(features.NAMES))
    report(capture.stem, y[y >= 0], p[y >= 0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=pathlib.Path, default=HERE / "data/packets.npz")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=30)
    args = parser.parse_args()

    data = np.load(args.data)
    x, y, part = data["X"], data["y"], data["split"][data["capture"]]
    model = train(x[part == "train"], y[part == "train"], args.seed, args.epochs)
    export(model, torch.zeros(2, len(features.NAMES)), "p", {
        "features": ",".join(features.NAMES), "labels": "benign,malicious", "actions": f"drop: p >= {THRESHOLD}",
    }, HERE / "model.onnx")
    session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
    for name in ("train", "test"):
        report(name, y[part == name], score(session, x[part == name]))
    for capture in sorted((HERE / "captures").glob("*.pcap")):
        record(session, capture)


if __name__ == "__main__":
    main()
