import math

import numpy as np
import pandas as pd

from cellml.screening import report as subject
from tests.evaluation.screens import cells
from tests.screening.conftest import reported


def test_tables_come_back_from_their_files(made, tmp_path):
    made.write(tmp_path)
    treatments = pd.read_csv(tmp_path / "treatments.csv")
    assert treatments["distance"].tolist() == made.treatments["distance"].tolist()
    one = pd.read_csv(tmp_path / "cells.csv")
    assert one.columns.tolist() == ["plate", "well", "treatment", "score", "id", "like_negative"]
    wells = pd.read_csv(tmp_path / "wells.csv").set_index(["plate", "well"])
    shares = one.groupby(["plate", "well"])["like_negative"].mean()
    assert np.allclose(wells["like_negative"], shares)


def test_the_page_says_what_the_tables_hold(made):
    page = made.markdown()
    value = made.controls["value"][0]
    assert f"| cells | Z' | {value:.3f} (" in page
    assert "- note: one thing to know" in page
    assert "against DS" in page
    assert page.count("| P") == 3
    assert "nan" not in page.lower()
    assert "None" not in page


def test_what_is_undefined_is_a_sentence_on_the_page():
    page = reported(cells().assign(score=lambda t: t["score"].where(t["treatment"] != "WT", 0.5))).markdown()
    assert "| cells | Z' |  | undefined: the scores of the negative control do not vary |" in page
    assert "nan" not in page.lower()
    assert "- Z': cells undefined: the scores of the negative control do not vary; wells undefined" in page


def test_intervals_as_text():
    assert subject.interval(0.5, 0.25, 0.75) == "0.500 (0.250 to 0.750)"
    assert subject.interval(0.5) == "0.500"
    assert subject.interval(None) == subject.interval(math.nan) == ""


def test_bars_in_names_do_not_break_the_table():
    table = cells({"WT": 0, "DS": 4, "a|b": 2})
    assert "| a\\|b |" in reported(table).markdown()
