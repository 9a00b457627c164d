"""Further labels: their loss is the cross-entropy of linear heads on the embedding, and they change the network."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from cellml.data.prepare import prepare
from cellml.errors import UserError
from cellml.models import backbones
from cellml.training import auxiliary
from cellml.training.fit import fit
from tests.training.helpers import experiment


def with_labels(dataset, texts):
    rows = dataset.manifest
    return rows.with_column("auxiliary:phase", [texts[i % len(texts)] for i in range(len(rows))])


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "torchvision/squeezenet1_0"])
def test_the_loss_is_cross_entropy_of_a_linear_layer_on_the_embedding(name):
    torch.manual_seed(0)
    net = backbones.create(name, channels=3, num_classes=2, size=64).eval()
    heads = auxiliary.Heads(net, [3, 2])
    x = torch.randn(5, 3, 64, 64)
    targets = torch.zeros(5, 5)
    targets[torch.arange(5), torch.tensor([0, 1, 2, 2, 1])] = 1
    targets[:4, 3] = 1  # the last image has no second label
    plain = net(x)
    found = heads.loss(targets)
    with torch.no_grad():
        logits = heads.layer(backbones.embed(net, x))
        first = torch.nn.functional.cross_entropy(logits[:, :3], torch.tensor([0, 1, 2, 2, 1]), reduction="none")
        second = torch.nn.functional.cross_entropy(logits[:4, 3:], torch.zeros(4, dtype=torch.int64), reduction="none")
    torch.testing.assert_close(found, (first + torch.cat([second, torch.zeros(1)])) / 2)
    heads.remove()
    assert torch.equal(net(x), plain)
    assert not heads._seen


def test_labels_are_ones_and_zeros_of_each_column_s_values(tiny):
    rows = with_labels(tiny, ["pro", "meta", ""])
    (found,) = auxiliary.labels(rows)
    assert found.shape == (len(rows), 2)
    assert found[:4].tolist() == [[0, 1], [1, 0], [0, 0], [0, 1]]
    with pytest.raises(UserError, match=r"two values or more in the column 'phase' of data.auxiliary, got \['pro'\]"):
        auxiliary.labels(with_labels(tiny, ["pro", ""]))
    with pytest.raises(UserError, match=r"Expected columns with further labels in data.auxiliary"):
        auxiliary.labels(tiny.manifest)
    with pytest.raises(
        UserError, match=r"labels that images share in the column 'phase' .* got 120 values in 120 rows"
    ):
        auxiliary.labels(with_labels(tiny, list(tiny.manifest.ids)))
    named = tiny.manifest.with_column(
        "auxiliary:again", ["is " + tiny.manifest.classes[k] for k in tiny.manifest.targets]
    )
    with pytest.raises(UserError, match=r"Expected labels other than the class in data.auxiliary, got 'again'"):
        auxiliary.labels(named)


def test_a_network_learns_a_further_label_that_its_class_does_not_tell(tiny):
    """The further label is whether an image is brighter than the middle of its class."""
    rows = tiny.manifest
    bright = np.array([image.mean() for image in tiny.pixels.images(rows.rows)])
    middle = {label: np.median(bright[rows.targets == label]) for label in set(rows.targets)}
    further = np.where(bright > [middle[label] for label in rows.targets], "bright", "dark")
    rows = rows.with_column("auxiliary:light", further)
    train = rows.split("train")

    def decodable(weight):
        changes = {"train.auxiliary": weight, "train.epochs": 8, "train.augment.brightness": 0, "train.lr": 3e-3}
        classifier = fit(experiment(**changes), tiny, train=train, validation=None, progress=False).classifier
        pixels = torch.from_numpy(tiny.pixels.resized(None, classifier.spec.size, train.rows)).permute(0, 3, 1, 2)
        with torch.no_grad():
            seen = classifier.embed(pixels.float()).numpy()
        wanted = train.auxiliary["light"] == "bright"
        assert not classifier.net._forward_pre_hooks
        return LogisticRegression(C=0.1).fit(seen, wanted).score(seen, wanted)

    assert decodable(2.0) > decodable(0.0) + 0.05


def test_what_does_not_fit_is_refused_before_training(tiny, deep, tmp_path):
    train = tiny.manifest.split("train")
    for changes, expected in (
        ({"train.auxiliary": 0.5, "model.mode": "frozen"}, "Expected a trunk that learns for train.auxiliary"),
        ({"train.auxiliary": 0.5}, "Expected columns with further labels"),
    ):
        with pytest.raises(UserError, match=expected):
            fit(experiment(**changes), tiny, train=train, validation=None, progress=False)
    grey = prepare(experiment(**{"data.path": str(deep.root), "data.channels": [0]}), tmp_path)
    with pytest.raises(
        UserError,
        match=r"Expected stained tissue in 8-bit colour for train.augment.stain, got 1 channels of uint16; set it to 0",
    ):
        fit(experiment(**{"train.augment.stain": 0.1}), grey, train=grey.manifest, validation=None, progress=False)
