import statistics

import pytest

from cellml.compare import cells, table
from cellml.config import Compare
from tests.compare.conftest import evaluated

SETTINGS = Compare(resamples=100)
RUN = {"train.seed": "0", "split.seed": "0", "train.lr": "0.01", "data.path": "/a", "cellml.kind": "train"}


@pytest.fixture
def ranked(test_rows, train_counts):
    models = [evaluated(test_rows, "net", 1 + seed / 9, seed=seed, version=str(seed + 1)) for seed in range(4)]
    models += [evaluated(test_rows, "other", 1, seed=8)]
    return table.build(models, test_rows, train_counts, SETTINGS)


def known(**changes):
    """Settings of the five entries, RUN but for what is given by version of net."""
    own = {f"cells.net v{v}": RUN | {"train.seed": str(v)} | changes.get(f"v{v}", {}) for v in range(1, 5)}
    return own | {"cells.other v1": RUN}


def test_versions_that_differ_by_seed_fold_or_place_of_the_data_are_one_cell(ranked):
    built = cells.table(ranked, known(v2={"split.seed": "5"}, v3={"data.path": "/b"}))
    assert built[["backbone", "n"]].sort_values("n").to_numpy().tolist() == [["other", 1], ["net", 4]]
    row = built.set_index("backbone").loc["net"]
    scores = ranked[ranked["model"] == "cells.net"]
    for name in cells.FIGURES:
        assert row[name] == pytest.approx(statistics.mean(scores[name]))
        assert row[f"{name}_sd"] == pytest.approx(statistics.stdev(scores[name]))
    assert (row["versions"], row["settings"]) == ("1, 2, 3, 4", "")
    assert built.set_index("backbone").loc["other", [f"{name}_sd" for name in cells.FIGURES]].isna().all()


def test_other_settings_make_another_cell_and_say_so(ranked):
    built = cells.table(ranked, known(v3={"train.lr": "0.1"}, v4={"cellml.kind": "refit"}))
    of_net = built[built["backbone"] == "net"].set_index("versions")
    assert of_net["n"].to_dict() == {"1, 2": 2, "3": 1, "4": 1}
    assert of_net.loc["3", "settings"] == "cellml.kind=train, train.lr=0.1"


def test_the_newest_of_versions_with_one_seed_counts(ranked):
    built = cells.table(ranked, known(v3={"train.seed": "1"}))
    assert built.set_index("backbone").loc["net", "versions"] == "2, 3, 4"


def test_nothing_repeated_or_nothing_known_is_nothing_to_sum_up(ranked):
    assert cells.table(ranked, {f"cells.net v{v}": RUN | {"train.lr": str(v)} for v in range(1, 5)}).empty
    assert cells.table(ranked, {f"cells.net v{v}": {} for v in range(1, 5)}).empty
