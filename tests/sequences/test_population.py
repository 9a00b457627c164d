import numpy as np
import pytest
from scipy import stats

from cellml.errors import UserError
from cellml.sequences import population
from cellml.sequences.said import Said
from tests.sequences import fields as helpers


@pytest.fixture
def said():
    cells = helpers.cells()
    return Said(cells, np.random.default_rng(3).dirichlet(np.ones(4), len(cells)), helpers.STAGES)


def test_shares_and_index_frame_by_frame(said):
    frames = helpers.FRAMES + 2  # the last two without a cell
    found = population.table(said, frames, ["prophase", "metaphase"], interval=5)
    assert found["minutes"].tolist() == [5 * t for t in range(frames)]
    for t in range(helpers.FRAMES):
        stages = [said.classes[k] for k, f in zip(said.stages, said.cells.table["frame"], strict=True) if f == t]
        row = found.iloc[t]
        assert row["cells"] == len(stages)
        for name in said.classes:
            assert row[f"share_{name}"] == pytest.approx(stages.count(name) / len(stages))
        dividing = stages.count("prophase") + stages.count("metaphase")
        interval = stats.binomtest(dividing, len(stages)).proportion_ci(method="wilson")
        assert row["mitotic_index"] == pytest.approx(dividing / len(stages))
        assert (row["mitotic_low"], row["mitotic_high"]) == pytest.approx((interval.low, interval.high), abs=1e-4)
    assert found.iloc[-1][["share_prophase", "mitotic_index", "mitotic_low"]].isna().all()


def test_mitotic_stages_by_name_or_as_named():
    assert population.mitotic_stages(["G1", "Prophase", "ANAPHASE", "metaphase-like"]) == ["Prophase", "ANAPHASE"]
    assert population.mitotic_stages(["G1", "S"]) == []
    assert population.mitotic_stages(["G1", "S"], ["S"]) == ["S"]
    with pytest.raises(UserError, match=r"'Metafase'.*did you mean 'Metaphase'"):
        population.mitotic_stages(["Interphase", "Metaphase"], ["Metafase"])


def test_the_figure_shows_the_table(said):
    mitotic = ["prophase"]
    found = population.table(said, helpers.FRAMES, mitotic, interval=30)
    figure = population.figure(found, said.classes, mitotic, "not validated")
    shares, index = figure.axes
    assert index.get_xlabel() == "hours"
    np.testing.assert_allclose(
        index.lines[0].get_xydata(), np.stack([found["minutes"] / 60, found["mitotic_index"]], 1)
    )
    assert [text.get_text() for text in shares.get_legend().get_texts()] == list(said.classes)[::-1]
    assert figure.get_supxlabel() == "not validated"
    assert len(population.figure(population.table(said, helpers.FRAMES, []), said.classes, []).axes) == 1
