import shutil

import numpy as np
import pytest

from cellml.errors import UserError

ORDER = ["G1", "S", "G2", "M"]


@pytest.fixture
def stock(picture):
    for name, count in zip(ORDER, (30, 30, 12, 6), strict=True):
        for n in range(count):
            picture(f"{name}/{n}.png")


def deal(read, **options):
    return read("pseudo_movies", classes=ORDER, options={"count": 20, "frames": 16, "pools": 5, **options})


def test_cells_come_in_order_with_random_durations(stock, read):
    rows = deal(read)
    assert rows.classes == tuple(ORDER)
    assert rows.table["sequence"].nunique() == 20
    lengths = set()
    for _, part in rows.table.groupby("sequence"):
        order = [ORDER.index(name) for name in part["label"]]
        assert order == sorted(order)
        assert set(order) == {0, 1, 2, 3}
        assert part["frame"].tolist() == list(range(len(part)))
        assert part["file"].str.startswith(tuple(f"{name}/" for name in ORDER)).all()
        lengths.add(len(part))
    assert len(lengths) > 5
    assert 13 < rows.table.groupby("sequence").size().mean() < 19
    assert (rows.table["file"].str.partition("/")[0] == rows.table["label"]).all()


def test_no_cell_is_in_two_groups(stock, read):
    table = deal(read).table
    assert table["group"].nunique() == 5
    assert (table.groupby("file")["group"].nunique() == 1).all()
    assert (table.groupby(["sequence", "label"])["file"].agg(lambda f: f.duplicated().sum() > len(f) // 2)).mean() < 0.5


def test_durations_are_in_proportion(stock, read):
    table = deal(read, durations={"G1": 8, "S": 4, "G2": 2, "M": 2}, count=60, frames=32).table
    shares = table["label"].value_counts(normalize=True)
    np.testing.assert_allclose(shares[ORDER], [0.5, 0.25, 0.125, 0.125], atol=0.04)


def test_a_cycle_starts_anywhere_and_wraps(stock, read):
    table = deal(read, cyclic=True, count=40).table
    assert (table.groupby("sequence").size() == 16).all()
    starts = table[table["frame"] == 0]["label"]
    assert set(starts) == set(ORDER)
    for _, part in table.groupby("sequence"):
        order = np.array([ORDER.index(name) for name in part["label"]])
        assert set(np.diff(order) % 4) <= {0, 1}


def test_the_same_seed_deals_the_same(stock, read):
    first, again, other = deal(read).table, deal(read).table, deal(read, seed=1).table
    assert first.equals(again)
    assert not first.equals(other)


def test_copies_are_dealt_once(stock, read, tmp_path):
    shutil.copy(tmp_path / "M" / "0.png", tmp_path / "M" / "copy.png")
    rows = deal(read)
    assert "M/copy.png" not in set(rows.table["file"])
    assert [(p.kind, p.ids) for p in rows.problems] == [("identical images", ("M/copy.png",))]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pools": 7}, r"'M' for each of 7 pools, found 6"),
        ({"durations": {"X": 1}}, "got 'X'"),
        ({"durations": {"M": 0}}, "above 0"),
        ({"count": 3}, "count 3"),
        ({"frames": 2}, "frames 2"),
    ],
)
def test_bad_options_are_told(stock, read, options, said):
    with pytest.raises(UserError, match=said):
        deal(read, **options)


def test_the_order_must_be_named(stock, read):
    with pytest.raises(UserError, match=r"order of the cell cycle in data.classes"):
        read("pseudo_movies")
