import numpy as np
import pytest

from cellml.explain import methods_sheet
from cellml.explain.base import EXPLAINERS, Attribution
from tests.explain.helpers import clipped, overlapping, rendered, texts


def attributions(names, n=2, sign=1.0, **fallbacks):
    maps = np.full((n, 10, 10), sign, np.float32)
    return {
        name: Attribution(maps, np.zeros(n, np.int64), "occlusion" if name in fallbacks else name, fallbacks.get(name))
        for name in names
    }


def drawn(names=("gradcam", "rise"), n=2, captions=None, given=None, **changes):
    images = [np.full((10, 10, 3), 60 + 100 * (k % 2), np.uint8) for k in range(n)]
    given = attributions(names, n) if given is None else given
    return methods_sheet.sheet(images, given, captions or [f"row {k}" for k in range(n)], title="m", **changes)


def test_rows_are_images_and_columns_methods():
    given = attributions(["gradcam"]) | attributions(["rise"], sign=-1.0)
    figure = drawn(given=given)
    pixels = rendered(figure)
    for row in range(2):
        top = 62 + 48 + row * 170 + 75
        picture, first, second = (pixels[top, 14 + 156 * k + 75] for k in range(3))
        assert picture.tolist() == [60 + 100 * row] * 3
        assert first[1] > first[0] + 50
        assert second[0] > second[1] + 50
    said = texts(figure)
    assert {"gradcam", "rise", "row 0", "row 1"} <= set(said)
    assert not any("instead" in text for text in said)


@pytest.mark.parametrize("count", [1, 8, 9, 15, 17])
def test_any_number_of_methods_fits(count):
    names = [f"attention_rollout_{k}" for k in range(count)]
    figure = drawn(names, explained="W" * 80, captions=["W" * 300, "b"])
    blocks = -(-count // 8)
    assert sum(text == "b" for text in texts(figure)) == blocks
    assert sum(text.startswith("attention") for text in texts(figure)) == count
    assert rendered(figure).shape[1] == 900
    assert not clipped(figure)
    assert not overlapping(figure)


def test_every_registered_method_has_its_name_in_full():
    names = list(EXPLAINERS)
    said = " ".join(texts(drawn(names)))
    assert all(name.replace("_", " ") in said for name in names)


def test_it_says_where_another_method_stood_in_and_why():
    reason = "attention_rollout cannot serve resnet18: it has no attention"
    figure = drawn(given=attributions(["gradcam", "attention_rollout"], attention_rollout=reason))
    assert "occlusion instead" in texts(figure)
    assert f"{reason}; shown: occlusion" in texts(figure)
    assert not clipped(figure)
    assert not overlapping(figure)


def test_no_more_images_than_asked():
    said = texts(drawn(n=5, most=3))
    assert [text for text in said if text.startswith("row")] == ["row 0", "row 1", "row 2"]


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="2 images"):
        drawn(given=attributions(["gradcam"], n=3))
    with pytest.raises(ValueError, match="at least one method"):
        drawn(given={})
