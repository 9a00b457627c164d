"""What a careful person would write by hand to tell atypical from normal mitoses: PyTorch and timm, one file.

It imports nothing of CellML: its score and wall time stand beside those of a platform `train` run of the same recipe.
Trains on the published training rows of AMi-Br, in one go without validation, and scores the other rows once.

    python benchmarks/plain_baseline.py --data DATA/ami-br [--epochs 40] [--backbone resnet10t] [--size 80] [--seed 0]
"""

import argparse
import csv
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

try:
    import timm
except RuntimeError as error:  # a torchvision built for another torch misses these two schemas at import
    if "torchvision::nms" not in str(error):
        raise
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for name in [name for name in sys.modules if name.split(".")[0] in ("torchvision", "timm")]:
        del sys.modules[name]
    import timm

CROP, BATCH = 80, 32
LR, WEIGHT_DECAY = 2e-3, 0.05
MIXUP, SMOOTHING, DROPOUT = 0.3, 0.05, 0.2
SCALE, SHIFT = 0.15, 0.06
BRIGHTNESS, CONTRAST, COLOR = 0.15, 0.2, 0.15


def read(folder):
    """Images (N, 3, 128, 128) uint8, labels (N,), and which rows are for training (N,) bool."""
    with (folder / "train_split.csv").open() as file:
        train = {(row["dataset"], row["uid"]) for row in csv.DictReader(file)}
    with (folder / "AMI-BR.csv").open() as file:
        rows = list(csv.DictReader(file))
    labels = [row["majority_atypical"] == "True" for row in rows]
    images = []
    for row, atypical in zip(rows, labels, strict=True):
        path = folder / "images" / ("Atypical" if atypical else "Normal") / f"{row['dataset']}_{row['uid']}.png"
        with Image.open(path) as image:
            images.append(np.asarray(image.convert("RGB")))
    known = [(row["dataset"], row["uid"]) in train for row in rows]
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return pixels, torch.tensor(labels, dtype=torch.int64), torch.tensor(known)


def between(limit, *shape):
    return (torch.rand(shape) * 2 - 1) * limit


def augment(images, size):
    """Each image turned, flipped, scaled, shifted, recoloured in its own way; the crop comes out of the whole patch."""
    n, _, side, _ = images.shape
    angle, zoom = between(math.pi, n), CROP / side / (1 + between(SCALE, n))
    mirror = (torch.rand(n) < 0.5) * 2.0 - 1
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    shift = between(2 * SHIFT * CROP / side, n, 2)
    rows = [torch.stack([mirror * cos, -sin, shift[:, 0]], 1), torch.stack([mirror * sin, cos, shift[:, 1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 3, size, size], align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    mean = images.mean((2, 3), keepdim=True)
    images = (images - mean) * (1 + between(CONTRAST, n, 1, 1, 1)) + mean + between(BRIGHTNESS, n, 1, 1, 1)
    return images * (1 + between(COLOR, n, 3, 1, 1))


def central(images, size):
    start = (images.shape[-1] - CROP) // 2
    crop = images[..., start : start + CROP, start : start + CROP]
    return F.interpolate(crop, size=(size, size), mode="bilinear", antialias=True) if size != CROP else crop


def train(net, images, labels, normalise, *, epochs, size, seed):
    generator = torch.Generator().manual_seed(seed)
    draw = (1 / torch.bincount(labels).double())[labels]
    steps = len(labels) // BATCH
    optimizer = torch.optim.AdamW(net.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LR, total_steps=epochs * steps)
    beta = torch.distributions.Beta(MIXUP, MIXUP)
    net.train()
    for epoch in range(epochs):
        total = 0.0
        order = torch.multinomial(draw, steps * BATCH, replacement=True, generator=generator)
        for rows in order.split(BATCH):
            batch = augment(images[rows].float() / 255, size)
            target = F.one_hot(labels[rows], 2).float()
            share, partner = beta.sample((len(rows),)), torch.randperm(len(rows))
            batch = torch.lerp(batch[partner], batch, share[:, None, None, None])
            target = torch.lerp(target[partner], target, share[:, None])
            loss = F.cross_entropy(net(normalise(batch)), target, label_smoothing=SMOOTHING)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}  loss {total / steps:.4f}", file=sys.stderr, flush=True)


@torch.inference_mode()
def predict(net, images, normalise, size):
    """Probability of atypical, averaged over the eight flips and quarter turns."""
    net.eval()
    result = []
    for batch in images.split(64):
        upright = normalise(central(batch.float() / 255, size))
        views = [torch.rot90(view, k, (2, 3)) for view in (upright, upright.flip(3)) for k in range(4)]
        result.append(torch.stack([net(view).softmax(dim=1)[:, 1] for view in views]).mean(dim=0))
    return torch.cat(result).numpy()


def main():
    parser = argparse.ArgumentParser(description="A hand-written AMi-Br classifier: PyTorch and timm alone.")
    parser.add_argument("--data", type=Path, required=True, help="the folder with AMI-BR.csv, train_split.csv, images/")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--backbone", default="resnet10t", help="any timm name")
    parser.add_argument("--size", type=int, default=CROP, help="side in pixels of what the network sees")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    start = time.perf_counter()
    torch.manual_seed(options.seed)
    images, labels, known = read(options.data)
    sample = images[known].float() / 255
    mean, std = (f(sample, dim=(0, 2, 3))[:, None, None] for f in (torch.mean, torch.std))
    del sample
    net = timm.create_model(options.backbone, num_classes=2, drop_rate=DROPOUT)

    def normalise(batch):
        return (batch - mean) / std

    fitting = time.perf_counter()
    train(net, images[known], labels[known], normalise, epochs=options.epochs, size=options.size, seed=options.seed)
    scoring = time.perf_counter()
    probability = predict(net, images[~known], normalise, options.size)
    truth = labels[~known].numpy()
    end = time.perf_counter()
    result = {
        "backbone": options.backbone,
        "size": options.size,
        "epochs": options.epochs,
        "seed": options.seed,
        "threads": torch.get_num_threads(),
        "train_images": int(known.sum()),
        "test_images": len(truth),
        "balanced_accuracy": round(float(balanced_accuracy_score(truth, probability >= 0.5)), 4),
        "auroc": round(float(roc_auc_score(truth, probability)), 4),
        "seconds": round(end - start, 1),
        "seconds_fit": round(scoring - fitting, 1),
        "seconds_test": round(end - scoring, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
