import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from cellml.errors import UserError
from cellml.screening import scores


def test_the_logit_margin_is_that_of_the_logits():
    logits = np.random.default_rng(0).normal(0, 8, (50, 3))
    said = softmax(logits, axis=1).astype(np.float32)
    found = scores.of_probabilities("logit", said, ("DS", "TT", "WT"), "WT", "DS")
    assert found == pytest.approx(logits[:, 0] - logits[:, 2], rel=1e-4, abs=1e-4)
    assert scores.of_probabilities("probability", said, ("DS", "TT", "WT"), "WT", "DS") == pytest.approx(said[:, 0])
    assert scores.of_probabilities("probability:TT", said, ("DS", "TT", "WT"), "WT", "DS") == pytest.approx(said[:, 1])


def test_a_certain_model_has_a_finite_margin():
    found = scores.of_probabilities("logit", np.array([[1, 0], [0, 1]], np.float32), ("DS", "WT"), "WT", "DS")
    assert np.isfinite(found).all()
    assert found[0] == -found[1] > 80


@pytest.mark.parametrize(
    ("score", "said"),
    [("logit", "got 'mock'"), ("probability:DX", "did you mean 'DS'|known: DS"), ("probability", None)],
)
def test_a_score_that_the_model_does_not_have(score, said):
    if said is None:
        scores.check(score, ("DS", "WT"), "mock", "DS")
        scores.check("discriminant", ("DS", "WT"), "mock", "other")
        return
    with pytest.raises(UserError, match=said):
        scores.check(score, ("DS", "WT"), "mock", "DS")


def drawn(shift, seed=0, dimensions=200):
    """Cells of 4 wells a treatment, each well shifted at random; the treatments differ along the first axis."""
    rng = np.random.default_rng(seed)
    names, wells, values = [], [], []
    for name, mean in (("WT", 0), ("DS", shift), ("half", shift / 2)):
        for well in range(4):
            own = rng.normal(0, 0.5, dimensions)
            values.append(rng.normal(0, 1, (25, dimensions)) + own + mean * np.eye(dimensions)[0])
            names += [name] * 25
            wells += [f"{name}{well}"] * 25
    return np.concatenate(values).astype(np.float32), np.array(names, object), np.array(wells, object)


def test_a_discriminant_has_the_controls_at_nought_and_one_and_the_half_between():
    values, names, wells = drawn(12)
    found = scores.discriminant(values, names, wells, "WT", "DS")
    means = [found[names == name].mean() for name in ("WT", "half", "DS")]
    assert means == pytest.approx([0, 0.5, 1], abs=0.15)


def test_a_discriminant_does_not_separate_what_does_not_differ():
    """More dimensions than wells: judged by itself any two controls would be apart."""
    areas = []
    for seed in range(5):
        values, names, wells = drawn(0, seed)
        found = scores.discriminant(values, names, wells, "WT", "DS")
        rows = names != "half"
        areas.append(roc_auc_score(names[rows] == "DS", found[rows]))
    assert np.mean(areas) < 0.65


def test_a_control_in_one_well_has_no_discriminant():
    values, names, wells = drawn(5)
    wells[names == "WT"] = "WT0"
    with pytest.raises(UserError, match=r"Expected two wells or more of each control.*'WT': 1, 'DS': 4"):
        scores.discriminant(values, names, wells, "WT", "DS")
