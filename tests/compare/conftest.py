import dataclasses

import numpy as np
import pandas as pd
import pytest

from cellml.compare.collect import Evaluated
from cellml.compare.cost import Cost
from cellml.data.external import External
from cellml.data.manifest import Manifest
from cellml.evaluation.predictions import Predictions
from cellml.tracking.registry import Entry

COST = Cost(params_m=1.5, gmacs=0.25, ms_batch_1=3.25, ms_batch_64=1.25, mb_batch_1=8, mb_batch_64=90)
NASTY = ("G1", "S & <b>G2</b>", "CD4+_50%", "é $x$ {|}")


def manifest(classes, n=120, groups=24, seed=0):
    rng = np.random.default_rng(seed)
    k = len(classes)
    share = 1 / np.arange(1, k + 1)
    targets = np.concatenate([np.arange(k), rng.choice(k, n - k, p=share / share.sum())])
    table = pd.DataFrame(
        {
            "id": [f"cell-{i}" for i in range(n)],
            "file": "unused.png",
            "label": [classes[t] for t in targets],
            "group": [f"slide-{g}" for g in rng.integers(0, groups, n)],
            "split": "test",
            "pixels": [f"{i:032x}" for i in range(n)],
            "row": range(n),
        }
    )
    return Manifest(table, tuple(classes))


def entry(backbone, version="1", strategy="none", experiment="cells", **values):
    name = f"{experiment}.{backbone}"
    known = {
        "name": name,
        "version": version,
        "uri": f"models:/{name}/{version}",
        "run_id": f"{backbone}-{version}".encode().hex()[:32].ljust(32, "0"),
        "source": f"models:/m-{backbone}-{version}",
        "tags": {"cellml.backbone": backbone, "cellml.strategy": strategy},
        "aliases": (),
    }
    return Entry(**(known | values))


def evaluated(test, backbone, skill, seed=0, version="1", **values):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, (len(test), len(test.classes)))
    logits[np.arange(len(test)), test.targets] += skill
    probabilities = np.exp(logits)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predictions = Predictions(test.ids, test.targets, probabilities, test.groups, test.classes)
    return Evaluated(entry(backbone, version), predictions, COST, **values)


@pytest.fixture
def test_rows():
    return manifest(NASTY)


@pytest.fixture
def train_counts():
    return dict(zip(NASTY, (100, 50, 33, 17), strict=True))


@pytest.fixture
def models(test_rows):
    """Out of order, two of them with the same predictions."""
    middle = evaluated(test_rows, "resnet18", 1.0, seed=1)
    twin = dataclasses.replace(middle, entry=entry("torchvision-0x2F-resnet18", "12"))
    return [middle, evaluated(test_rows, "vit_tiny", 2.5, seed=2), twin, evaluated(test_rows, "convnext", 0.2, seed=3)]


def elsewhere(models, name="there", classes=NASTY, n=60, seed=9, left_out=None):
    """An external set without groups, and models of the same backbones with predictions of it."""
    rows = manifest(classes, n=n, seed=seed)
    rows = rows.with_column("group", rows.ids)
    external = External(name, rows, None, left_out or {"copies": 3}, ("No groups are known",))
    found = []
    for place, one in enumerate(models):
        there = evaluated(rows, "any", 0.5 + place, seed=seed + place).predictions
        found.append(dataclasses.replace(one, external={**one.external, name: there}))
    return external, found
