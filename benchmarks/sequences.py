"""Training the centre-cell tracker: steps/s of the platform over those of a bare PyTorch loop on the same network.

python benchmarks/sequences.py [--sequences 4] [--frames 40] [--size 96] [--rounds 4] [--out build/sequences.json]

Both train on masks too (the joint loss), in pieces of `sequence.chunk` frames, and take turns in one process.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import torch
import torch.nn.functional as F

from cellml.config import Experiment, parse
from cellml.data import decode
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.data.report import Report
from cellml.models.temporal.tracker import Tracker
from cellml.training import device
from cellml.training.fit import fit

STAGES = ("a", "b", "c")


def main() -> None:
    parser = argparse.ArgumentParser(description="Steps/s of the tracker's training over a bare loop's.")
    for name, value in (("sequences", 4), ("frames", 40), ("size", 96), ("rounds", 4)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("build/sequences.json"))
    given = parser.parse_args()
    result = measure(given.sequences, given.frames, given.size, given.rounds, given.device)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2))
    print("  ".join(f"{name} {value:.3g}" for name, value in result.items()))


def measure(sequences: int, frames: int, size: int, rounds: int, name: str) -> dict[str, float]:
    """Best of some rounds, seconds a step; the second of two batches an epoch, so that starting up is not counted."""
    on = device.pick(name)
    with tempfile.TemporaryDirectory() as folder:
        dataset = movies(Path(folder), 2 * sequences, frames, size)
        experiment = settings(sequences, size, name)
        ours, bare = [], []
        for _ in range(rounds):
            ours.append(platform(experiment, dataset))
            bare.append(plain(dataset, sequences, frames, on))
    return {"ours_s": min(ours), "bare_s": min(bare), "ratio": min(bare) / min(ours)}


def settings(sequences: int, size: int, name: str) -> Experiment:
    off = {"flip": False, "rotate": 0, "scale": 0, "shift": 0, "brightness": 0, "contrast": 0}
    train = {"batch_size": sequences, "epochs": 2, "optimizer": "adagrad", "lr": 0.01, "schedule": "constant"}
    train |= {"augment": off, "device": name, "precision": "32"}
    return parse({"name": "b", "input": {"size": size}, "model": {"backbone": "tracker"}, "train": train})


def platform(experiment: Experiment, dataset: Dataset) -> float:
    """Seconds a step of the second epoch."""
    stamps: list[float] = []
    fit(
        experiment, dataset, train=dataset.manifest, validation=None, progress=False,
        on_epoch=lambda *_: stamps.append(time.perf_counter()),
    )  # fmt: skip
    return (stamps[1] - stamps[0]) / 2


def plain(dataset: Dataset, sequences: int, frames: int, on: torch.device) -> float:
    """What one would write by hand: whole batches of normalised frames, masks and labels, joint loss, Adagrad."""
    net = Tracker(1, len(STAGES), dataset.pixels[0].shape[0]).to(on).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adagrad(net.parameters(), lr=0.01, weight_decay=0.01)
    pixels = np.stack(dataset.pixels.images(dataset.manifest.rows)).transpose(0, 3, 1, 2)
    images = torch.from_numpy(pixels.reshape(2, sequences, frames, *pixels.shape[1:])).float().to(on) / 255
    labels = torch.from_numpy(dataset.manifest.targets).reshape(2, sequences, frames).to(on)
    drawn = images * (images > 0.3)
    stamps = []
    for _ in range(2):
        for batch, wanted, target in zip(images, labels, drawn, strict=True):
            optimizer.zero_grad()
            said = net.run((batch - 0.3) / 0.2, draw=True)
            loss = F.binary_cross_entropy_with_logits(said.drawn, target)
            loss = loss + 0.1 * F.cross_entropy(said.logits.flatten(0, 1), wanted.flatten())
            loss.backward()
            optimizer.step()
        loss.item()
        stamps.append(time.perf_counter())
    return (stamps[1] - stamps[0]) / 2


def movies(root: Path, count: int, frames: int, size: int) -> Dataset:
    rng, rows = np.random.default_rng(0), []
    for k in range(count):
        for t in range(frames):
            image = rng.integers(0, 256, (size, size), dtype=np.uint8)
            file, mask = f"{k}_{t}.tif", f"{k}_{t}_mask.tif"
            tifffile.imwrite(root / file, image)
            tifffile.imwrite(root / mask, (image > 76).astype(np.uint8))
            rows.append((file, file, STAGES[3 * t // frames], str(k), "train", str(k), t, mask))
    columns = ["id", "file", "label", "group", "split", "sequence", "frame", "mask"]
    table = pd.DataFrame(rows, columns=columns)
    decoded = decode.build(table, root, root / "cache")
    table["row"], table["pixels"] = decoded.rows, decoded.hashes
    return Dataset(Manifest(table, STAGES), decoded.pixels, Report(), root)


if __name__ == "__main__":
    main()
