"""Seconds to resample the groups of a test set for many models, beside a plain loop over resampled rows.

The loop is what one would write with numpy and scikit-learn: draw groups, take their rows, score every model. It runs
on a small part of the resamples and is scaled up; both score the same models on the same number of images.

    python benchmarks/intervals.py [--models 20] [--images 4000] [--resamples 10000] [--out build/intervals.json]
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from cellml.evaluation import comparisons, intervals
from cellml.evaluation.predictions import Predictions

LOOPED = 20  # resamples of the plain loop
SCORES: dict[str, Callable[..., float]] = {
    "balanced_accuracy": lambda truth, p: balanced_accuracy_score(truth, p > 0.5),
    "auroc": roc_auc_score,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of the bootstrap over groups.")
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--resamples", type=int, default=10000)
    parser.add_argument("--groups", type=int, nargs="*", default=[60, 500, 4000], help="as many as images: no groups")
    parser.add_argument("--out", type=Path, default=Path("build/intervals.json"))
    given = parser.parse_args()
    found = []
    for groups in given.groups:
        models = _models(given.models, given.images, groups)
        for metric in SCORES:
            found.append(measure(models, metric, given.resamples) | {"groups": groups})
            print(
                f"{metric}, {groups} groups: {found[-1]['seconds']:.1f} s ({found[-1]['processor']:.1f} s of the "
                f"processor); plain loop {found[-1]['loop']:.0f} s: {found[-1]['ratio']:.0f} times as long"
            )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measure(models: list[Predictions], metric: str, resamples: int) -> dict[str, Any]:
    start, used = time.perf_counter(), time.process_time()
    samples = intervals.paired(models, metric, resamples)
    comparisons.holm(intervals.p_vs_best(samples, samples.mean(axis=0)))
    comparisons.rank_probabilities(samples)
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    start = time.perf_counter()
    _loop(models, metric)
    loop = (time.perf_counter() - start) * resamples / LOOPED
    return {"metric": metric, "seconds": seconds, "processor": processor, "loop": loop, "ratio": loop / seconds}


def _loop(models: list[Predictions], metric: str) -> None:
    rng = np.random.default_rng(0)
    names, groups = np.unique(models[0].groups.astype(str)), models[0].groups.astype(str)
    rows = {name: np.flatnonzero(groups == name) for name in names}
    for _ in range(LOOPED):
        drawn = np.concatenate([rows[name] for name in rng.choice(names, len(names))])
        for model in models:
            SCORES[metric](model.targets[drawn], model.probabilities[drawn, 1])


def _models(count: int, images: int, groups: int) -> list[Predictions]:
    rng = np.random.default_rng(0)
    targets = (rng.random(images) < 0.2).astype(np.int64)
    of = (np.arange(images) if groups == images else rng.integers(0, groups, images)).astype(str).astype(object)
    ids = np.arange(images).astype(str).astype(object)
    made = []
    for _ in range(count):
        p = 1 / (1 + np.exp(-rng.normal(2.0 * targets - 1, 1.5)))
        made.append(Predictions(ids, targets, np.stack([1 - p, p], axis=1), of, ("common", "rare")))
    return made


if __name__ == "__main__":
    main()
