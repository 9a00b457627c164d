from dataclasses import replace

import numpy as np

from cellml.evaluation.predictions import Predictions


def make(n=200, classes=("a", "b", "c"), seed=0, sharp=1.0, absent=(), groups=None, decimals=None, truth=0):
    """Random predictions; `truth` seeds the targets and groups alone, so that models over the same rows can be made."""
    k = len(classes)
    rng, labels = np.random.default_rng(seed), np.random.default_rng(truth)
    present = [c for c in range(k) if c not in absent]
    targets = labels.choice(present, n).astype(np.int64)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), targets] += sharp
    probabilities = np.exp(logits)
    if decimals is not None:
        probabilities = np.round(probabilities, decimals) + 0.1
    probabilities /= probabilities.sum(1, keepdims=True)
    ids = np.array([f"image{j}" for j in range(n)], dtype=object)
    of = ids if groups is None else np.array([f"slide{g}" for g in labels.integers(0, groups, n)], dtype=object)
    return Predictions(ids, targets, probabilities, of, tuple(classes))


def soft(n=200, classes=("a", "b", "c"), seed=0, wells=8, mixed=0.5, truth=0):
    """Random predictions of soft labels: a share of the wells are mixtures, whose images have no class of their own."""
    k = len(classes)
    p = make(n, classes, seed, groups=wells, truth=truth)
    labels = np.random.default_rng(truth + 1)
    names = np.unique(p.groups)
    ratios = dict(zip(names, labels.dirichlet(np.ones(k), len(names)), strict=True))
    mixtures = set(list(ratios)[: round(mixed * len(ratios))])
    unknown = np.array([group in mixtures for group in p.groups], dtype=bool)
    targets = np.where(unknown, -1, p.targets)
    wanted = np.stack([ratios[g] if u else np.eye(k)[t] for g, u, t in zip(p.groups, unknown, p.targets, strict=True)])
    return replace(p, targets=targets, soft_targets=wanted)


def given(targets, probabilities, classes=None, groups=None, soft_targets=None):
    """Predictions of exactly these rows."""
    p = np.asarray(probabilities, dtype=np.float64)
    ids = np.array([str(j) for j in range(len(p))], dtype=object)
    names = tuple(classes or "abcdefghijkl"[: p.shape[1]])
    of = ids if groups is None else np.array([str(g) for g in groups], dtype=object)
    wanted = None if soft_targets is None else np.asarray(soft_targets, dtype=np.float64)
    return Predictions(ids, np.asarray(targets, dtype=np.int64), p, of, names, wanted)
