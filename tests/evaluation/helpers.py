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


def given(targets, probabilities, classes=None, groups=None):
    """Predictions of exactly these rows."""
    p = np.asarray(probabilities, dtype=np.float64)
    ids = np.array([str(j) for j in range(len(p))], dtype=object)
    names = tuple(classes or "abcdefghijkl"[: p.shape[1]])
    of = ids if groups is None else np.array([str(g) for g in groups], dtype=object)
    return Predictions(ids, np.asarray(targets, dtype=np.int64), p, of, names)
