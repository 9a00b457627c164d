import numpy as np
import pytest

from cellml.explain import canvas, panels
from tests.explain.helpers import clipped, rendered


@pytest.fixture
def axes():
    return canvas.page(canvas.blank(100))[1]


def test_pixels_are_shown_one_to_one():
    pixels = np.random.default_rng(0).integers(0, 256, (37, 900, 3), dtype=np.uint8)
    np.testing.assert_array_equal(rendered(canvas.page(pixels)[0]), pixels)


@pytest.mark.parametrize("text", ["W" * 300, "i" * 300, "a b\n c\t" * 40, "$x^2$ " * 50])
@pytest.mark.parametrize("width", [12, 60, 333])
def test_long_text_is_cut_in_the_middle_to_its_width(axes, text, width):
    line = " ".join(text.split())
    shown = canvas.fitted(axes, text, width, fontsize=8)
    written = canvas.write(axes, 5, 5, text, width, fontsize=8)
    assert written.get_text() == shown
    assert written.get_window_extent().width <= width
    head, _, tail = shown.partition("…")
    assert line.startswith(head)
    assert line.endswith(tail)
    longer = f"{line[: len(head) + 2]}…{line[len(line) - len(tail) - 2 :]}"
    assert canvas.extent(axes, longer, fontsize=8) > 0.8 * width


def test_short_text_stays_whole(axes):
    assert canvas.write(axes, 5, 5, "$G_2$ phase", 300).get_text() == "$G_2$ phase"


def test_measuring_leaves_nothing_behind(axes):
    canvas.fitted(axes, "long " * 90, 40, fontsize=8)
    assert not axes.texts


def test_a_picture_takes_its_square_only():
    pixels = canvas.blank(60, 80)
    canvas.place(pixels, np.zeros((10, 10, 3), np.uint8), 20, 5, 40)
    black = (pixels == 0).all(axis=2)
    assert black[5:45, 20:60].all()
    assert black.sum() == 1600


def test_legend_runs_from_red_over_white_to_green_and_says_so():
    figure, axes = canvas.page(canvas.blank(canvas.LEGEND))
    canvas.legend(axes, 0, "G2", "a note")
    row = rendered(figure)[14]
    red, white, green = row[166], row[450], row[734]
    assert np.abs(red - 255 * np.array(panels.AGAINST)).max() < 6
    assert white.min() > 250
    assert np.abs(green - 255 * np.array(panels.FOR)).max() < 6
    assert [text.get_text() for text in axes.texts] == ["against G2", "for G2", "a note"]


def test_titles_and_legends_of_long_names_stay_on_the_page():
    figure, axes = canvas.page(canvas.blank(canvas.HEAD + canvas.LEGEND))
    canvas.title(axes, "W" * 200, "m" * 400)
    canvas.legend(axes, canvas.HEAD, "W" * 99, "note " * 99)
    assert not clipped(figure)
