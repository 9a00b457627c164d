import itertools

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier

from cellml.data import simulate_cultures
from cellml.errors import UserError

PLANTED = ["edge", "response", "fragmentation", "mitochondria", "recorded"]
SMALL = {"plates": 1, "wells": 1, "cells": 3, "size": 24}


def read(path, column="file"):
    table = pd.read_csv(path)
    return table, np.stack([np.asarray(Image.open(path.parent / file)) for file in table[column]])


@pytest.fixture(scope="module")
def easy(tmp_path_factory):
    return simulate_cultures.write(
        tmp_path_factory.mktemp("easy"), plates=3, wells=4, cells=10, difficulty=0, batch=0, seed=1
    )


@pytest.fixture(scope="module")
def hard(tmp_path_factory):
    return simulate_cultures.write(tmp_path_factory.mktemp("hard"), plates=4, wells=4, cells=15, difficulty=1, seed=1)


def test_the_table_lists_wells_of_three_treatments(easy):
    table, images = read(easy)
    assert list(table) == ["file", "mask", "cell", "plate", "well", "treatment", *PLANTED]
    assert images.shape == (360, 64, 64, 3)
    assert images.dtype == np.uint8
    wells = table.groupby(["plate", "well"])
    assert (wells.size() == 10).all()
    assert (wells["treatment"].nunique() == 1).all()
    assert table["treatment"].value_counts().to_dict() == {"DS": 120, "TT": 120, "WT": 120}
    for column in ("mask", "cell"):
        masks = read(easy, column)[1]
        assert masks.shape == images.shape[:3]
        assert set(np.unique(masks)) == {0, 255}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_planted_difference_is_no_chance(seed, tmp_path):
    options = SMALL | {"cells": 60, "seed": seed, "difficulty": 1.0, "batch": 0}
    table = pd.read_csv(simulate_cultures.write(tmp_path, **options))
    means = table.groupby("treatment")[["response", "fragmentation", "mitochondria"]].mean()
    np.testing.assert_allclose(means["response"], [0, 0.5, 1], atol=1e-4)
    np.testing.assert_allclose(means["mitochondria"] / simulate_cultures.MEAN, [1, 1.18, 1.36], atol=0.015)
    np.testing.assert_allclose(means["fragmentation"], [0.85, 0.5, 0.15], atol=0.01)


def test_images_show_what_the_table_says(easy):
    table, images = read(easy)
    seen = pd.Series(images[..., 0].mean(axis=(1, 2)))
    np.testing.assert_allclose(seen, table["mitochondria"], rtol=0.08)
    np.testing.assert_allclose(table["recorded"], table["mitochondria"], rtol=1e-3)
    by = seen.groupby(table["treatment"]).mean()
    assert np.isclose(by["TT"] / by["DS"] - 1, 0.18, atol=0.02)
    assert np.isclose(by["WT"] / by["DS"] - 1, 0.36, atol=0.03)
    for channel in (1, 2):
        other = pd.Series(images[..., channel].mean(axis=(1, 2))).groupby(table["treatment"])
        assert abs(other.mean()["WT"] / other.mean()["DS"] - 1) < 4 * (other.sem() / other.mean()).max()


def test_plates_and_edges_are_recorded_differently(hard):
    table, images = read(hard)
    seen = pd.Series(images[..., 0].mean(axis=(1, 2)))
    np.testing.assert_allclose(seen, table["recorded"], rtol=0.1)
    ratio = np.log(table["recorded"] / table["mitochondria"])
    wells = ratio.groupby([table["plate"], table["well"]])
    assert wells.mean().std() > 5 * wells.std().mean()


def measured(images):
    """Intensities of the channels and, of channel 0 over its mean, contrast at several scales and its directions."""
    first = images[..., 0].astype(float)
    shape = first / first.mean(axis=(1, 2), keepdims=True)
    levels = [shape, *(ndimage.gaussian_filter(shape, (0, s, s)) for s in (0.7, 1.2, 2, 3.5))]
    bands = [(a - b).std(axis=(1, 2)) for a, b in itertools.pairwise(levels)]
    xx, yy, xy = (ndimage.gaussian_filter(shape, (0, 1, 1), order=(0, *o)) for o in ((0, 2), (2, 0), (1, 1)))
    gap = np.sqrt((xx - yy) ** 2 + 4 * xy**2)
    ridge, blob = (np.maximum(-(xx + yy - side * gap) / 2, 0) for side in (1, -1))
    round_ = blob.sum(axis=(1, 2)) / ridge.sum(axis=(1, 2))
    return np.stack([*images.mean(axis=(1, 2)).T, first.std(axis=(1, 2)), *bands, round_], axis=1)


def accuracy(table, features):
    held = table.groupby(["plate", "treatment"])["well"].transform("min") == table["well"]
    forest = RandomForestClassifier(300, min_samples_leaf=2, random_state=0)
    forest.fit(features[~held], table["treatment"][~held])
    return (forest.predict(features[held]) == table["treatment"][held]).mean()


def test_easy_cells_are_told_apart_by_simple_measurements(easy):
    table, images = read(easy)
    features = measured(images)
    assert accuracy(table, features) >= 0.98
    assert accuracy(table, features[:, 1:3]) < 0.5  # nucleus and actin tell nothing


def test_hard_cells_are_not(hard):
    table, images = read(hard)
    features = measured(images)
    score = accuracy(table, features)
    assert 0.65 < score < 0.92
    assert accuracy(table, features[:, :1]) < score - 0.1  # the mean of channel 0 alone, under batch effects
    assert score < accuracy(table, table[["response"]].to_numpy()) < 1  # classes overlap by themselves


def test_further_treatments_lie_where_they_are_put(tmp_path):
    treatments = {"weak": 0.2, "strong": 0.9}
    path = simulate_cultures.write(tmp_path, **SMALL | {"cells": 40}, treatments=treatments, difficulty=0.3)
    means = pd.read_csv(path).groupby("treatment")["response"].mean()
    assert means.round(3).to_dict() == {"DS": 0, "strong": 0.9, "weak": 0.2, "WT": 1}
    assert list(simulate_cultures.line(treatments)) == ["DS", "weak", "strong", "WT"]


def test_the_same_seed_gives_the_same_files(tmp_path):
    paths = [simulate_cultures.write(tmp_path / n, **SMALL, seed=s) for n, s in [("a", 5), ("b", 5), ("c", 6)]]
    files = [{p.relative_to(path.parent): p.read_bytes() for p in path.parent.rglob("*.*")} for path in paths]
    assert files[0] == files[1]
    assert files[0] != files[2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"plates": 0}, "plates of 1 to"),
        ({"wells": 2.5}, "wells of 1 to 384, got 2.5"),
        ({"wells": 200}, "at most 384 wells"),
        ({"cells": "many"}, "cells of 1 to"),
        ({"size": 8}, "size of 24 to 512"),
        ({"intensity": 3}, "intensity of -0.3 to 1"),
        ({"fragmentation": 2}, "fragmentation of -1 to 1"),
        ({"batch": -1}, "batch of 0 to"),
        ({"difficulty": 2}, "difficulty of 0 to 1"),
        ({"treatments": {"WT": 0.5}}, "'WT', which is there always"),
        ({"treatments": {"TT": 1.5}}, "between 0 .as DS. and 1"),
        ({"treatments": {"TT": "half"}}, "between 0 .as DS. and 1"),
        ({"treatments": ["TT"]}, "name: share"),
    ],
)
def test_bad_options_are_refused_in_one_line(tmp_path, options, said):
    with pytest.raises(UserError, match=said) as caught:
        simulate_cultures.write(tmp_path / "cells", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cells").exists()
