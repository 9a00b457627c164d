import pytest

from cellml.data import nuclei, simulate
from cellml.errors import UserError

SMALL = {"count": 24, "size": 24, "slides": 4}


def test_makes_its_images_once_a_choice_of_options(read, monkeypatch):
    rows = read("simulated", options=SMALL)
    assert rows.root is not None
    assert len(rows.table) == 24
    assert rows.classes == tuple(nuclei.STAGES)
    assert all((rows.root / f).is_file() for column in ("file", "mask") for f in rows.table[column])
    assert rows.table["group"].nunique() <= 4
    calls = []
    real = simulate.write
    monkeypatch.setattr(simulate, "write", lambda *a, **k: calls.append(k) or real(*a, **k))
    assert read("simulated", options=SMALL).root == rows.root
    assert calls == []
    assert read("simulated", options=SMALL | {"seed": 1}).root != rows.root
    assert [k["seed"] for k in calls] == [1]


def test_a_data_folder_or_unknown_option_is_an_error(read):
    with pytest.raises(UserError, match=r"no data.path with data.source: simulated"):
        read("simulated", path="cells", options=SMALL)
    with pytest.raises(UserError, match="Unknown option 'counts' of source 'simulated': did you mean 'count'"):
        read("simulated", options={"counts": 3})
