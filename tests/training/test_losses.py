"""Losses against torch.nn.functional, torchvision, timm and closed forms; every member keeps the same promises."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cellml.errors import UserError
from cellml.training import losses
from cellml.vision import torchvision

CLASSES = ("a", "b", "c", "d")
COUNTS = (400.0, 90.5, 30.0, 3.0)
PROPER = ("cross_entropy", "mse", "logit_adjustment")  # smallest where the probabilities are the soft target


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


every_loss = pytest.mark.parametrize("name", list(losses.LOSSES))


def member(name, order=range(4)):
    """A loss over the classes in some order."""
    return losses.build(name, {}, [CLASSES[k] for k in order], [COUNTS[k] for k in order])


@every_loss
def test_every_loss_is_a_value_a_sample_that_is_not_negative(name):
    logits, targets, hard = batch()
    for wanted in (targets, F.one_hot(hard, 4).float()):
        values = member(name)(logits, wanted)
        assert values.shape == (50,)
        assert values.dtype == torch.float32
        assert (values >= 0).all()
        alone = torch.cat([member(name)(logits[i : i + 1], wanted[i : i + 1]) for i in range(50)])
        torch.testing.assert_close(values, alone)


@every_loss
@pytest.mark.parametrize("size", [60.0, 1e4])
def test_every_loss_and_its_gradient_are_finite_for_extreme_logits(name, size):
    signs = torch.tensor(list(itertools.product((-1.0, 0.0, 1.0), repeat=4)))
    for wanted in (torch.eye(4)[2], torch.full((4,), 0.25), torch.tensor([0.5, 0.5, 0, 0])):
        logits = (size * signs).requires_grad_()
        values = member(name)(logits, wanted.expand(len(signs), 4))
        values.sum().backward()
        assert torch.isfinite(values).all()
        assert torch.isfinite(logits.grad).all()


@every_loss
def test_every_loss_has_its_numerical_gradient(name):
    g = torch.Generator().manual_seed(1)
    logits = torch.randn((6, 4), generator=g, dtype=torch.float64, requires_grad=True)
    targets = torch.softmax(torch.randn((6, 4), generator=g, dtype=torch.float64), 1)
    targets[0] = torch.eye(4, dtype=torch.float64)[1]
    assert torch.autograd.gradcheck(lambda z: member(name)(z, targets), [logits])


@every_loss
def test_every_loss_is_the_same_in_another_order_of_classes(name):
    logits, targets, _ = batch()
    order = [2, 0, 3, 1]
    torch.testing.assert_close(member(name, order)(logits[:, order], targets[:, order]), member(name)(logits, targets))


@every_loss
def test_every_loss_does_not_change_where_all_logits_move_together(name):
    logits, targets, _ = batch()
    torch.testing.assert_close(member(name)(logits + 3, targets), member(name)(logits, targets), rtol=1e-4, atol=1e-5)


@every_loss
def test_every_loss_is_smallest_where_the_true_class_is_sure(name):
    sure = 30 * torch.eye(4)
    values = torch.stack([member(name)(sure, torch.eye(4)[k].expand(4, 4)) for k in range(4)])
    assert (values.diagonal() < 1e-3).all()
    assert (values + 10 * torch.eye(4) > values.diagonal()[:, None] + 0.1).all()
    steps = torch.linspace(0, 10, 30)[:, None] * torch.eye(4)[1]
    course = member(name)(steps, torch.eye(4)[1].expand(30, 4))
    assert (course.diff() < 0).all()


@pytest.mark.parametrize("name", PROPER)
def test_a_proper_loss_is_smallest_at_the_soft_target(name):
    targets = torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)
    adjustment = torch.tensor(COUNTS, dtype=torch.float64).log() if name == "logit_adjustment" else 0
    best = (targets.log() - adjustment).requires_grad_()
    value = member(name)(best, targets)
    value.sum().backward()
    np.testing.assert_allclose(best.grad.numpy(), 0, atol=1e-9)
    g = torch.Generator().manual_seed(2)
    others = best.detach() + torch.randn((200, 4), generator=g, dtype=torch.float64)
    assert (member(name)(others, targets.expand(200, 4)) > value).all()


@pytest.mark.parametrize("name", [name for name in losses.LOSSES if name != "mse"])
def test_losses_of_log_probabilities_are_linear_in_targets(name):
    logits, targets, hard = batch()
    one_hot, loss = F.one_hot(hard, 4).float(), member(name)
    mixed = loss(logits, 0.3 * targets + 0.7 * one_hot)
    torch.testing.assert_close(mixed, 0.3 * loss(logits, targets) + 0.7 * loss(logits, one_hot))


@pytest.mark.parametrize("soft", [True, False])
def test_mse_equals_torch_over_probabilities(soft):
    logits, targets, _ = batch(soft=soft)
    theirs = F.mse_loss(torch.softmax(logits, 1), targets, reduction="none").mean(1)
    torch.testing.assert_close(losses.mse(logits, targets), theirs)


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
def test_logit_adjustment_equals_its_formula(tau):
    logits, targets, hard = batch(soft=False)
    loss = losses.build("logit_adjustment", {"tau": tau}, CLASSES, COUNTS)
    prior = np.array(COUNTS) / np.sum(COUNTS)
    logits, targets = logits.double(), targets.double()
    z, y = logits.numpy(), hard.numpy()
    others = (prior[None, :] / prior[y][:, None]) ** tau * np.exp(z - z[np.arange(50), y][:, None])
    np.testing.assert_allclose(loss(logits, targets).numpy(), np.log(others.sum(1)))  # their eq. 10
    if tau == 0:
        torch.testing.assert_close(loss(logits, targets), losses.cross_entropy(logits, targets))


def test_the_minimiser_of_logit_adjustment_ranks_by_the_balanced_posterior():
    likelihood = np.array([0.2, 0.3, 0.1, 0.4])
    posterior = likelihood * COUNTS / np.dot(likelihood, COUNTS)
    logits = torch.zeros((1, 4), dtype=torch.float64, requires_grad=True)
    loss = losses.build("logit_adjustment", {}, CLASSES, COUNTS)
    solver = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure():
        solver.zero_grad()
        value = loss(logits, torch.from_numpy(posterior)[None]).sum()
        value.backward()
        return value

    solver.step(closure)
    np.testing.assert_allclose(torch.softmax(logits, 1).detach().numpy()[0], likelihood, atol=1e-4)


def test_a_class_without_rows_is_adjusted_as_the_rarest_other():
    logits, targets, _ = batch()
    absent = losses.build("logit_adjustment", {}, CLASSES, [50, 0, 20, 5])
    same = losses.build("logit_adjustment", {}, CLASSES, [50, 5, 20, 5])
    torch.testing.assert_close(absent(logits, targets), same(logits, targets))


@pytest.mark.parametrize("counts", [[1, 2, 3], [1, 2, 3, -1], [0, 0, 0, 0], [1, 2, 3, float("nan")]])
def test_counts_that_do_not_fit_are_refused(counts):
    with pytest.raises(ValueError, match="expected one count for each of"):
        losses.build("logit_adjustment", {}, CLASSES, counts)


def test_logit_adjustment_without_counts_can_be_checked_but_not_called():
    loss = losses.build("logit_adjustment", {"tau": 0.5}, CLASSES)
    with pytest.raises(ValueError, match="'logit_adjustment' needs the counts"):
        loss(*batch()[:2])


@pytest.mark.parametrize("gammas", [(1, 4), (0, 4), (2, 1), (1.5, 0.5), (0, 0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_asymmetric_equals_timms_single_label_loss(gammas, smoothing):
    from timm.loss import AsymmetricLossSingleLabel  # after cellml.vision

    logits, targets, hard = batch(soft=False)
    peer = AsymmetricLossSingleLabel(*gammas, eps=smoothing, reduction="none")
    ours = losses.asymmetric(logits, targets, gamma_pos=gammas[0], gamma_neg=gammas[1], smoothing=smoothing)
    torch.testing.assert_close(ours, peer(logits, hard), rtol=1e-4, atol=1e-6)


def test_asymmetric_without_gammas_is_smoothed_cross_entropy():
    logits, targets, hard = batch(soft=False)
    ours = losses.asymmetric(logits, targets, gamma_pos=0, gamma_neg=0, smoothing=0.2)
    torch.testing.assert_close(ours, F.cross_entropy(logits, hard, label_smoothing=0.2, reduction="none"))


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
        ("focal", {"gamma": float("nan")}, "number >= 0, got nan"),
        ("logit_adjustment", {"tau": "1"}, "tau to be a number >= 0, got '1'"),
        ("logit_adjustment", {"counts": [1, 2, 3, 4]}, "Unknown option 'counts'"),
        ("asymmetric", {"gamma_neg": -2}, "gamma_neg to be a number >= 0, got -2"),
        ("asymmetric", {"smoothing": 1}, "a number from 0 to below 1, got 1"),
        ("focal", {"alpha": [1, 2]}, "4 numbers, got"),
        ("focal", {"alpha": {"a": 1, "x": 2}}, "to name the classes"),
        ("focal", {"alpha": [1, 2, 3, -1]}, "numbers >= 0"),
    ],
)
def test_mistakes_are_named(name, options, message):
    with pytest.raises(UserError, match=message):
        losses.build(name, options, CLASSES)
