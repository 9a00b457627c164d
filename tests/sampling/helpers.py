"""Training rows for tests, and equality of samples."""

from dataclasses import fields

import numpy as np

from cellml.sampling.base import Sample, TrainingRows


def training(*counts, soft=False, seed=0, dim=8, spread=0.7):
    """Rows of some classes in random order; each class is a cloud of `dim` features, `spread` apart."""
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    n = len(targets)
    probabilities = None
    if soft:
        probabilities = 0.6 * np.eye(len(counts))[targets] + 0.4 * rng.dirichlet(np.ones(len(counts)), n)
    centres = rng.normal(size=(len(counts), dim)) * spread
    features = (centres[targets] + rng.normal(size=(n, dim))).astype(np.float32)
    pixels = features[:, ::-1][:, : dim // 2].copy()
    return TrainingRows(
        ids=np.array([f"cell {i}" for i in range(n)], dtype=object),
        targets=targets,
        groups=np.array([f"slide {i % 7}" for i in range(n)], dtype=object),
        classes=tuple("ABCDEFG"[: len(counts)]),
        soft_targets=probabilities,
        spaces={"embeddings": lambda: features, "pixels": lambda: pixels},
    )


def mixtures(per_kind=12, seed=0, dim=6, **changed):
    """Pure rows of A, B, C and wells of A and B in the ratios 1:2 and 2:1, `per_kind` of each but what is `changed`."""
    labels = {
        "A": [1, 0, 0],
        "B": [0, 1, 0],
        "C": [0, 0, 1],
        "A:B 1:2": [1 / 3, 2 / 3, 0],
        "A:B 2:1": [2 / 3, 1 / 3, 0],
    }
    rng = np.random.default_rng(seed)
    numbers = [changed.get(name.replace(":", "").replace(" ", ""), per_kind) for name in labels]
    kinds = rng.permutation(np.repeat(list(labels), numbers))
    soft = np.array([labels[kind] for kind in kinds], dtype=np.float64)
    n = len(kinds)
    features = (soft @ (rng.normal(size=(3, dim)) * 2) + rng.normal(size=(n, dim))).astype(np.float32)
    return TrainingRows(
        ids=np.array([f"cell {i}" for i in range(n)], dtype=object),
        targets=soft.argmax(1),
        groups=np.array([f"well {kind}" for kind in kinds], dtype=object),
        classes=("A", "B", "C"),
        soft_targets=soft,
        spaces={"embeddings": lambda: features},
    )


def state(seed):
    """What a strategy seeds imbalanced-learn with."""
    return int(np.random.default_rng(seed).integers(2**31))


def same(a: Sample, b: Sample) -> bool:
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(Sample)]
    return all(x is y or (x is not None and y is not None and np.array_equal(x, y)) for x, y in pairs)


def in_order(values):
    """Rows of a matrix, sorted."""
    return values[np.lexsort(values.T[::-1])]
