import re

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from cellml.errors import UserError
from cellml.movies import run as subject
from cellml.movies.run import Model
from cellml.movies.settings import Settings
from tests.kept import Kept
from tests.movies.test_crops import silent
from tests.sequences import fields as helpers


@pytest.fixture
def given(tmp_path):
    tifffile.imwrite(tmp_path / "movie.tif", helpers.frames())
    helpers.centres().assign(stage="metaphase").to_csv(tmp_path / "cells.csv", index=False)
    return Settings(str(tmp_path / "movie.tif"), tracks=str(tmp_path / "cells.csv"), window=24)


def bright(windows):
    """Metaphase where a window is bright in its middle, else interphase; what the model was given is kept."""
    bright.seen.append(windows)
    middle = windows[:, 10:14, 10:14].mean(axis=(1, 2, 3)) > 100
    return np.where(middle[:, None], [0.1, 0.0, 0.8, 0.1], [0.8, 0.1, 0.1, 0.0])


@pytest.fixture
def model():
    bright.seen = []
    return Model("bright", helpers.STAGES, 1, "uint8", None, bright)


def ran(settings, model, tmp_path):
    kept, lines = Kept(tmp_path / "out"), []
    kept.folder.mkdir(exist_ok=True)
    subject.run(settings, model, kept, silent, lines.append)
    return kept, lines


def test_everything_comes_of_one_call(given, model, tmp_path):
    settings = Settings(**{**vars(given), "track": "4", "interval": 10.0, "caption": "not validated"})
    kept, lines = ran(settings, model, tmp_path)
    files = {path.name for path in (kept.folder / "movie").iterdir()}
    assert files == {
        "cells.csv", "population.csv", "population.png", "overlay.mp4", "overlay.gif", "track_4.mp4", "track_4.gif",
    }  # fmt: skip
    cells = pd.read_csv(kept.folder / "movie" / "cells.csv", dtype={"track": str})
    assert cells[["track", "frame"]].values.tolist() == helpers.cells().table[["track", "frame"]].values.tolist()
    assert set(cells["stage"]) == {"metaphase"}
    assert kept.logged["movie/agreement"] == 1
    assert kept.logged["movie/cells"] == 42
    population = pd.read_csv(kept.folder / "movie" / "population.csv")
    assert population["cells"].tolist() == [3] * 6 + [4] * 6
    assert (population["mitotic_index"] == 1).all()
    with (
        Image.open(kept.folder / "movie" / "track_4.gif") as gif,
        Image.open(kept.folder / "movie" / "overlay.gif") as all_,
    ):
        assert (gif.n_frames, all_.n_frames) == (6, 12)
    assert any("12 frames, 5 tracks, 42 cells" in line for line in lines)


def test_a_chosen_gray_channel_is_repeated_for_a_model_of_colours(given, model, tmp_path):
    pixels = np.stack([255 - helpers.frames(), helpers.frames()], axis=1)
    tifffile.imwrite(tmp_path / "movie.tif", pixels, imagej=True, metadata={"axes": "TCYX"})
    ran(Settings(**{**vars(given), "channels": (1,)}), Model(**{**vars(model), "channels": 3}), tmp_path)
    assert {windows.shape[3] for windows in bright.seen} == {3}
    assert all((windows == windows[..., :1]).all() for windows in bright.seen)
    assert all(windows[:, 12, 12].min() >= 150 for windows in bright.seen)


def test_a_model_of_whole_tracks_sees_no_gap(given, model, tmp_path):
    table = helpers.centres()
    table = table[(table["track"] != "1") | ~table["frame"].isin([3, 4])]
    table.to_csv(tmp_path / "cells.csv", index=False)
    kept, _ = ran(given, Model(**{**vars(model), "whole": True}), tmp_path)
    assert [len(windows) for windows in bright.seen] == [12, 12, 6, 6, 6]
    assert len(pd.read_csv(kept.folder / "movie" / "cells.csv")) == 40
    bright.seen.clear()


def test_decoding_sees_log_probabilities_of_whole_tracks(given, model, tmp_path):
    lengths = []

    def decode(logs):
        lengths.append(len(logs))
        np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1)
        return np.full(len(logs), 3)

    kept, _ = ran(given, Model(**{**vars(model), "decode": decode}), tmp_path)
    cells = pd.read_csv(kept.folder / "movie" / "cells.csv")
    assert lengths == [12, 12, 6, 6, 6]
    assert set(cells["decoded"]) == {"anaphase"}
    assert set(cells["stage"]) == {"metaphase"}
    assert (pd.read_csv(kept.folder / "movie" / "population.csv")["share_anaphase"] == 1).all()


def test_tracks_that_fit_no_order_are_said_and_left_as_they_are(given, model, tmp_path):
    def decode(logs):
        return None if len(logs) == 6 else np.full(len(logs), 3)

    kept, lines = ran(given, Model(**{**vars(model), "decode": decode}), tmp_path)
    cells = pd.read_csv(kept.folder / "movie" / "cells.csv")
    lasting = cells.groupby("track")["frame"].transform("size")
    assert set(cells["decoded"][lasting == 12]) == {"anaphase"}
    assert set(cells["decoded"][lasting == 6]) == {"metaphase"}
    assert any("3 tracks" in line and "not decoded" in line for line in lines)


def test_the_one_cell_stays_in_the_middle(given, model, tmp_path):
    from cellml.sequences.movies import opened
    from cellml.sequences.overlay.panel import Words
    from cellml.sequences.said import Said

    cells = helpers.cells()
    said = Said(cells, np.tile([0.7, 0.1, 0.1, 0.1], (len(cells), 1)), helpers.STAGES)
    renderer = subject.one_cell(opened(given.movie), said, "5", 30, Words("m"))
    assert len(renderer) == 6
    assert (renderer.panel.words.first, renderer.panel.words.frames) == (6, 12)
    for outline in renderer.said.cells.outlines:
        np.testing.assert_allclose(outline.mean(axis=0), 15, atol=1.01)
    frame = renderer.movie.frame(0)[:, :, 0]
    x, y = (67, 40)
    np.testing.assert_array_equal(frame, helpers.frames()[6, y - 15 : y + 15, x - 15 : x + 15])


@pytest.mark.parametrize(
    ("change", "of_model", "said"),
    [
        ({}, {"dtype": "uint16"}, r"uint16 frames as bright.*uint8 in movie\.tif"),
        ({"track": "77"}, {}, "'77'"),
        ({"window": None}, {}, "window=64"),
        ({"mitotic": ("metafase",)}, {}, "did you mean 'metaphase'"),
        ({"attribution": "gradcam"}, {}, "single classifier"),
        ({"attribution": "gradcma"}, {}, "did you mean 'gradcam'"),
        ({"movie": "absent.tif"}, {}, "absent.tif"),
    ],
)
def test_what_does_not_fit_is_one_line(given, model, tmp_path, change, of_model, said):
    with pytest.raises(UserError, match=said) as caught:
        ran(Settings(**{**vars(given), **change}), Model(**{**vars(model), **of_model}), tmp_path)
    assert "\n" not in str(caught.value)


def test_the_window_is_that_of_the_training(given, model, tmp_path):
    ran(Settings(**{**vars(given), "window": None}), Model(**{**vars(model), "window": 20}), tmp_path)
    assert {windows.shape[1:3] for windows in bright.seen} == {(20, 20)}


def test_one_channel_for_a_model_of_two(given, model, tmp_path):
    with pytest.raises(UserError, match=r"frames of 2 channels for bright, got 1 .* another model"):
        ran(given, Model(**{**vars(model), "channels": 2}), tmp_path)


def test_two_channels_for_a_model_of_three(given, model, tmp_path):
    pixels = np.stack([helpers.frames()] * 2, axis=1)
    tifffile.imwrite(tmp_path / "movie.tif", pixels, imagej=True, metadata={"axes": "TCYX"})
    with pytest.raises(UserError, match=re.escape("3 channels, or of one, for bright, got 2")):
        ran(given, Model(**{**vars(model), "channels": 3}), tmp_path)
