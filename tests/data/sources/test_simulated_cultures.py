import pandas as pd
import pytest

from cellml.data import simulate_cultures
from cellml.errors import UserError

SMALL = {"plates": 2, "wells": 2, "cells": 3, "size": 24}


def test_makes_its_images_once_a_choice_of_options(read, monkeypatch):
    rows = read("simulated_cultures", options=SMALL)
    assert rows.root is not None
    assert len(rows.table) == 36
    assert rows.classes == ("DS", "TT", "WT")
    assert rows.table["group"].nunique() == 12
    assert (rows.table.groupby("group")["label"].nunique() == 1).all()
    assert all((rows.root / f).is_file() for column in ("file", "mask") for f in rows.table[column])
    calls = []
    real = simulate_cultures.write
    monkeypatch.setattr(simulate_cultures, "write", lambda *a, **k: calls.append(k) or real(*a, **k))
    assert read("simulated_cultures", options=SMALL).root == rows.root
    assert calls == []
    assert read("simulated_cultures", options=SMALL | {"seed": 1}).root != rows.root
    assert [k["seed"] for k in calls] == [1]


def test_plates_may_be_the_groups_and_what_was_planted_a_further_label(read):
    rows = read("simulated_cultures", options=SMALL, group="plate", mask="cell", auxiliary=["response"])
    assert sorted(set(rows.table["group"])) == ["plate-1", "plate-2"]
    assert rows.table["mask"].str.startswith("cells/").all()
    table = pd.read_csv(rows.root / "table.csv")
    assert rows.table["auxiliary:response"].astype(float).tolist() == table["response"].tolist()


def test_further_treatments_are_classes_unless_left_out(read):
    options = SMALL | {"treatments": {"TT": 0.5, "drug": 0.2}}
    assert read("simulated_cultures", options=options).classes == ("DS", "TT", "drug", "WT")
    controls = read("simulated_cultures", options=options, classes=["DS", "WT"], unlisted="drop")
    assert len(controls.table) == 24


def test_a_data_folder_is_an_error(read):
    with pytest.raises(UserError, match=r"no data.path with data.source: simulated_cultures"):
        read("simulated_cultures", path="cells", options=SMALL)
