"""A tiny data set of pictures whose class shows in where they are bright, read by the platform's own source."""

from collections.abc import Iterator

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellml.data.prepare import Dataset, prepare
from cellml.training import device
from tests.training.helpers import experiment

CLASSES = ("corner", "left", "middle")
COUNTS = {"corner": 40, "left": 20, "middle": 60}
REGIONS = {"corner": np.s_[:10, :10], "left": np.s_[:, :8], "middle": np.s_[8:16, 8:16]}


def picture(name: str, rng: np.random.Generator, side: int = 24) -> np.ndarray:
    image = rng.normal(0.3, 0.05, (side, side, 3))
    image[REGIONS[name]] += 0.4 * rng.uniform(0.5, 1)
    return image.clip(0, 1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small only wait for a second thread."""
    with device.threads(1):
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """120 RGB images of 24 x 24, uint8, in three classes of unequal size."""
    root, rng = tmp_path_factory.mktemp("tiny"), np.random.default_rng(0)
    for name, count in COUNTS.items():
        (root / name).mkdir()
        for i in range(count):
            Image.fromarray((picture(name, rng) * 255).astype(np.uint8)).save(root / name / f"{i:02}.png")
    return prepare(experiment(**{"data.path": str(root)}), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """60 images of 24 x 24 with three 16-bit channels that fill a fraction of their range."""
    root, rng = tmp_path_factory.mktemp("deep"), np.random.default_rng(1)
    for name in CLASSES:
        (root / name).mkdir()
        for i in range(20):
            image = (picture(name, rng) * [900, 9000, 60000]).astype(np.uint16)
            tifffile.imwrite(root / name / f"{i:02}.tif", image, photometric="rgb")
    return prepare(experiment(**{"data.path": str(root)}), tmp_path_factory.mktemp("cache"))
