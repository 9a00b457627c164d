import numpy as np
import pytest
from matplotlib.colors import to_rgb

from cellml.explain import selection, sheets
from tests.explain.helpers import clipped, overlapping, rendered, texts


def sheet(n=3, true=("pos", "neg", ""), explained="pos", **changes):
    rng = np.random.default_rng(0)
    values = {
        "images": [rng.integers(0, 256, (30, 30, 3), dtype=np.uint8) for _ in range(n)],
        "maps": rng.normal(size=(n, 30, 30)).astype(np.float32),
        "explained": explained,
        "true": [true[k % len(true)] for k in range(n)],
        "predicted": ["pos"] * n,
        "probability": np.full(n, 0.75),
        "ids": [f"slide/{k}.png" for k in range(n)],
    }
    return sheets.contact_sheet(**{**values, **changes})


def near(pixels, color):
    return np.abs(pixels - 255 * np.array(to_rgb(color))).max(axis=-1) < 12


def test_right_wrong_and_unknown_are_framed_and_said():
    figure = sheet()
    said = texts(figure)
    assert "right: pos" in said
    assert "wrong: neg, said pos" in said
    assert "predicted pos" in said
    assert said.count("P(pos) = 0.75") == 3
    assert "1 of 2 shown are right" in said
    pixels = rendered(figure)
    for k, color in enumerate((sheets.RIGHT, sheets.WRONG, sheets.UNKNOWN)):
        column = pixels[62 : 62 + 120, 10 + 220 * k : 10 + 220 * k + 216]
        counts = {c: near(column, c).sum() for c in (sheets.RIGHT, sheets.WRONG, sheets.UNKNOWN)}
        assert max(counts, key=counts.get) == color
        assert counts[color] > 500


@pytest.mark.parametrize("n", [1, 4, 5, 32])
def test_as_wide_as_the_ui_shows_and_as_high_as_needed(n):
    pixels = rendered(sheet(n, true=("pos",)))
    assert pixels.shape == (62 + 162 * -(-n // 4) + 58, 900, 3)
    tile = pixels[62 + 4 : 62 + 108, 14 : 14 + 104]
    assert tile.std() > 30


def test_every_image_stands_beside_its_own_map():
    shades = [np.full((30, 30, 3), 40 * k + 20, np.uint8) for k in range(5)]
    maps = np.stack([np.full((30, 30), 1.0 if k % 2 else -1.0, np.float32) for k in range(5)])
    pixels = rendered(sheet(5, true=("pos",), images=shades, maps=maps))
    for k in range(5):
        left, top = 10 + 220 * (k % 4), 62 + 162 * (k // 4)
        assert abs(pixels[top + 50, left + 50].mean() - (40 * k + 20)) < 2
        red, green = pixels[top + 50, left + 160, :2]
        assert (green > red) == bool(k % 2)


def test_no_more_than_asked():
    assert sum(text.startswith("P(") for text in texts(sheet(40))) == 32
    assert sum(text.startswith("P(") for text in texts(sheet(40, most=6))) == 6


@pytest.mark.filterwarnings("ignore:Glyph")
def test_names_of_any_kind_are_drawn_as_they_stand():
    name = "S & <b>$G_2$</b> 前期" * 4
    figure = sheet(2, true=(name,), explained=name, ids=["a$b" * 30, "$x$"])
    rendered(figure)
    assert all(len(text) < 200 for text in texts(figure))
    assert "$x$" in texts(figure)


def test_groups_stand_under_headings_in_order():
    names = [*selection.GROUPS[:4]] * 3 + [selection.FALSE_POSITIVE] * 3
    figure = sheet(15, true=("pos",), groups=names, ids=[str(k) for k in range(15)])
    height = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}
    tops = [height[sheets.HEADINGS[group][0]] for group in selection.GROUPS[:4]]
    assert tops == sorted(tops)
    assert sheets.HEADINGS[selection.UNKNOWN][0] not in height
    assert "missed: taken for another class (3 shown)" in height
    for k, group in enumerate(names):
        above = [top for top in tops if top < height[str(k)]]
        assert above[-1] == height[sheets.HEADINGS[group][0]]
    assert rendered(figure).shape == (62 + 4 * 30 + 162 * 5 + 58, 900, 3)


def test_headings_take_the_colours_of_their_groups():
    pixels = rendered(sheet(4, true=("pos",), groups=selection.GROUPS[:4]))
    for k, group in enumerate(selection.GROUPS[:4]):
        band = pixels[62 + k * 192 : 62 + k * 192 + 26]
        assert near(band, sheets.HEADINGS[group][2]).sum() > 100


def test_when_there_are_too_many_every_group_gives_some():
    names = [group for group in selection.GROUPS[:4] for _ in range(10)]
    ids = [f"{k}" for k in range(40)]
    said = texts(sheet(40, true=("pos",), groups=names, ids=ids, most=8))
    assert [i for i in ids if i in said] == ["0", "1", "10", "11", "20", "21", "30", "31"]


def test_images_of_unknown_class_have_a_heading():
    said = texts(sheet(2, true=("",), groups=[selection.UNKNOWN] * 2))
    assert "true class unknown (2 shown)" in said
    assert "true class unknown" in said


@pytest.mark.parametrize("name", ["G2", "Atypical mitotic figure", "W" * 80, "$a_1$ & <b>"])
def test_no_text_is_cut_off_or_runs_into_another(name):
    figure = sheet(9, true=(name, "i" * 70, ""), explained=name, predicted=[name, "W" * 50, name] * 3, title=name)
    grouped = sheet(9, true=(name, "W" * 70), explained=name, groups=[*selection.GROUPS[:3]] * 3, ids=["W/" * 60] * 9)
    for drawn in (figure, grouped):
        assert not clipped(drawn)
        assert not overlapping(drawn)


def test_a_name_gets_the_room_that_the_other_leaves():
    said = texts(sheet(1, true=("Atypical mitosis",), predicted=["S"]))
    assert "wrong: Atypical mitosis, said S" in said


def test_legend_runs_from_red_to_green():
    pixels = rendered(sheet())
    row = pixels[-58 + 14]
    assert row[170][0] > row[170][1] + 80
    assert row[-170][1] > row[-170][0] + 80
    assert row[450].min() > 240


def test_strip_is_a_row_of_overlays():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (20, 20, 3), dtype=np.uint8) for _ in range(9)]
    maps = rng.normal(size=(9, 20, 20)).astype(np.float32)
    assert rendered(sheets.strip(images, maps)).shape == (110, 6 * 114 - 4, 3)
    assert rendered(sheets.strip(images[:2], maps[:2], ["a $", "b"])).shape == (128, 2 * 114 - 4, 3)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="got 2 images"):
        sheet(2, ids=["one"])
    with pytest.raises(ValueError, match="got 2 images"):
        sheet(2, groups=["borderline"])
    with pytest.raises(ValueError, match="got \\['worse'\\]"):
        sheet(2, groups=["borderline", "worse"])
    with pytest.raises(ValueError, match="got 0 images"):
        sheets.strip([], np.zeros((0, 4, 4), np.float32))
