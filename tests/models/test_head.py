import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cellml.errors import UserError
from cellml.models import backbones, classifier, head


def problem(rows=400, features=12, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features)) * rng.uniform(0.1, 30, features) + rng.normal(size=features) * 5
    scores = StandardScaler().fit_transform(x)[:, :classes] * 2 + rng.gumbel(size=(rows, classes))
    return x, scores.argmax(axis=1)


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("l2", [0.1, 0.003])
def test_equals_scikit_learn(classes, l2):
    x, y = problem(classes=classes)
    w = np.random.default_rng(1).uniform(0.2, 3, len(y))
    w /= w.mean()
    fitted = head.fit(x, y, classes, weights=w * 7, l2=l2)
    # two symmetric columns of weights share the penalty that scikit-learn lays on one
    c = 1 / (l2 * len(y)) * (2 if classes == 2 else 1)
    z = StandardScaler().fit_transform(x)
    peer = LogisticRegression(C=c, tol=1e-10, max_iter=5000).fit(z, y, sample_weight=w)
    np.testing.assert_allclose(fitted.probabilities(x), peer.predict_proba(z), atol=2e-5)


def test_soft_targets_equal_weighted_copies_of_rows():
    x, y = problem(rows=150)
    soft = np.random.default_rng(2).dirichlet(np.ones(3), size=len(y))
    fitted = head.fit(x, soft, 3, l2=0.02)
    z = StandardScaler().fit_transform(x)
    peer = LogisticRegression(C=1 / (0.02 * len(y)), tol=1e-10, max_iter=5000)
    peer.fit(np.repeat(z, 3, axis=0), np.tile(np.arange(3), len(y)), sample_weight=soft.ravel())
    np.testing.assert_allclose(fitted.probabilities(x), peer.predict_proba(z), atol=2e-5)


def test_weights_equal_repeated_rows_up_to_the_scaling():
    x, y = problem(rows=90)
    x = StandardScaler().fit_transform(x)
    times = np.random.default_rng(3).integers(1, 4, len(y))
    weighted = head.fit(x, y, 3, weights=times, l2=0.05)
    z = (x - np.average(x, axis=0)) / x.std(axis=0)
    peer = LogisticRegression(C=1 / (0.05 * times.sum()), tol=1e-10, max_iter=5000)
    peer.fit(np.repeat(z, times, axis=0), np.repeat(y, times))
    np.testing.assert_allclose(weighted.probabilities(x), peer.predict_proba(z), atol=2e-5)


def test_odd_data_gives_finite_answers():
    x, y = problem()
    x[:, 0] = 4.2  # constant
    x[:, 1] = x[:, 2]
    absent = head.fit(x, np.where(y == 2, 0, y), 3)
    probabilities = absent.probabilities(x)
    assert np.isfinite(probabilities).all()
    assert probabilities[:, 2].max() < 0.01
    one = head.fit(x, np.zeros(len(y), dtype=int), 2)
    assert one.probabilities(x)[:, 0].min() > 0.99
    assert np.isfinite(head.fit(x[:1], y[:1], 3).weight).all()
    with pytest.raises(UserError, match="finite embeddings"):
        head.fit(np.where(x > 0, np.nan, x), y, 3)


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_vit", "resnetv2_18", "levit_128s", "inception_next_atto", "torchvision/squeezenet1_0"]
)
def test_put_into_a_network_it_gives_the_same_probabilities(name, make_spec, make_images, tmp_path):
    model = classifier.build(make_spec(name)).eval()
    prepared = model.prepare(make_images(40, 80, 80))
    with torch.no_grad():
        embedded = model.embed(prepared).numpy()
    fitted = head.fit(embedded, np.arange(40) % 3, 3)
    head.put(model.net, fitted, channels=3, size=64)
    with torch.no_grad():
        got = model.probabilities(prepared)
    np.testing.assert_allclose(got.numpy(), fitted.probabilities(embedded), atol=1e-3)
    classifier.save(model, tmp_path)
    with torch.no_grad():
        assert torch.equal(classifier.load(tmp_path).probabilities(prepared), got)


def test_a_family_with_another_head_is_refused():
    net = backbones.create("volo_d1_224", channels=3, num_classes=2, size=64)
    width = backbones.embed(net.eval(), torch.zeros(1, 3, 64, 64)).shape[1]
    fitted = head.Head(np.random.default_rng(0).normal(size=(2, width)), np.zeros(2))
    with pytest.raises(UserError, match=r"set model\.mode to finetune"):
        head.put(net, fitted, channels=3, size=64)


def test_a_head_of_another_width_is_refused():
    net = backbones.create("test_resnet", channels=3, num_classes=2, size=64)
    with pytest.raises(ValueError, match="expected a head for 96 features, got 100"):
        head.put(net, head.Head(np.zeros((2, 100)), np.zeros(2)), channels=3, size=64)
