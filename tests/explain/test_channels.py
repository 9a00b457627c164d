import numpy as np
import pytest
import torch

from cellml.explain import channels
from tests.explain.helpers import clipped, overlapping, rendered, spec, texts


def drawn(n=2, c=4, maps=None, prepared=None, **changes):
    rng = np.random.default_rng(0)
    prepared = (
        torch.tensor(rng.uniform(0, 60000, (n, c, 12, 12)), dtype=torch.float32) if prepared is None else prepared
    )
    values = {
        "maps": rng.normal(size=(n, c, 12, 12)).astype(np.float32) if maps is None else maps,
        "spec": spec(channels=c, dtype="uint16", size=12, high=(60000.0,) * c),
        "captions": [f"image {k}" for k in range(n)],
        "title": "integrated_gradients",
        "explained": "G2",
    }
    return channels.sheet(prepared, **{**values, **changes})


def test_shares_of_absolute_relevance():
    maps = np.zeros((2, 3, 4, 4), np.float32)
    maps[0, 0, 0, 0], maps[0, 1, 1, 1] = 3.0, -1.0
    np.testing.assert_allclose(channels.relevance(maps), [[0.75, 0.25, 0], [0, 0, 0]])


@pytest.mark.parametrize("c", [1, 2, 3, 4, 5, 6])
def test_one_to_six_channels_fit(c):
    figure = drawn(3, c)
    said = texts(figure)
    assert [f"channel {k}" for k in range(c)] == [text for text in said if text.startswith("channel")]
    assert sum(text.startswith("image ") for text in said) == 3
    assert rendered(figure).shape[1] == 900
    assert not clipped(figure)
    assert not overlapping(figure)


def test_each_channel_stands_in_grey_under_its_own_map():
    prepared = torch.zeros(1, 3, 12, 12)
    prepared[0, 1] = 30000
    prepared[0, 2] = 90000
    maps = np.zeros((1, 3, 12, 12), np.float32)
    maps[0, 0, :6], maps[0, 0, 6:] = 1, -1
    pixels = rendered(drawn(1, 3, maps, prepared, names=["DNA", "actin", "mito"]))
    boxes = [pixels[82 : 82 + 160, 14 + 166 * k : 14 + 166 * k + 160] for k in range(1, 4)]
    upper, lower = boxes[0][40, 80], boxes[0][120, 80]
    assert upper[1] > upper[0] + 60
    assert lower[0] > lower[1] + 60
    assert np.ptp(boxes[1][80, 80]) == np.ptp(boxes[2][80, 80]) == 0
    assert boxes[1][80, 80, 0] == pytest.approx(255 * (0.15 + 0.8 * 128 / 255), abs=1)
    assert boxes[2][80, 80, 0] == pytest.approx(255 * 0.95, abs=1)


def test_channels_of_one_image_share_a_scale():
    maps = np.ones((1, 2, 12, 12), np.float32)
    maps[0, 1] = 0.2
    pixels = rendered(drawn(1, 2, maps, torch.full((1, 2, 12, 12), 30000.0)))
    strong, weak = (pixels[82 + 80, 14 + 166 * k + 80] for k in (1, 2))
    assert strong[1] - strong[0] > 2 * (weak[1] - weak[0]) > 0
    assert {"83% of relevance", "17% of relevance"} <= set(texts(drawn(1, 2, maps)))


def test_names_of_any_kind_and_no_more_images_than_asked():
    figure = drawn(5, 6, names=["$G_2$", "W" * 90, *"abcd"], captions=["W" * 300] * 5, title="t" * 300, most=3)
    assert "$G_2$" in texts(figure)
    assert sum("WWWWWWWWWWWWWWWWWWWW" in text for text in texts(figure)) == 3
    assert not clipped(figure)
    assert not overlapping(figure)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"images \(2, 4, 12, 12\), got \(2, 3, 12, 12\)"):
        drawn(maps=np.zeros((2, 3, 12, 12), np.float32))
    with pytest.raises(ValueError, match="names"):
        drawn(names=["one"])
