from hypothesis import given
from hypothesis import strategies as st

from cellml.evaluation import style

NAMES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="$"), max_size=60), min_size=1, max_size=12)


@given(NAMES, st.integers(8, 40))
def test_names_fit_and_stay_different(names, limit):
    shown = style.names(names, limit)
    assert all(len(text) <= limit for text in shown)
    assert len(set(shown)) >= len(set(names))
    assert all(
        short == name for short, name in zip(shown, names, strict=True) if len(name) <= limit and ": " not in short
    )


def test_names_that_differ_anywhere_are_told_apart():
    for names in (
        ["compartment of the cell number 1", "compartment of the cell number 2"],
        ["x" * 30 + c + "y" * 30 for c in "ab"],
    ):
        assert len(set(style.names(names, 15))) == 2


def test_dollars_start_no_formula():
    assert style.names(["$x$"]) == [r"\$x\$"]


def test_lines_of_many_classes_differ():
    looks = [style.line(k) for k in range(21)]
    assert len({(look["color"], look["linestyle"]) for look in looks}) == 21


def test_colours_of_stages_differ_and_the_first_are_the_houses():
    made = style.stages(20)
    assert len(set(made)) == 20
    assert [colour.lower() for colour in style.STAGES] == made[:7]
