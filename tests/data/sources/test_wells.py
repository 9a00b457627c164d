from collections import Counter

import numpy as np
import pytest

from cellml.errors import UserError

OPTIONS = {"pure": 8, "cells": 4, "replicates": 2, "ratios": ["1:1", "3:1"]}


@pytest.fixture
def pure(picture):
    """Thirty images of each of three classes."""
    for name in ("A", "B", "C", "other"):
        for number in range(30):
            picture(f"{name}/{number:02}.png")


def dealt(read, **options):
    return read("wells", classes=["A", "B", "C"], options=OPTIONS | options)


def test_no_cell_is_in_two_wells_and_ratios_hold(pure, read):
    rows = dealt(read)
    table = rows.table
    assert table["file"].is_unique
    assert rows.classes == ("A", "B", "C")
    true = table["file"].str[0]
    wells = table.groupby("group")
    assert len(wells) == 3 * 2 + 3 * 2 * 2
    for _, well in wells:
        assert len(well) == 4
        (mixture,) = well["mixture"].unique()
        soft = well[["soft:A", "soft:B", "soft:C"]].to_numpy()
        assert (soft == soft[0]).all()
        of_class = Counter(true[well.index])
        assert [of_class[name] / 4 for name in "ABC"] == soft[0].tolist()
        assert (mixture == "") == (soft[0].max() == 1)
    assert set(table["mixture"]) == {"", *(f"{pair} {r}" for pair in ("A:B", "A:C", "B:C") for r in ("1:1", "3:1"))}


def test_the_class_of_a_mixed_cell_is_withheld(pure, read):
    table = dealt(read).table
    mixed = table[table["mixture"] == "A:B 3:1"]
    assert set(mixed["label"]) == {"A"}
    assert {file[0] for file in mixed["file"]} == {"A", "B"}


def test_test_wells_of_every_class_and_mixture(pure, read):
    table = dealt(read, test=0.2).table
    assert (table.groupby("group")["split"].nunique() == 1).all()
    held = table[table["split"] == "test"]
    assert Counter(held.drop_duplicates("group")["mixture"]) == Counter(table.drop_duplicates("group")["mixture"]) - (
        Counter(table[table["split"] == "train"].drop_duplicates("group")["mixture"])
    )
    assert set(held["mixture"]) == set(table["mixture"])
    assert set(dealt(read, test=0).table["split"]) == {"train"}


def test_chosen_pairs_alone_are_mixed(pure, read):
    mixtures = set(dealt(read, pairs=[["C", "A"]]).table["mixture"])
    assert mixtures == {"", "A:C 1:1", "A:C 3:1"}
    for pairs in ([["A"]], [["A", "A"]], [["A", "D"]]):
        with pytest.raises(UserError, match=r"Expected two of the classes \['A', 'B', 'C'\]"):
            dealt(read, pairs=pairs)


def test_the_same_seed_deals_the_same_wells(pure, read):
    assert dealt(read).table.equals(dealt(read).table)
    assert not dealt(read).table.equals(dealt(read, seed=1).table)


def test_too_few_cells_and_ratios_that_are_none(pure, read):
    with pytest.raises(UserError, match=r"Expected 40 more images of 'A' for pure wells, found 30 .*; lower"):
        dealt(read, pure=40)
    with pytest.raises(UserError, match="Expected ratios such as '1:2'"):
        dealt(read, ratios=["1/2"])


def test_real_cells(real_data, tmp_path):
    from cellml import config
    from cellml.data.prepare import prepare

    experiment = config.parse(
        {
            "name": "x",
            "data": {
                "source": "wells",
                "path": str(real_data / "jurkat"),
                "classes": ["G1", "S_phase", "G2"],
                "channels": [0, 2],
            },
        }
    )
    manifest = prepare(experiment, tmp_path).manifest
    assert manifest.table["file"].is_unique
    assert manifest.split("test").counts == {"G1": 96, "S_phase": 96, "G2": 96}
    assert int(manifest.split("test").mixed.sum()) == 12 * 48
    assert (manifest.table.groupby("group")["split"].nunique() == 1).all()
    for name in ("train", "val", "test"):
        assert len(set(manifest.split(name).table["mixture"])) == 13
    assert np.allclose(manifest.soft_targets.sum(axis=1), 1)
    assert (manifest.known_targets[manifest.mixed] == -1).all()
