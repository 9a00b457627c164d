"""One torch thread, and what the models' tests build over and over."""

import pytest
import torch

from cellml.models import classifier


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_spec():
    def make(backbone="test_resnet", channels=3, dtype="uint8", **changes):
        top = 255.0 if dtype == "uint8" else 4000.0
        values = {
            "backbone": backbone,
            "classes": ("CD4+", "Métaphase", "前期"),
            "channels": channels,
            "dtype": dtype,
            "size": 64,
            "crop": 80,
            "low": (0.0,) * channels,
            "high": (top,) * channels,
            "mean": (0.4,) * channels,
            "std": (0.2,) * channels,
        }
        return classifier.Spec(**{**values, **changes})

    return make


@pytest.fixture
def make_images():
    def make(count, height, width, channels=3, dtype="uint8", seed=0):
        top = 256 if dtype == "uint8" else 5000
        draws = torch.randint(0, top, (count, height, width, channels), generator=torch.Generator().manual_seed(seed))
        return draws.to(getattr(torch, dtype))

    return make
