import numpy as np
import pytest
from scipy import stats

from cellml.sequences.said import Said
from tests.sequences import fields as helpers


def said(**values):
    cells = values.pop("cells", helpers.cells())
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4) / 2, len(cells))
    return Said(cells, probabilities, helpers.STAGES, **values)


def test_entropy_is_a_share_of_the_largest():
    some = said()
    np.testing.assert_allclose(some.entropy, stats.entropy(some.probabilities, base=2, axis=1) / 2, atol=1e-9)
    even = Said(some.cells, np.full((len(some.cells), 4), 0.25), helpers.STAGES)
    np.testing.assert_allclose(even.entropy, 1)
    sure = Said(some.cells, np.ones((len(some.cells), 1)), ("cell",))
    assert (sure.entropy == 0).all()


def test_what_is_decoded_is_shown():
    plain = said()
    assert (plain.stages == plain.probabilities.argmax(axis=1)).all()
    assert (plain.confidence == plain.probabilities.max(axis=1)).all()
    decoded = said(decoded=np.full(len(plain.cells), 2))
    assert (decoded.stages == 2).all()
    np.testing.assert_array_equal(decoded.confidence, decoded.probabilities[:, 2])


def test_the_table_says_what_was_said():
    cells = helpers.cells(observed=["prophase", "strange", ""] * 14)
    some = said(cells=cells, decoded=np.ones(len(cells), dtype=int))
    table = some.table()
    assert list(table.columns) == [
        "track", "frame", "x", "y", "parent", "stage", "confidence", "entropy", "decoded", "observed",
        "p_interphase", "p_prophase", "p_metaphase", "p_anaphase",
    ]  # fmt: skip
    assert set(table["decoded"]) == {"prophase"}
    assert set(table["observed"]) == {"prophase", ""}
    np.testing.assert_allclose(table["confidence"], table.filter(like="p_").max(axis=1), atol=1e-6)
    assert "decoded" not in said().table()
    assert "observed" not in said().table()


def test_some_rows():
    some = said(decoded=np.arange(42) % 4)
    chosen = (some.cells.table["track"] == "2").to_numpy()
    part = some.where(chosen)
    np.testing.assert_array_equal(part.probabilities, some.probabilities[chosen])
    np.testing.assert_array_equal(part.decoded, some.decoded[chosen])
    assert set(part.cells.table["track"]) == {"2"}
    assert pytest.approx(part.entropy) == some.entropy[chosen]
