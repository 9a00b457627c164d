"""Losses against torch.nn.functional, torchvision and closed forms."""

import pytest
import torch
import torch.nn.functional as F

from cellml.errors import UserError
from cellml.training import losses
from cellml.vision import torchvision

CLASSES = ("a", "b", "c", "d")


def batch(count=50, classes=4, soft=True):
    g = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn((count, classes), generator=g)
    hard = torch.randint(0, classes, (count,), generator=g)
    targets = torch.softmax(torch.randn((count, classes), generator=g), 1) if soft else F.one_hot(hard, classes).float()
    return logits, targets, hard


@pytest.mark.parametrize("soft", [True, False])
def test_cross_entropy_equals_torch(soft):
    logits, targets, hard = batch(soft=soft)
    theirs = F.cross_entropy(logits, targets if soft else hard, reduction="none")
    torch.testing.assert_close(losses.cross_entropy(logits, targets), theirs)


def test_smoothing_equals_torch():
    logits, targets, hard = batch(soft=False)
    ours = losses.cross_entropy(logits, losses.smooth(targets, 0.1))
    torch.testing.assert_close(ours, F.cross_entropy(logits, hard, label_smoothing=0.1, reduction="none"))
    assert losses.smooth(targets, 0.0) is targets


def test_class_weights_as_sample_weights_equal_torch():
    logits, targets, hard = batch(soft=False)
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0])
    per_row = weights[hard] / weights[hard].mean()
    ours = losses.weighted(losses.cross_entropy(logits, targets), per_row)
    torch.testing.assert_close(ours, F.cross_entropy(logits, hard, weight=weights))


@pytest.mark.parametrize("name", list(losses.LOSSES))
def test_every_loss_is_linear_in_targets_and_has_a_finite_gradient(name):
    loss = losses.build(name, {}, CLASSES)
    logits, targets, hard = batch()
    one_hot = F.one_hot(hard, 4).float()
    mixed = loss(logits, 0.3 * targets + 0.7 * one_hot)
    torch.testing.assert_close(mixed, 0.3 * loss(logits, targets) + 0.7 * loss(logits, one_hot))
    extreme = torch.tensor([[60.0, -60, 0, 0], [-60, 60, 0, 0], [0, 0, 0, 0]], requires_grad=True)
    loss(extreme, one_hot[:3]).sum().backward()
    assert torch.isfinite(extreme.grad).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [0.25, 0.7])
def test_two_class_focal_equals_torchvisions_sigmoid_focal(gamma, alpha):
    z = 3 * torch.randn(40, generator=torch.Generator().manual_seed(1))
    t = (torch.rand(40, generator=torch.Generator().manual_seed(2)) < 0.4).float()
    logits, targets = torch.stack([torch.zeros_like(z), z], 1), torch.stack([1 - t, t], 1)
    ours = losses.focal(logits, targets, gamma=gamma, alpha=[1 - alpha, alpha])
    theirs = torchvision.ops.sigmoid_focal_loss(z, t, alpha=alpha, gamma=gamma, reduction="none")
    torch.testing.assert_close(ours, theirs)


def test_focal_without_gamma_is_cross_entropy_and_equals_its_formula():
    logits, targets, _ = batch()
    torch.testing.assert_close(losses.focal(logits, targets, gamma=0), losses.cross_entropy(logits, targets))
    p = torch.softmax(logits.double(), 1)
    alpha = torch.tensor([1.0, 2, 3, 4])
    expected = -(alpha * targets * (1 - p) ** 1.5 * p.log()).sum(1).float()
    torch.testing.assert_close(losses.focal(logits, targets, gamma=1.5, alpha=[1, 2, 3, 4]), expected)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_gradient_is_finite_where_the_probability_is_one(gamma):
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    losses.focal(logits, torch.tensor([[1.0, 0.0]]), gamma=gamma).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_alpha_may_be_keyed_by_class():
    logits, targets, _ = batch()
    named = losses.build("focal", {"alpha": {"b": 2, "a": 1, "d": 4, "c": 3}, "gamma": 1}, CLASSES)
    torch.testing.assert_close(named(logits, targets), losses.focal(logits, targets, gamma=1, alpha=[1, 2, 3, 4]))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("focl", {}, "did you mean 'focal'"),
        ("focal", {"gama": 1}, "did you mean 'gamma'"),
        ("cross_entropy", {"gamma": 1}, "it takes no options"),
        ("focal", {"gamma": -1}, "number >= 0, got -1"),
        ("focal", {"gamma": True}, "number >= 0, got True"),
        ("focal", {"alpha": [1, 2]}, "4 numbers, got"),
        ("focal", {"alpha": {"a": 1, "x": 2}}, "to name the classes"),
        ("focal", {"alpha": [1, 2, 3, -1]}, "numbers >= 0"),
    ],
)
def test_mistakes_are_named(name, options, message):
    with pytest.raises(UserError, match=message):
        losses.build(name, options, CLASSES)
