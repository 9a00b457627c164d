import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cellml import config
from cellml.compare import baselines
from cellml.config import Data
from cellml.data import external, prepare
from cellml.errors import UserError


@pytest.fixture
def sets(tmp_path):
    """Bright images are of one class, dark ones of the other, here and elsewhere."""
    rng = np.random.default_rng(0)
    for where, count in (("own", 20), ("there", 5)):
        for label, low in (("bright", 160), ("dark", 0)):
            (tmp_path / where / label).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(low, low + 90, (20, 20, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / where / label / f"{i}.png")
    own = prepare.prepare(config.parse({"name": "t", "data": {"path": str(tmp_path / "own")}}), tmp_path / "cache")
    return own, external.prepare("there", Data(path=str(tmp_path / "there")), own, tmp_path / "cache")


def test_a_forest_is_fitted_here_and_answers_everywhere(sets):
    own, there = sets
    test = own.manifest.split("test")
    (found,) = baselines.evaluate(["thumbnail_forest"], own, test, [there])
    assert found.name == "baseline thumbnail_forest"
    for predictions, rows in ((found.predictions, test), (found.external["there"], there.manifest)):
        assert predictions.ids.tolist() == rows.ids.tolist()
        assert (predictions.predicted == rows.targets).all()
        assert np.allclose(predictions.probabilities.sum(axis=1), 1)
    assert pd.isna(found.cost.ms_batch_1)


def test_an_unknown_baseline_is_named(sets):
    own, _ = sets
    with pytest.raises(UserError, match="thumbnail_forest"):
        baselines.evaluate(["thumbnail_forst"], own, own.manifest.split("test"))
