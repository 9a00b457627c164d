import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cellml.errors import UserError
from cellml.explain import ensembles
from cellml.explain.base import EXPLAINERS, explain
from cellml.models.classifier import Classifier
from cellml.models.ensemble import Ensemble
from tests.explain.helpers import QUICK, Pooled, built, served_by, spec


def images(*shapes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*shape, 3)).astype(np.uint8) for shape in shapes]


@pytest.mark.parametrize("name", EXPLAINERS)
def test_the_map_is_the_weighted_mean_of_the_members_maps_of_the_probability(name):
    members = [built(served_by(name)), built(served_by(name))]
    given = images((64, 64), (50, 70))
    quick = QUICK.get(name, {})
    got = ensembles.explain(name, Ensemble(members, [0.25, 0.75]), given, [0, 2], **quick)
    options = quick | ({"score": "probability"} if "score" in EXPLAINERS.option_names(name) else {})
    found = [explain(name, member, ensembles.prepare(member, given), [0, 2], **options) for member in members]
    each = [one.maps for one in found]
    np.testing.assert_allclose(got.maps, 0.25 * each[0] + 0.75 * each[1], rtol=1e-4, atol=1e-6 * np.abs(each).max())
    assert got.maps.shape == (2, 64, 64)
    assert got.maps.dtype == np.float32
    assert (got.method, got.fallback, got.classes.tolist()) == (name, None, [0, 2])
    if found[0].channels is None:
        assert got.channels is None
    else:
        mean = 0.25 * found[0].channels + 0.75 * found[1].channels
        np.testing.assert_allclose(got.channels, mean, rtol=1e-4, atol=1e-6 * np.abs(mean).max())


def test_occlusion_is_what_the_ensembles_own_probability_loses():
    """The patch that covers the whole image: its drop is the ensemble's p(image) - p(mean colour)."""
    members = [built("test_resnet"), built("test_efficientnet")]
    ensemble = Ensemble(members, [0.4, 0.6]).eval()
    given = images((64, 64))
    got = ensembles.explain("occlusion", ensemble, given, [1], patch=1.0, stride=1.0, baseline="mean")
    whole = torch.from_numpy(given[0][None]).float()
    with torch.no_grad():
        drop = (ensemble(whole) - ensemble(whole.mean(dim=(1, 2), keepdim=True).expand_as(whole)))[0, 1]
    np.testing.assert_allclose(got.maps, float(drop), atol=2e-3)  # the ensemble rounds the mean colour to whole values
    assert abs(float(drop)) > 5e-3


def test_the_frame_is_the_widest_view():
    narrow, wide, whole = (Classifier(spec(crop=crop, size=16), Pooled("NCHW")) for crop in (8, 20, None))
    fine = Classifier(spec(crop=20, size=24), Pooled("NCHW"))
    third = [0.3, 0.3, 0.4]
    assert ensembles.frame(Ensemble([narrow, wide, fine], third)) is fine
    assert ensembles.frame(Ensemble([fine, whole, narrow], third)) is whole


def test_a_map_in_its_own_view_stays_as_it_is():
    maps = np.random.default_rng(0).normal(size=(2, 16, 16)).astype(np.float32)
    for crop in (None, 10, 50):
        view = spec(crop=crop, size=16)
        np.testing.assert_allclose(ensembles.placed(maps, view, view, [(40, 30), (17, 21)]), maps, atol=1e-6)


def test_a_crop_lies_where_the_image_was_cropped():
    """One map pixel a source pixel: the member's map stands in the whole image where its crop was taken."""
    maps = np.random.default_rng(0).normal(size=(1, 10, 10)).astype(np.float32)
    got = ensembles.placed(maps, spec(crop=10, size=10), spec(crop=None, size=31), [(31, 31)])
    expected = np.zeros((1, 31, 31), np.float32)
    expected[:, 10:20, 10:20] = maps  # (31 - 10) // 2 = 10
    np.testing.assert_allclose(got, expected, atol=1e-6)
    wider = ensembles.placed(maps, spec(crop=10, size=10), spec(crop=40, size=40), [(31, 31)])
    np.testing.assert_allclose(wider[:, 15:25, 15:25], maps, atol=1e-6)  # from -5 to 35
    assert np.abs(wider).sum() == pytest.approx(np.abs(maps).sum(), rel=1e-5)


def test_a_coarse_map_is_enlarged_as_torch_does():
    maps = np.random.default_rng(0).normal(size=(2, 8, 8)).astype(np.float32)
    got = ensembles.placed(maps, spec(crop=None, size=8), spec(crop=None, size=20), [(33, 47)] * 2)
    expected = F.interpolate(torch.from_numpy(maps)[:, None], size=(20, 20), mode="bilinear")[:, 0]
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-5)


def test_members_with_other_crops_and_sizes_are_explained_in_one_frame():
    members = [built("test_resnet", size=32, crop=24), built("test_resnet", size=48)]
    given = images((48, 48), (60, 40))
    got = ensembles.explain("occlusion", Ensemble(members, [0.5, 0.5]), given, [0, 1])
    alone = explain("occlusion", members[1], ensembles.prepare(members[1], given), [0, 1], score="probability").maps
    assert got.maps.shape == (2, 48, 48)
    outside = np.ones((48, 48), bool)
    outside[12:36, 12:36] = False
    np.testing.assert_allclose(got.maps[0][outside], alone[0][outside] / 2, atol=1e-6)
    assert np.abs(got.maps[0] - alone[0] / 2)[~outside].max() > 1e-5


def test_where_one_member_cannot_be_served_all_are_explained_alike(monkeypatch):
    members = [built("test_resnet"), built("test_efficientnet")]
    from cellml.explain import hooks

    resolve = hooks.resolve
    monkeypatch.setattr(
        hooks,
        "resolve",
        lambda net, *rest, **options: (
            hooks.Unserved("it is odd") if net is members[1].net else resolve(net, *rest, **options)
        ),
    )
    given = images((64, 64))
    got = ensembles.explain("gradcam", Ensemble(members, [0.5, 0.5]), given, [0])
    expected = ensembles.explain("occlusion", Ensemble(members, [0.5, 0.5]), given, [0])
    assert (got.method, got.fallback) == ("occlusion", "gradcam cannot serve test_efficientnet: it is odd")
    np.testing.assert_array_equal(got.maps, expected.maps)


def test_mistakes_are_those_of_one_model():
    ensemble = Ensemble([built("test_resnet")] * 2, [0.5, 0.5])
    with pytest.raises(UserError, match="did you mean 'gradcam'"):
        ensembles.explain("gradcm", ensemble, images((64, 64)), [0])
    with pytest.raises(UserError, match="from 0 to 2"):
        ensembles.explain("gradcam", ensemble, images((64, 64)), [3])
