"""Trains a small convolutional network on payload bytes, exports it to ONNX and records onnxruntime's scores.

usage: train.py [--seed N] [--epochs N]         trains on data/payloads.npz
       train.py --captures DIR ...              first makes data and captures anew from DIR, which collect.py wrote

data/payloads.npz holds the first 64 payload bytes x of the packets of the training part, each different one once, and
their class y and how many were alike. Written are model.onnx and, in captures/services.golden.npz, class y and scores p of each packet of
captures/services.pcap, which is of the test part.
"""
import argparse
import pathlib
import sys

import numpy as np
import onnxruntime
import torch
from torch import nn

from label import BYTES, CLASSES, copy_ipv4, label

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from export import export  # noqa: E402

DATA, CAPTURE = HERE / "data/payloads.npz", HERE / "captures/services.pcap"
DROPPED = ("ssh", "redis", "mqtt")


class Payload(nn.Module):
    """Scores of the classes from payload bytes; zeros stand behind the payload's end."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(1, 8, 4, stride=2), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(8, 12, 3), nn.ReLU(), nn.MaxPool1d(2),
            nn.Flatten(), nn.Linear(72, 24), nn.ReLU(), nn.Linear(24, len(CLASSES)))

    def forward(self, x):
        return self.net(((x - 64) * (1 / 64)).unsqueeze(1))


def make_data(folder):
    """Rows that stand in several classes say nothing about either, and are left out."""
    x, y = label(folder / "train.pcap")
    x, y = x[y >= 0], y[y >= 0]
    rows, first, inverse, count = np.unique(x, axis=0, return_index=True, return_inverse=True, return_counts=True)
    least, most = np.full(len(rows), len(CLASSES)), np.zeros(len(rows), int)
    np.minimum.at(least, inverse.ravel(), y)
    np.maximum.at(most, inverse.ravel(), y)
    keep = least == most
    DATA.parent.mkdir(exist_ok=True)
    np.savez_compressed(DATA, x=rows[keep], y=y[first[keep]].astype(np.uint8), count=count[keep],
                        classes=np.array(CLASSES))
    CAPTURE.parent.mkdir(exist_ok=True)
    copy_ipv4(folder / "test.pcap", CAPTURE)


def train(x, y, count, seed, epochs):
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # sums in a fixed order: the same seed gives the same model
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.int64)
    model = Payload()
    # Classes are met equally often, and within a class what is frequent more often.
    weight = torch.tensor(count, dtype=torch.float32).sqrt()
    weight /= torch.zeros(len(CLASSES)).index_add(0, y, weight)[y]
    batches = -(-len(x) // 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * batches)
    loss = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(epochs):
        for rows in torch.multinomial(weight, 64 * batches, replacement=True).split(64):
            optimizer.zero_grad()
            batch = x[rows]
            # Other programs send other bytes behind a protocol's first words: those of another packet.
            start = torch.randint(6, BYTES, (len(rows), 1))
            batch = torch.where(torch.arange(BYTES) < start, batch, batch[torch.randperm(len(rows))])
            value = loss(model(batch), y[rows])
            value.backward()
            optimizer.step()
            schedule.step()
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1}: loss {value.item():.5f}")
    return model.eval()


def report(name, y, says):
    print(f"{name}: {len(y)} packets, accuracy {(y == says).mean():.4f}")
    for i, kind in enumerate(CLASSES):
        rows = says[y == i]
        if len(rows):
            found = ", ".join(f"{CLASSES[k]} {n}" for k, n in enumerate(np.bincount(rows)) if n)
            print(f"  {kind}: {found}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--captures", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=60)
    args = parser.parse_args()
    if args.captures:
        make_data(args.captures)
    data = np.load(DATA)
    model = train(data["x"], data["y"], data["count"], args.seed, args.epochs)
    export(model, torch.zeros(2, BYTES), "scores", {
        "features": f"payload.u8@0*{BYTES}", "labels": ",".join(CLASSES),
        "actions": ", ".join(f"{name}: {'drop' if name in DROPPED else 'pass'}" for name in CLASSES),
    }, HERE / "model.onnx")
    session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
    x, y = label(CAPTURE)
    p = session.run(["scores"], {"x": x.astype(np.float32)})[0]
    np.savez_compressed(CAPTURE.with_suffix(".golden.npz"), y=y, p=p)
    report("train", data["y"], session.run(["scores"], {"x": data["x"].astype(np.float32)})[0].argmax(1))
    report("test", y[y >= 0], p[y >= 0].argmax(1))


if __name__ == "__main__":
    main()
