import dataclasses

import numpy as np
import pytest

from cellml.compare import controls, formats, table, words
from cellml.config import Compare, Screen
from cellml.errors import UserError
from cellml.evaluation import screening
from tests.compare.conftest import NASTY, evaluated, manifest

QUICK, NAMED = Compare(resamples=100), Screen(negative=NASTY[0], positive=NASTY[1], resamples=200)


def zhang(a, b):
    return 1 - 3 * (a.std(ddof=1) + b.std(ddof=1)) / abs(a.mean() - b.mean())


def test_z_prime_is_of_the_controls_margin_and_ranks_with_the_models(models, test_rows, train_counts):
    built = table.build(models, test_rows, train_counts, QUICK, screen=NAMED)
    for one, row in zip(table.ordered(models, QUICK), built.to_dict("records"), strict=False):
        said = np.log(one.predictions.probabilities)
        margin = said[:, 1] - said[:, 0]
        b, a = (margin[one.predictions.targets == k] for k in (0, 1))
        assert row["z_prime"] == pytest.approx(zhang(a, b))
        assert row["robust_z_prime"] == pytest.approx(screening.robust_z_prime(a, b))
        assert row["z_prime_low"] < row["z_prime"] < row["z_prime_high"]
        assert formats.between(*(row[f"z_prime{end}"] for end in ("", "_low", "_high"))) in formats.to_markdown(built)
    assert built.attrs["controls"] == (NASTY[1], NASTY[0])
    assert not built.attrs["undefined"]


def test_without_controls_among_the_classes_there_is_no_column(models, test_rows, train_counts):
    for screen in (None, Screen(), Screen(negative=NASTY[0]), Screen(negative=NASTY[0], positive="vehicle")):
        built = table.build(models, test_rows, train_counts, QUICK, screen=screen)
        assert "z_prime" not in built
        assert not formats.controls(built)


def test_what_is_undefined_is_said(test_rows, train_counts):
    one = evaluated(test_rows, "net", 1.0)
    flat = dataclasses.replace(one.predictions, probabilities=np.full_like(one.predictions.probabilities, 0.25))
    one = dataclasses.replace(one, predictions=flat)
    built = table.build([one], test_rows, train_counts, QUICK, screen=NAMED)
    assert built["z_prime"].isna().all()
    assert f"{one.name}: Z' is undefined: the scores of the positive control do not vary." in list(
        words.warnings(built, [one], test_rows)
    )


def test_groups_of_one_class_are_wells_and_others_are_plates():
    rows = manifest(("a", "b"), groups=12)
    apart = rows.with_column("group", np.char.add(rows.groups.astype(str), rows.targets.astype(str)))
    ends = Screen(negative="a", positive="b", resamples=400)
    for name, one in (("plates", rows), ("wells", apart)):
        screen = controls.screen(evaluated(one, "net", 1.0).predictions, ends)
        assert screen.by == name
        assert len(screen.wells) == len(set(zip(one.groups, one.targets, strict=True)))


def test_controls_that_are_not_there_are_named_and_the_same_one_twice_is_refused(test_rows):
    assert controls.absent(test_rows, Screen(negative=NASTY[0], positive="vehicle")) == ["vehicle"]
    assert not controls.absent(test_rows, Screen())
    with pytest.raises(UserError, match="Expected two controls, got 'G1' as both; correct"):
        controls.absent(test_rows, Screen(negative="G1", positive="G1"))
