import pytest

from cellml.data import nuclei, simulate_movies
from cellml.errors import UserError

SMALL = {"movies": 2, "frames": 8, "cells": 3, "size": 96}


def test_makes_its_movies_once_a_choice_of_options(read, monkeypatch):
    rows = read("simulated_movies", options=SMALL, window=32, partial=True)
    assert rows.root is not None
    assert rows.classes == tuple(nuclei.STAGES)
    assert rows.table["group"].nunique() == 2
    assert (rows.table[["x1", "y1"]].to_numpy() - rows.table[["x0", "y0"]].to_numpy() == 32).all()
    calls = []
    real = simulate_movies.write
    monkeypatch.setattr(simulate_movies, "write", lambda *a, **k: calls.append(k) or real(*a, **k))
    assert read("simulated_movies", options=SMALL, partial=True).root == rows.root
    assert calls == []
    assert read("simulated_movies", options=SMALL | {"seed": 1}, partial=True).root != rows.root
    assert [k["seed"] for k in calls] == [1]


def test_families_may_be_the_groups(read):
    rows = read("simulated_movies", options=SMALL | {"frames": 30}, group="family", partial=True)
    one = rows.table.drop_duplicates("sequence").set_index("sequence")
    assert one["group"].nunique() == 6
    for name, mother in one["parent"].items():
        assert not mother or one["group"][mother] == one["group"][name]


def test_a_data_folder_is_an_error(read):
    with pytest.raises(UserError, match=r"no data.path with data.source: simulated_movies"):
        read("simulated_movies", path="cells", options=SMALL)
