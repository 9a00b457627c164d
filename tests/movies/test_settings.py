import pytest

from cellml.errors import UserError
from cellml.movies.options import OPTIONS
from cellml.movies.settings import Settings


def test_texts_become_values_and_empty_ones_the_defaults():
    empty = dict.fromkeys(OPTIONS, "")
    assert Settings.parsed({"movie": "m.tif", **empty}) == Settings("m.tif")
    given = {
        "movie": "m.tif",
        "channels": "2, 0",
        "columns": "track=ID, frame=t",
        "mitotic": "Metaphase,Late anaphase",
        "window": "64",
        "first": "1",
        "interval": "7.5",
        "caption": "not validated: elsewhere",
    }
    assert Settings.parsed(given) == Settings(
        "m.tif",
        channels=(2, 0),
        columns={"track": "ID", "frame": "t"},
        mitotic=("Metaphase", "Late anaphase"),
        window=64,
        first=1,
        interval=7.5,
        caption="not validated: elsewhere",
    )


def test_every_option_is_a_setting():
    assert set(OPTIONS) | {"movie"} == set(Settings.__dataclass_fields__)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("window", "2"),
        ("window", "a"),
        ("interval", "-1"),
        ("rate", "0"),
        ("distance", "inf"),
        ("channels", "0;1"),
        ("columns", "ID"),
        ("first", "-1"),
    ],
)
def test_other_texts_are_refused_by_name(name, text):
    with pytest.raises(UserError, match=f"{name}.*{text}"):
        Settings.parsed({"movie": "m.tif", name: text})
