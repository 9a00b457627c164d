import numpy as np
import pytest
from PIL import Image

from cellml.config import Data
from cellml.data.sources import SOURCES


@pytest.fixture
def picture(tmp_path):
    """Writes a small random image below the data folder."""
    rng = np.random.default_rng(0)

    def write(name, height=12, width=16):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)

    return write


@pytest.fixture
def read(tmp_path):
    """Reads the data folder by a source and settings of the data section."""

    def call(source, **settings):
        data = Data(source=source, **settings)
        return SOURCES[source](data, tmp_path, tmp_path / "cache", **SOURCES.options(source, data.options))

    return call
