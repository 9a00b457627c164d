import captum.attr
import numpy as np
import pytest
import torch

from cellml.explain.base import explain, scores
from cellml.explain.references import reference
from tests.explain.helpers import Additive, Linear, built, noise, wrapped

FAMILY = {"integrated_gradients": {}, "gradient_shap": {"noise": 0}, "shap_gradient": {}}


@pytest.mark.parametrize("baseline", ["blur", "mean"])
@pytest.mark.parametrize("name", FAMILY)
def test_of_a_linear_network_all_give_weight_times_change(name, baseline):
    classifier = wrapped(Linear(3, 8, 2), classes=2, size=8)
    images, classes = noise(3, 8) / 255, torch.tensor([0, 1, 1])
    weight = classifier.net.weight.detach()
    wanted = ((weight[classes] - weight[1 - classes]) * (images - reference(images, baseline))).numpy()
    got = explain(name, classifier, images, classes, baseline=baseline, **FAMILY[name])
    np.testing.assert_allclose(got.channels, wanted, atol=1e-5)
    np.testing.assert_allclose(got.maps, wanted.sum(axis=1), atol=1e-5)
    assert got.convergence.max() < 1e-4


@pytest.mark.parametrize("name", FAMILY)
def test_of_an_additive_network_each_pixel_has_its_own_change(name):
    classifier = wrapped(Additive(2, 6), classes=2, channels=2, size=6)
    images = noise(2, 6, 2) / 255
    net = classifier.net
    with torch.no_grad():
        wanted = (net.parts(images) - net.parts(reference(images, "blur"))).numpy()
    options = {"steps": 20} if name == "integrated_gradients" else {"samples": 2000} | FAMILY[name]
    got = explain(name, classifier, images, [1, 1], **options)
    close = 1e-5 if name == "integrated_gradients" else 0.02  # Gauss-Legendre of a smooth line; 2,000 random points
    np.testing.assert_allclose(got.channels, wanted, atol=close)
    assert np.abs(wanted).max() > 10 * close
    against = explain(name, classifier, images, [0, 0], **options)
    np.testing.assert_allclose(against.maps, -got.maps, atol=1e-5)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_convnext"])
def test_integrated_gradients_are_complete(backbone):
    """The map's sum is the score's change: to 1 % of it with 200 points, worse with 5."""
    classifier, images, classes = built(backbone).eval(), noise(2), torch.tensor([0, 2])
    with torch.no_grad():
        change = scores(classifier, images, classes, "log_odds")
        change = (change - scores(classifier, reference(images, "blur"), classes, "log_odds")).numpy()
    fine, coarse = (explain("integrated_gradients", classifier, images, classes, steps=k) for k in (200, 5))
    np.testing.assert_allclose(fine.convergence, np.abs(fine.maps.sum(axis=(1, 2)) - change), atol=1e-4)
    assert (fine.convergence <= 0.01 * np.abs(change) + 1e-4).all()
    assert fine.convergence.max() < coarse.convergence.max() + 1e-4


def test_integrated_gradients_are_captums_midpoint_sum_to_its_error():
    classifier, images, classes = built("test_vit").eval(), noise(1), torch.tensor([1])
    got = explain("integrated_gradients", classifier, images, classes, score="probability")
    peer = captum.attr.IntegratedGradients(lambda x: classifier.probabilities(x)[:, 1])
    wanted = peer.attribute(images, reference(images, "blur"), n_steps=100, method="riemann_middle").detach().numpy()
    np.testing.assert_allclose(got.channels, wanted, atol=1e-3 * np.abs(wanted).max())


def test_two_packages_agree_on_expected_gradients():
    """captum and shap draw the same points from one seed."""
    classifier, images = built("test_resnet", size=32), noise(2, 32)
    first = explain("gradient_shap", classifier, images, [0, 1], samples=7, noise=0, batch_size=3)
    second = explain("shap_gradient", classifier, images, [0, 1], samples=7)
    np.testing.assert_allclose(first.channels, second.channels, rtol=1e-3, atol=1e-4 * np.abs(first.channels).max())


def test_noise_of_gradient_shap_is_a_share_of_the_range():
    """Of a linear network the map's error is the noise's mean times the weights: its size is known."""
    classifier = wrapped(Linear(1, 16, 2), classes=2, channels=1)
    images = noise(1, 16, 1) / 255
    weight = classifier.net.weight.detach()
    odds = (weight[1] - weight[0]).numpy()
    exact = explain("gradient_shap", classifier, images, [1], noise=0).channels[0]
    for share in (0.05, 0.5):
        found = explain("gradient_shap", classifier, images, [1], noise=share, samples=25).channels[0]
        assert ((found - exact) / odds).std() == pytest.approx(share / 5, rel=0.15)
