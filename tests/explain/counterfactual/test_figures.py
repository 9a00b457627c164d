import numpy as np
import pytest

from cellml.explain.counterfactual import figures
from cellml.explain.counterfactual.base import Counterfactual
from cellml.models.spec import Spec

SPEC = Spec(
    backbone="x", classes=("DS", "TT"), channels=3, size=16, crop=None, dtype="uint8", low=(0.0,) * 3,
    high=(255.0,) * 3, mean=(0.0,) * 3, std=(1.0,) * 3,
)  # fmt: skip


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    original = rng.uniform(0, 200, (4, 3, 16, 16)).astype(np.float32)
    changed = original.copy()
    changed[:, 0, :8] += 40
    changed[3] = original[3]
    same = np.zeros(4, dtype=np.int64)
    walk = np.linspace(original, changed, 5, axis=1).astype(np.float32)
    reached = np.array([True, True, True, False])
    return Counterfactual(
        original, (original + changed) / 2, changed, same, same + 1, "x", reached, np.ones((4, 2)), walk
    )


def shown(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


def texts(figure):
    return " ".join(text.get_text() for ax in figure.axes for text in ax.texts)


def test_a_sheet_says_and_shows_what_changes(found):
    probabilities = np.tile([[[0.9, 0.1], [0.2, 0.8]]], (4, 1, 1))
    figure = figures.sheet(found, probabilities, SPEC, list("abcd"), title="net", names=["mito", "dna", "actin"])
    said = texts(figure)
    assert "DS look like TT" in said
    assert said.count("p(TT) 0.800") == 3
    assert said.count("mean +0%") == 6
    gain = (found.changed[0, 0].mean() - found.original[0, 0].mean()) / found.original[0, 0].mean()
    assert f"mean {gain:+.0%}" in said
    assert " d" not in said.split()
    pixels = shown(figure).astype(int)
    green = (pixels[..., 1] > 130) & (pixels[..., 0] < 60)
    assert green.sum() > 3 * 1000
    assert figure.get_figwidth() * figure.dpi == pytest.approx(900)


def test_nothing_reached_is_said(found):
    found = Counterfactual(**(vars(found) | {"reached": np.zeros(4, bool)}))
    figure = figures.sheet(found, np.zeros((4, 2, 2)), SPEC, list("abcd"), title="net")
    assert "No image reached" in " ".join(
        t.get_text() for t in [*figure.texts, *(t for a in figure.axes for t in a.texts)]
    )


def test_values_below_zero_are_black(found):
    dark = np.full((2, 3, 16, 16), -9, dtype=np.float32)
    assert not np.any(next(figures.frames(dark, np.eye(2), SPEC, 16))[:16])


def test_a_walk_shows_every_image_and_every_class(found):
    probabilities = np.stack([np.linspace(0.9, 0.1, 5), np.linspace(0.1, 0.9, 5)], axis=1)
    figure = figures.walk(found.walk[0], probabilities, SPEC, "cell 1")
    *pictures, curve = figure.axes
    assert len(pictures) == 5
    np.testing.assert_allclose([line.get_ydata() for line in curve.lines], probabilities.T)
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["DS", "TT"]


def test_frames_go_there_and_back_with_bars(found):
    probabilities = np.stack([np.linspace(1, 0, 5), np.linspace(0, 1, 5)], axis=1)
    made = list(figures.frames(found.walk[0], probabilities, SPEC, 64))
    assert len(made) == 8
    assert all(frame.shape == (64 + 24, 64, 3) and frame.dtype == np.uint8 for frame in made)
    bars = [int((frame[64 + 5] != 255).any(axis=1).sum()) for frame in made]
    assert bars == [64, 48, 32, 16, 0, 16, 32, 48]
