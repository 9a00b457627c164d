import numpy as np
import pandas as pd
import pytest
import tifffile
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score

from cellml.data import simulate_movies
from cellml.data.nuclei import STAGES
from cellml.errors import UserError

SMALL = {"movies": 2, "frames": 12, "cells": 3, "size": 96}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = simulate_movies.write(tmp_path_factory.mktemp("movies"), movies=5, cells=6, seed=4)
    return path.parent, pd.read_csv(path)


def test_movies_masks_and_tracks_belong_together(written):
    folder, tracks = written
    assert list(tracks) == ["movie", "mask", "track", "frame", "x", "y", "parent", "stage"]
    assert tracks["movie"].nunique() == 5
    assert set(tracks["stage"]) == set(STAGES)
    y, x = np.mgrid[:160, :160]
    for (movie, mask), rows in tracks.groupby(["movie", "mask"]):
        images, labels = tifffile.imread(folder / movie), tifffile.imread(folder / mask)
        assert images.shape == labels.shape == (40, 160, 160)
        assert images.dtype == np.uint8
        assert set(np.unique(labels)) - {0} == set(rows["track"])
        for row in rows[:: len(rows) // 40].itertuples():
            own = labels[row.frame] == row.track
            assert own.any()
            assert np.hypot(x[own].mean() - row.x, y[own].mean() - row.y) < 5
        shown = np.isin(labels, rows["track"])
        assert images[shown].mean() > 1.5 * images[~shown].mean()


def test_mothers_have_two_daughters_that_start_in_telophase(written):
    _, tracks = written
    for movie, rows in tracks.groupby("movie"):
        born = rows[rows["parent"] > 0].groupby("track").first()
        assert (born["stage"] == "telophase").all(), movie
        for mother, pair in born.groupby("parent"):
            assert len(pair) == 2
            last = rows[rows["track"] == mother].iloc[-1]
            assert last["stage"] == "anaphase"
            assert (pair["frame"] == last["frame"] + 1).all()
    assert (tracks["parent"] > 0).any()


def test_one_frame_is_ambiguous(written):
    """Size, density and shape of the true mask, the brightness of the pixels in it: what one frame tells."""
    folder, tracks = written
    measured = []
    for (movie, mask), rows in tracks.groupby(["movie", "mask"], sort=False):
        images, labels = tifffile.imread(folder / movie).astype(float), tifffile.imread(folder / mask)
        for row in rows.itertuples():
            y, x = np.nonzero(labels[row.frame] == row.track)
            values = images[row.frame][y, x]
            shape = np.linalg.eigvalsh(np.cov(np.stack([x, y])) + 1e-6 * np.eye(2))
            measured.append([len(x), values.mean(), values.std(), *shape, np.percentile(values, 90)])
    measured = np.array(measured)
    held = tracks["movie"].isin(sorted(tracks["movie"].unique())[3:]).to_numpy()
    forest = RandomForestClassifier(100, class_weight="balanced_subsample", min_samples_leaf=3, random_state=0)
    forest.fit(measured[~held], tracks["stage"][~held])
    score = balanced_accuracy_score(tracks["stage"][held], forest.predict(measured[held]))
    assert 0.5 < score < 0.9


def test_the_same_seed_gives_the_same_files(tmp_path):
    paths = [
        simulate_movies.write(tmp_path / name, **SMALL, seed=seed) for name, seed in [("a", 5), ("b", 5), ("c", 6)]
    ]
    files = [{p.relative_to(path.parent): p.read_bytes() for p in path.parent.rglob("*.*")} for path in paths]
    assert files[0] == files[1]
    assert all(files[0][name] != files[2].get(name) for name in files[0])


def test_two_channels(tmp_path):
    path = simulate_movies.write(tmp_path, **SMALL, channels=2)
    images = tifffile.imread(path.parent / "movies" / "movie-1.tif")
    assert images.shape == (12, 2, 96, 96)
    assert not np.array_equal(images[:, 0], images[:, 1])


def test_difficulty_makes_noisier_movies():
    rough = []
    for hardness in (0.5, 1.0):
        images, labels, _ = simulate_movies.movie(10, 3, 96, 1, hardness, np.random.default_rng(1))
        empty = images[labels == 0].astype(float)
        rough.append(empty.std() / (images[labels > 0].mean() - empty.mean()))
    assert rough[1] > 1.2 * rough[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"movies": 0}, "movies of 1 to"),
        ({"frames": 2}, "frames of 4 to"),
        ({"cells": 0}, "cells of 1 to"),
        ({"size": 20}, "size of 64 to"),
        ({"channels": 3}, "channels of 1 to 2, got 3"),
        ({"difficulty": 1.5}, "difficulty of 0 to 1"),
    ],
)
def test_bad_options_are_refused_in_one_line(tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        simulate_movies.write(tmp_path / "movies", **options)
    assert not (tmp_path / "movies").exists()
