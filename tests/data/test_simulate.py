import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score

from cellml.data import micrograph, nuclei, simulate
from cellml.errors import UserError


def read(path):
    table = pd.read_csv(path)
    images = np.stack([np.asarray(Image.open(path.parent / file)) for file in table["file"]])
    masks = np.stack([np.asarray(Image.open(path.parent / file)) for file in table["mask"]])
    return table, images, masks


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return read(simulate.write(tmp_path_factory.mktemp("cells"), count=700, seed=3))


def test_the_table_lists_images_masks_stages_and_slides(cells):
    table, images, masks = cells
    assert list(table) == ["file", "mask", "label", "slide"]
    assert images.shape == (700, 64, 64, 3)
    assert images.dtype == np.uint8
    assert set(np.unique(masks)) == {0, 255}
    assert table["file"].is_unique
    assert table["slide"].nunique() == 12


def test_stages_have_their_shares_and_the_rare_ones_are_rare(cells):
    counts = cells[0]["label"].value_counts()
    assert set(counts.index) == set(nuclei.STAGES)
    for stage, share in nuclei.SHARES.items():
        assert abs(counts[stage] - 700 * share) <= 2
    assert counts["anaphase"] < counts["interphase"] / 7


def test_every_stage_stands_on_every_slide(cells):
    table = cells[0]
    assert (pd.crosstab(table["label"], table["slide"]) > 0).all().all()


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), size=st.sampled_from([24, 32, 48, 64]), difficulty=st.floats(0, 1))
def test_masks_are_small_and_off_centre(tmp_path_factory, seed, size, difficulty):
    folder = tmp_path_factory.mktemp("masks")
    _, _, masks = read(simulate.write(folder, count=25, seed=seed, size=size, difficulty=difficulty))
    masks = masks > 0
    assert (masks.mean(axis=(1, 2)) <= 0.15).all()
    assert masks.any(axis=(1, 2)).all()
    y, x = np.mgrid[:size, :size]
    centroid = [(m * masks).sum(axis=(1, 2)) / masks.sum(axis=(1, 2)) - (size - 1) / 2 for m in (x, y)]
    assert (np.hypot(*centroid) > 0.12 * size).all()
    middle = masks[:, size // 2 - 1 : size // 2 + 1, size // 2 - 1 : size // 2 + 1]
    assert middle.all(axis=(1, 2)).mean() < 0.5


def test_the_mask_covers_the_labelled_cell(cells):
    table, images, masks = cells
    inside = masks > 0
    blue = images[..., 2].astype(float)
    contrast = [image[mask].mean() - np.median(image[~mask]) for image, mask in zip(blue, inside, strict=True)]
    assert np.mean(np.array(contrast) > 0) > 0.99
    spindle = table["label"].isin(["metaphase", "anaphase"]).to_numpy()
    green = images[..., 1].astype(float)
    glow = np.array([image[mask].mean() - np.median(image[~mask]) for image, mask in zip(green, inside, strict=True)])
    assert glow[spindle].mean() > 3


def test_slides_differ_more_than_images_of_a_slide(cells):
    table, images, _ = cells
    dark = pd.Series(np.percentile(images[..., 2], 20, axis=(1, 2)))
    slides = dark.groupby(table["slide"])
    assert slides.mean().var() > 1.5 * slides.var().mean()


def test_stages_can_be_told_apart_but_not_by_thumbnails(cells):
    table, images, masks = cells
    train = table["slide"].isin(sorted(table["slide"].unique())[:9]).to_numpy()

    def score(features):
        forest = RandomForestClassifier(200, class_weight="balanced_subsample", min_samples_leaf=2, random_state=0)
        forest.fit(features[train], table["label"][train])
        return balanced_accuracy_score(table["label"][~train], forest.predict(features[~train]))

    small = images.reshape(len(images), 16, 4, 16, 4, 3).mean(axis=(2, 4)).reshape(len(images), -1)
    y, x = np.mgrid[:64, :64]
    measured = []
    for image, mask in zip(images.astype(float), masks > 0, strict=True):
        weight = np.clip(image[..., 2] - np.median(image[..., 2][~mask]), 0, None) * mask
        weight /= weight.sum()
        dx, dy = x - (weight * x).sum(), y - (weight * y).sum()
        spread = np.linalg.eigvalsh(_moments(weight, dx, dy))
        near = weight[np.hypot(dx, dy) < 3].sum()
        measured.append([*spread, near, mask.sum(), image[mask].std(), image[..., 1][mask].mean(), weight.max()])
    measured = np.array(measured)
    assert score(measured) > 0.65
    assert score(small) < score(measured) - 0.1


def _moments(weight, dx, dy):
    return [[(weight * a * b).sum() for a in (dx, dy)] for b in (dx, dy)]


def test_difficulty_makes_noisier_images(tmp_path):
    rough = []
    for difficulty in (0.0, 1.0):
        _, images, _ = read(simulate.write(tmp_path / str(difficulty), count=100, difficulty=difficulty))
        images = images.astype(float)
        step = np.abs(np.diff(images, axis=2)).mean(axis=(1, 2, 3))
        rough.append((step / images.mean(axis=(1, 2, 3))).mean())
    assert rough[1] > 1.1 * rough[0]


def test_the_same_seed_gives_the_same_files(tmp_path):
    paths = [simulate.write(tmp_path / name, count=20, seed=seed) for name, seed in [("a", 5), ("b", 5), ("c", 6)]]
    files = [{p.relative_to(path.parent): p.read_bytes() for p in path.parent.rglob("*.*")} for path in paths]
    assert files[0] == files[1]
    assert all(files[0][name] != files[2][name] for name in files[0] if "images" in name.parts)


def test_shares_choose_the_classes(tmp_path):
    table = pd.read_csv(simulate.write(tmp_path, count=40, slides=3, shares={"anaphase": 1, "metaphase": 3}))
    counts = table["label"].value_counts()
    assert set(counts.index) == {"anaphase", "metaphase"}
    assert abs(counts["anaphase"] - 10) <= 1
    assert sorted(table["slide"].unique()) == ["slide-01", "slide-02", "slide-03"]


@settings(max_examples=50, deadline=None)
@given(count=st.integers(5, 400), slides=st.integers(1, 20))
def test_the_layout_fills_every_row(count, slides):
    labels, slide = simulate._layout(count, nuclei.SHARES, slides, np.random.default_rng(count))
    assert len(labels) == len(slide) == count
    assert set(labels) == set(nuclei.STAGES)
    assert slide.min() >= 0
    assert slide.max() < slides


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": 3}, "at least 5"),
        ({"size": 8}, "24 to 512"),
        ({"slides": 0}, "slide"),
        ({"difficulty": 2}, "0 to 1"),
        ({"shares": {"anaphse": 1, "metaphase": 1}}, "did you mean 'anaphase'"),
        ({"shares": {"anaphase": 1}}, "two stages"),
        ({"shares": {"anaphase": 1, "metaphase": 0}}, "positive"),
    ],
)
def test_bad_options_are_refused_in_one_line(tmp_path, options, said):
    with pytest.raises(UserError, match=said) as caught:
        simulate.write(tmp_path / "cells", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cells").exists()


def test_a_batch_is_drawn_without_files():
    rng = np.random.default_rng(0)
    look = micrograph.slide_looks(2, 0.7, rng)
    images, masks = micrograph.render(
        np.array(["telophase", "prophase"], dtype=object), look, size=40, hardness=0.7, rng=rng
    )
    assert images.shape == (2, 40, 40, 3)
    assert masks.shape == (2, 40, 40)
    assert masks.dtype == bool
