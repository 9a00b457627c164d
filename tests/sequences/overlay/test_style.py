import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellml.sequences.overlay import style


@pytest.mark.parametrize("count", [1, 5, 7, 8, 20])
def test_stage_colours_differ_and_stand_out_from_black(count):
    colours = np.array(style.colours(count)) / 255
    assert len({tuple(c) for c in colours}) == count
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    contrast = (linear @ [0.2126, 0.7152, 0.0722] + 0.05) / 0.05  # WCAG 2.2, against black
    assert contrast.min() > 3


@given(st.lists(st.text("abAB", min_size=1, max_size=8), min_size=1, max_size=8, unique=True))
def test_short_names_begin_the_names_and_differ(names):
    short = style.short(names)
    assert len(set(short)) == len(names)
    assert all(name.startswith(part) for name, part in zip(names, short, strict=True))


def test_short_names_of_stages():
    assert style.short(["Interphase", "Prophase", "Prometaphase", "Metaphase", "G1"]) == [
        "Int",
        "Prop",
        "Prom",
        "Met",
        "G1",
    ]


def test_lines_are_no_wider_than_asked():
    text = "not validated: the model comes from another modality, and Donaudampfschifffahrtsgesellschaftskapitänsmütze"
    lines = style.wrapped(text, 12, 150)
    assert all(style.width(line, 12) <= 150 for line in lines)
    assert " ".join(lines).startswith("not validated: the model comes from another modality")
    assert style.wrapped("", 12, 150) == []
    assert style.fitted("short", 12, 150) == "short"


def test_a_tag_says_stage_error_and_entropy_by_colour():
    right = np.asarray(style.Tag("Met 90%", (1, 2, 3), 50, False).picture())
    wrong = np.asarray(style.Tag("Met 90%", (1, 2, 3), 50, True).picture())
    assert (right[:, :3] == (1, 2, 3)).all()
    assert (wrong[4, 4:] == style.WRONG).all(axis=1).any()
    assert not (right == style.WRONG).all(axis=2).any()
    bar = (right[-2, 3:] == style.INK).all(axis=1)
    assert bar.mean() == pytest.approx(0.5, abs=0.05)
    assert bar[: bar.sum()].all()
    assert style.Tag("Met", (1, 2, 3), -1, False).size[1] == right.shape[0] - 3
    assert style.Tag("Met 90%", (1, 2, 3), 50, True).size == right.shape[1::-1]


@pytest.mark.parametrize("bold", [False, True])
def test_fitted_text_fits_in_its_own_weight(bold):
    for most in (20, 80, 242):
        assert style.width(style.fitted("cell 7: ami-br.resnet10t@champion", 14, most, bold), 14, bold) <= most
