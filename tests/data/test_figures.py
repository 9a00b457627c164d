from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cellml.data import figures
from cellml.data.manifest import Manifest


@dataclass(frozen=True)
class Data:
    manifest: Manifest
    pixels: list


def data(images, labels, splits=None, ids=None):
    n = len(images)
    table = pd.DataFrame({"label": labels, "split": splits or ["train"] * n})
    table["id"] = ids or [f"folder/{i:03d}.png" for i in range(n)]
    table["file"] = table["group"] = table["id"]
    table["pixels"], table["row"] = "", np.arange(n)
    return Data(Manifest(table, tuple(dict.fromkeys(labels))), images)


def plain(value, shape=(10, 10, 3), dtype=np.uint8):
    return np.full(shape, value, dtype=dtype)


def mosaic(figure):
    (shown,) = figure.axes[0].get_images()
    return np.asarray(shown.get_array())


def tile(figure, place, columns=figures.COLUMNS):
    y, x = divmod(place, columns)
    y, x = y * (figures.TILE + figures.CAPTION), x * (figures.TILE + figures.GAP)
    return mosaic(figure)[y : y + figures.TILE, x : x + figures.TILE]


def captions(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_each_class_has_a_sheet_of_its_own_images():
    sheets = figures.contact_sheets(data([plain(10), plain(200), plain(20)], ["x", "y", "x"]))
    assert list(sheets) == ["x", "y"]
    assert (tile(sheets["x"], 0) == 10).all()
    assert (tile(sheets["x"], 1) == 20).all()
    assert (tile(sheets["x"], 2) == 255).all()
    assert (tile(sheets["y"], 0) == 200).all()
    assert captions(sheets["x"]) == ["000.png", "002.png"]


def test_a_large_class_is_shown_by_an_even_choice_that_does_not_depend_on_order():
    images = [plain(i) for i in range(200)]
    ids = [f"{i:03d}" for i in range(200)]
    one = figures.contact_sheets(data(images, ["x"] * 200, ids=ids))["x"]
    mixed = np.random.default_rng(0).permutation(200)
    two = figures.contact_sheets(data([images[i] for i in mixed], ["x"] * 200, ids=[ids[i] for i in mixed]))["x"]
    assert captions(one) == captions(two)
    assert (mosaic(one) == mosaic(two)).all()
    numbers = np.array(captions(one), dtype=int)
    assert len(numbers) == figures.COLUMNS * figures.ROWS
    assert numbers[0] == 0
    assert numbers[-1] == 199
    assert np.ptp(np.diff(numbers)) <= 1
    assert "48 of 200 images" in one.texts[0].get_text()


def test_images_keep_their_shape_in_the_tile():
    tall = figures.contact_sheets(data([plain(7, (40, 20, 3))], ["x"]))["x"]
    dark = (tile(tall, 0) == 7).all(axis=2)
    rows, columns = dark.any(axis=1).sum(), dark.any(axis=0).sum()
    assert (rows, columns) == (figures.TILE, figures.TILE // 2)


def test_sixteen_bit_images_share_one_scale():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, top, (12, 12, 2)).astype(np.uint16) for top in (500, 5000)]
    sheets = figures.contact_sheets(data(images, ["dim", "bright"]))
    assert tile(sheets["dim"], 0).mean() < 0.25 * tile(sheets["bright"], 0).mean()


@pytest.mark.parametrize(("shape", "dtype"), [((9, 9, 1), np.uint8), ((9, 9, 5), np.uint16), ((1, 1, 3), np.uint8)])
def test_sheets_of_any_kind_of_image_can_be_drawn(shape, dtype):
    images = [np.random.default_rng(i).integers(0, 255, shape).astype(dtype) for i in range(9)]
    name = "CD4+ $x_1^"
    (figure,) = figures.contact_sheets(
        data(images, [name] * 9, ids=[f"$b_{i}" + "long" * 20 for i in range(9)])
    ).values()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert np.asarray(canvas.buffer_rgba())[..., :3].min() < 100
    assert all(len(text) <= figures.ID_LENGTH for text in captions(figure))


def test_captions_fit_below_their_images():
    images = [plain(0) for _ in range(8)]
    ids = [f"some/folder/MIDOG21_mitotic_{i}_{i**i}.png" for i in range(8)]
    figure = figures.contact_sheets(data(images, ["x"] * 8, ids=ids))["x"]
    renderer = FigureCanvasAgg(figure).get_renderer()
    widths = [text.get_window_extent(renderer).width for text in figure.axes[0].texts]
    assert max(widths) < figures.TILE + figures.GAP


def test_captions_keep_what_tells_files_apart():
    ids = ["a/short.png", "a/BloodImage_00042.jpg#100,200,300,400", "a/slide_0017_with_a_long_name_0099.png"]
    figure = figures.contact_sheets(data([plain(0)] * 3, ["x"] * 3, ids=ids))["x"]
    assert sorted(captions(figure)) == ["BloodImage_00042#…", "short.png", "slide_001…0099.png"]


def test_bars_are_the_counts():
    labels = ["x"] * 5 + ["y"] * 3
    splits = ["train", "train", "val", "test", "test", "train", "test", "test"]
    figure = figures.class_balance(data([plain(0)] * 8, labels, splits).manifest)
    (axes,) = figure.axes
    widths = {c.get_label(): [bar.get_width() for bar in c] for c in axes.containers}
    assert widths == {"train": [2, 1], "val": [1, 0], "test": [2, 2]}
    assert [t.get_text() for t in axes.texts] == ["5 (2, 1, 2)", "3 (1, 0, 2)"]
    FigureCanvasAgg(figure).draw()


def test_the_state_of_pyplot_is_left_alone():
    figures.contact_sheets(data([plain(1)], ["x"]))
    assert not matplotlib._pylab_helpers.Gcf.figs
