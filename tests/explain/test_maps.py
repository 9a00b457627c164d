import numpy as np
import pytest

from cellml.errors import UserError
from cellml.explain.base import Attribution
from cellml.explain.maps import load_maps, save_maps


@pytest.mark.parametrize(
    "extras",
    [
        {},
        {"fallback": "no map", "layer": "blocks.1", "convergence": np.array([0.1, 0.2])},
        {"channels": np.arange(2 * 4 * 5 * 7, dtype=np.float32).reshape(2, 4, 5, 7)},
    ],
)
def test_round_trip(tmp_path, extras):
    maps = np.random.default_rng(0).normal(size=(2, 5, 7)).astype(np.float32)
    given = Attribution(maps, np.array([1, 0]), "occlusion", **extras)
    save_maps(tmp_path / "maps", np.array(["é/1", "b"], dtype=object), given)
    ids, back = load_maps(tmp_path / "maps")
    assert ids.tolist() == ["é/1", "b"]
    np.testing.assert_array_equal(back.maps, maps)
    np.testing.assert_array_equal(back.classes, [1, 0])
    assert (back.method, back.fallback, back.layer) == ("occlusion", extras.get("fallback"), extras.get("layer"))
    np.testing.assert_array_equal(back.convergence, extras.get("convergence"))
    np.testing.assert_array_equal(back.channels, extras.get("channels"))


def test_plain_numpy_reads_it_without_pickle(tmp_path):
    save_maps(tmp_path / "m.npz", ["a"], Attribution(np.ones((1, 2, 2), np.float32), np.array([0]), "gradcam"))
    with np.load(tmp_path / "m.npz", allow_pickle=False) as file:
        assert sorted(file) == ["classes", "ids", "maps", "method"]
        assert str(file["method"]) == "gradcam"


def test_ids_must_fit(tmp_path):
    with pytest.raises(ValueError, match="expected 1 ids, got 2"):
        save_maps(tmp_path / "m.npz", ["a", "b"], Attribution(np.ones((1, 2, 2), np.float32), np.array([0]), "gradcam"))


def test_another_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no file at"):
        load_maps(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(UserError, match=r"another file: .*text\.npz"):
        load_maps(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(UserError, match=r"another file: .*other\.npz"):
        load_maps(tmp_path / "other.npz")
