"""Counterfactuals of a data set, by a network that is a turn of the pixels, judged by another."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from cellml import config
from cellml.counterfactuals import run as subject
from cellml.counterfactuals.settings import Settings, pairs
from cellml.data.prepare import prepare
from cellml.errors import UserError
from cellml.models.classifier import Classifier, Spec, build
from cellml.models.generative import Generative
from cellml.training.predict import predict
from tests.kept import Kept

SIDE = 16
D = 3 * SIDE * SIDE


class Turned(Generative):
    def __init__(self, classes):
        super().__init__()
        self.q = nn.Parameter(torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(0)))[0])
        self.head = nn.Linear(D, classes)
        nn.init.normal_(self.head.weight, std=0.1, generator=torch.Generator().manual_seed(1))
        nn.init.zeros_(self.head.bias)
        self.head.bias.data[0] = 100.0

    def encode(self, x):
        return x.flatten(1) @ self.q.T

    def decode(self, z):
        return (z @ self.q).reshape(-1, 3, SIDE, SIDE)

    def logits(self, z):
        return self.head(z)

    def learn(self, x, targets, weights):
        return self(x), x.new_zeros(())

    def log_likelihood(self, x):
        return x.flatten(1).sum(1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    tree = {
        "name": "cells",
        "data": {"source": "simulated", "options": {"count": 120, "size": 32, "slides": 12}},
        "split": {"test": 0.3},
        "input": {"size": SIDE},
    }
    return prepare(config.parse(tree), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def make(dataset):
    def one(net=None, seed=0, size=SIDE, **changes):
        values = {"backbone": "test_resnet", "classes": dataset.manifest.classes, "channels": 3, "dtype": "uint8"}
        values |= {"size": size, "crop": None, "low": (0.0,) * 3, "high": (255.0,) * 3, "mean": (0.5,) * 3}
        torch.manual_seed(seed)
        spec = Spec(**{**values, "std": (0.25,) * 3, **changes})
        return (build(spec) if net is None else Classifier(spec, net)).eval()

    return one


def ran(model, judge, dataset, settings, folder):
    folder.mkdir(exist_ok=True)
    kept, lines = Kept(folder), []
    subject.run(model, judge, dataset, settings, kept, "models:/cells/1", lines.append)
    return kept, lines


def test_cells_are_changed_judged_and_shown(dataset, make, tmp_path):
    classes = dataset.manifest.classes
    model, judge = make(Turned(len(classes)), backbone="turned"), make(seed=1, size=24)
    settings = Settings("boundary", classes[0], classes[1], 20, ("mito", "dna", "actin"))
    kept, lines = ran(model, judge, dataset, settings, tmp_path / "out")
    top = kept.folder / "counterfactuals"
    (pair,) = [path for path in top.iterdir() if path.is_dir()]
    assert pair.name == f"{classes[0]}_to_{classes[1]}"
    cells, summary, changes = (
        pd.read_csv(top / name) for name in (f"{pair.name}/cells.csv", "summary.csv", "changes.csv")
    )
    test = dataset.manifest.split("test")
    mine = test.table[test.table["label"] == classes[0]]
    assert len(cells) == min(20, len(mine))
    assert set(cells["id"]) <= set(mine["id"])
    (row,) = summary.to_dict("records")
    right = (cells["judge"] == classes[1]) & cells["reached"]
    assert row["validity"] == pytest.approx(right.mean())
    assert row["already"] == pytest.approx((cells["judge_before"] == classes[1]).mean())
    own = mine[mine["id"].isin(cells["id"])]
    shown = next(subject.judging.batches(judge, dataset, test.where(np.isin(test.ids, own["id"]))))
    with torch.no_grad():  # its way back is exact
        seen = judge.probabilities(shown).argmax(1).numpy()
    assert [classes[k] for k in seen] == cells["judge_before"].tolist()
    assert kept.logged[f"counterfactual/{pair.name}/validity"] == pytest.approx(right.mean())
    assert changes["channel"].tolist() == ["mito", "mito", "dna", "dna", "actin", "actin"]
    assert changes["of"].tolist() == ["mean", "spread"] * 3
    well = cells[cells["reached"]]
    before, after = well["mean_before_0"].mean(), well["mean_after_0"].mean()
    assert changes.loc[0, "change"] == pytest.approx((after - before) / before, rel=1e-4)
    assert (changes["low"] <= changes["change"]).all()
    (real,) = {one["real"] for one in changes.to_dict("records") if (one["channel"], one["of"]) == ("dna", "mean")}
    pixels, rows = dataset.pixels.resized(None, SIDE, test.rows), test.targets
    assert real == pytest.approx(pixels[rows == 1][..., 1].mean() / pixels[rows == 0][..., 1].mean() - 1, rel=1e-4)
    assert (well["p_after"] > well["p_before"]).all()
    for name in ("sheet.png", "section.png", "walk_0.png"):
        with Image.open(pair / name) as picture:
            assert min(picture.size) > 100
    with Image.open(pair / "walk_0.gif") as gif:
        assert gif.n_frames > 8
    assert any("the judge agrees" in line for line in lines)


def test_a_network_without_a_way_back_is_searched_in_every_pair_asked_for(dataset, make, tmp_path):
    model, classes = make(), dataset.manifest.classes
    said = predict(model, dataset, dataset.manifest.split("test"))
    right = said.targets[said.predicted == said.targets]
    source = classes[int(np.bincount(right).argmax())]
    others = [name for name in classes if name != source]
    kept, _ = ran(model, make(seed=1), dataset, Settings(source=source, count=2), tmp_path / "out")
    summary = pd.read_csv(kept.folder / "counterfactuals" / "summary.csv")
    assert set(summary["method"]) == {"search"}
    assert summary["target"].tolist() == others
    assert len(pairs(dataset.manifest.classes, Settings())) == len(others) * (len(others) + 1)


def test_cells_that_the_model_already_gives_to_another_class_are_left_out(dataset, make, tmp_path):
    classes = dataset.manifest.classes
    model = make(Turned(len(classes)), backbone="turned")  # says the first class of everything
    with pytest.raises(UserError, match="none of them"):
        ran(model, make(seed=1), dataset, Settings("boundary", classes[1], classes[0]), tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "settings", "said"),
    [
        ({}, {"source": "nothing"}, "a class of the model, got 'nothing'"),
        ({}, {"method": "mean"}, "did you mean 'means'"),
        ({}, {"channels": ("one",)}, "Expected 3 names of channels"),
        ({"crop": 8}, {}, "same part of the image"),
        ({"dtype": "uint16"}, {}, "Expected a judge of the classes"),
    ],
)
def test_what_does_not_go_together_is_one_line(dataset, make, changes, settings, said, tmp_path):
    with pytest.raises(UserError, match=said) as caught:
        ran(make(), make(seed=1, **changes), dataset, Settings(**settings), tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_pairs_of_classes_with_any_names_have_files_and_metrics_of_their_own():
    names = ["CD4+", "CD4_", "a/b", "50%"]
    made = [subject._folder(source, target) for source in names for target in names]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[\w.\- ]+", name) for name in made)


def test_settings_are_read_from_the_command_line():
    found = Settings.parsed({"method": "", "source": "DS", "target": "", "count": "7", "channels": "a, b"})
    assert found == Settings("", "DS", "", 7, ("a", "b"))
    with pytest.raises(UserError, match="count"):
        Settings.parsed({"count": "none"})


def test_a_class_cannot_become_itself(dataset):
    name = dataset.manifest.classes[0]
    with pytest.raises(UserError, match="that differ"):
        pairs(dataset.manifest.classes, Settings(source=name, target=name))
