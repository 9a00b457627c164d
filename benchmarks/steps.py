"""Seconds of single steps: reading and checking data, metrics, intervals, a linear head; beside a plain way to do some.

python benchmarks/steps.py --data DATA/ami-br [--out steps.json]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import classification_report

from cellml import config
from cellml.data import checks, simulate
from cellml.data.prepare import prepare
from cellml.evaluation import intervals, metrics
from cellml.evaluation.predictions import Predictions
from cellml.models import head


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of single steps, beside a plain way to do each.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--experiment", type=Path, default=Path("experiments/ami_br.yaml"))
    parser.add_argument("--out", type=Path, default=Path("build/steps.json"))
    given = parser.parse_args()
    result = measure(given.data, given.experiment)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2))
    for name, seconds in result.items():
        print(f"{name:<48} {seconds:8.2f} s")


def measure(folder: Path, file: Path) -> dict[str, float]:
    experiment = config.load(file).replace({"data.path": str(folder)})
    with tempfile.TemporaryDirectory() as scratch:
        first = _timed(lambda: prepare(experiment, Path(scratch)))
        second = _timed(lambda: prepare(experiment, Path(scratch)))
        dataset = prepare(experiment, Path(scratch))
        images = dataset.pixels.images(dataset.manifest.rows)
        checked = _timed(lambda: checks.check(dataset.manifest, images))
    files = sorted(folder.rglob("*.png"))
    plain = _timed(lambda: [np.asarray(Image.open(path).convert("RGB")) for path in files])
    x, y = _blobs(3000, 512, 5)
    models = [_predictions(4000, seed) for seed in range(20)]
    truth, said = models[0].targets, models[0].predicted
    with tempfile.TemporaryDirectory() as scratch:
        drawn = _timed(lambda: simulate.write(Path(scratch) / "cells", count=300))
    return {
        f"read, check and cache {len(files)} images": first,
        "the same, second start": second,
        "decode them one after the other with Pillow": plain,
        "look for duplicates and near-duplicates": checked,
        "draw 300 simulated cells": drawn,
        "all metrics of 4,000 predictions": min(_timed(lambda: metrics.compute(models[0])) for _ in range(3)),
        "scikit-learn's classification report of them": _timed(lambda: classification_report(truth, said)),
        "1,000 paired resamples of 20 models": _timed(lambda: intervals.paired(models, "balanced_accuracy", 1000)),
        "linear head on 3,000 x 512 embeddings": min(_timed(lambda: head.fit(x, y, 5)) for _ in range(3)),
        "scikit-learn's logistic regression on the same": _timed(lambda: LogisticRegression(max_iter=1000).fit(x, y)),
    }


def _timed(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _predictions(rows: int, seed: int) -> Predictions:
    rng = np.random.default_rng(seed)
    ids = np.array([str(i) for i in range(rows)], dtype=object)
    targets = (np.arange(rows) % 4 == 0).astype(np.int64)
    p = 1 / (1 + np.exp(rng.normal(0, 1, rows) - (2 * targets - 1)))
    return Predictions(ids, targets, np.stack([1 - p, p], axis=1), ids, ("a", "b"))


def _blobs(rows: int, features: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, rows)
    return rng.normal(0, 1, (classes, features))[y] * 0.1 + rng.normal(0, 1, (rows, features)), y


if __name__ == "__main__":
    main()
