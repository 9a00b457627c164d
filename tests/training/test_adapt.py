"""Every mode by what it must leave alone and what it must change; with the rest of training; exported and reloaded."""

import numpy as np
import pytest
import torch

from cellml.config import Model
from cellml.data.manifest import Manifest
from cellml.errors import UserError
from cellml.evaluation import metrics
from cellml.models import backbones, classifier
from cellml.training import adapt
from cellml.training.fit import fit
from cellml.training.predict import predict
from tests.models.test_classifier import exported
from tests.training.helpers import experiment

LEARNT = {  # mode -> prefixes of what may change; lora changes weights of convolutions too
    "head": ("hidden.", "fc."),
    "last_stage": ("layer4.", "fc.", "attention."),
    "lora": ("fc.", "attention."),
}
EVERYTHING = {
    "sampling.strategy": "balanced",
    "train.augment.rotate": 90,
    "train.augment.mixup": 0.3,
    "train.ema": 0.5,
    "train.label_smoothing": 0.05,
    "train.loss": "focal",
    "train.tta": "d4",
    "train.layer_decay": 0.7,
    "model.dropout": 0.2,
}


@pytest.fixture(scope="module")
def start(tiny, tmp_path_factory):
    """A file of weights from a training of its own."""
    done = run(tiny, **{"train.epochs": 4})
    file = tmp_path_factory.mktemp("start") / "trunk.pth"
    torch.save(done.classifier.net.state_dict(), file)
    return str(file)


def run(tiny, rows: Manifest | None = None, **values):
    train = tiny.manifest.split("train") if rows is None else rows
    return fit(experiment(**values), tiny, train=train, validation=tiny.manifest.split("val"), progress=False)


def state(net):
    return {key: value.clone() for key, value in net.state_dict().items()}


@pytest.mark.parametrize("more", [{}, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("mode", LEARNT)
def test_what_a_mode_does_not_train_stays_bit_by_bit(tiny, start, mode, more):
    values = {"model.mode": mode, "model.weights": start} | more
    values |= {} if mode == "head" else {"model.attention": "se@2+se1d@pool"}
    done = run(tiny, **values)
    before, after = torch.load(start), state(done.classifier.net)
    kept = {key for key in before if key in after and after[key].shape == before[key].shape}
    changed = {key for key in before if key not in kept or not torch.equal(after[key], before[key])}
    assert any(key.startswith("fc.") for key in changed)
    rest = {key for key in changed if not key.startswith(LEARNT[mode])}
    convolutions = {f"{k}.weight" for k, m in done.classifier.net.named_modules() if isinstance(m, torch.nn.Conv2d)}
    assert rest == (convolutions & set(before) if mode == "lora" else set())
    if mode == "last_stage":
        assert {"layer4.0.conv1.weight", "layer4.0.bn1.running_mean"} <= changed
    assert all(p.requires_grad for p in done.classifier.net.parameters())
    assert not [key for key in after if "parametrizations" in key]
    if mode != "head":
        blocks = [key for key in after if key.startswith("attention.")]
        fresh = state(backbones.create("test_resnet", channels=3, num_classes=3, size=24, attention="se@2+se1d@pool"))
        assert blocks
        assert not any(torch.equal(after[key], fresh[key]) for key in blocks if key.endswith("weight"))
    assert np.isfinite(done.history[-1]["val/loss"])


@pytest.mark.parametrize("mode", ["head", "lora", "last_stage"])
def test_a_mode_learns_and_its_model_reloads_exports_and_predicts_the_same(tiny, start, mode, tmp_path):
    done = run(tiny, **{"model.mode": mode, "model.weights": start, "train.epochs": 6, "train.lr": 0.01})
    assert done.history[-1]["train/loss"] < 0.5 * done.history[0]["train/loss"]
    assert metrics.value("balanced_accuracy", done.validation) > 0.6
    assert 0 < done.trained < sum(p.numel() for p in done.classifier.parameters())
    found = predict(done.classifier, tiny, tiny.manifest.split("val"), device="cpu")
    np.testing.assert_allclose(found.probabilities, done.validation.probabilities, atol=1e-5)
    classifier.save(done.classifier, tmp_path)
    images = torch.from_numpy(np.stack(tiny.pixels.images(tiny.manifest.split("test").rows)))
    with torch.no_grad():
        expected = done.classifier(images)
        assert torch.equal(classifier.load(tmp_path)(images), expected)
        torch.testing.assert_close(exported(done.classifier, images)(images[:5]), expected[:5], rtol=0, atol=1e-5)


def test_lora_starts_where_the_weights_stand(tiny, start):
    values = {"model.weights": start, "train.lr": 1e-12, "train.epochs": 1}
    source = run(tiny, **values, **{"model.mode": "lora"})
    plain = backbones.create("test_resnet", channels=3, num_classes=3, size=24, weights=start).eval()
    rows = torch.from_numpy(tiny.pixels.resized(None, 24, tiny.manifest.split("val").rows))
    with torch.no_grad():
        expected = torch.softmax(plain(source.classifier.normalise(rows.permute(0, 3, 1, 2).float())), 1)
    np.testing.assert_allclose(source.validation.probabilities, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(("mode", "strategy"), [("head", "smote"), ("lora", "augment_minority"), ("last_stage", "enn")])
def test_strategies_that_embed_or_make_images_go_with_every_mode(tiny, start, mode, strategy):
    values = {"model.mode": mode, "model.weights": start, "sampling.strategy": strategy, "train.epochs": 1}
    done = run(tiny, **values)
    assert done.counts["after"] != done.counts["before"]
    assert bool(done.synthetic) is (strategy != "enn")
    assert np.isfinite(done.history[0]["train/loss"])


def test_a_network_without_weights_is_noted(tiny):
    assert "untrained network" in run(tiny, **{"model.mode": "head", "train.epochs": 1}).notes[0]
    assert "stays untrained" in run(tiny, **{"model.mode": "lora", "train.epochs": 1}).notes[0]
    blocks = run(tiny, **{"model.mode": "head", "model.attention": "se@1", "train.epochs": 1}).notes
    assert [
        "untrained network" in blocks[0],
        "blocks that model.weights does not hold stay untrained" in blocks[1],
    ] == [True] * 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model.mode": "lora", "model.lora.targets": ["qkv"]}, "'qkv' matches none of 'test_resnet'"),
        ({"model.mode": "last_stage", "model.backbone": "torchvision/shufflenet_v2_x0_5"}, "describes its stages"),
        ({"train.layer_decay": 0.5, "model.backbone": "torchvision/shufflenet_v2_x0_5"}, "orders its layers"),
    ],
)
def test_what_a_backbone_cannot_do_is_named_before_training(tiny, values, message):
    with pytest.raises(UserError, match=message) as error:
        run(tiny, **values)
    assert "\n" not in str(error.value)


def test_finetune_leaves_every_parameter_to_be_trained():
    model = classifier.build(
        classifier.Spec("test_resnet", ("a", "b"), 3, "uint8", 32, None, (0,) * 3, (255,) * 3, (0.5,) * 3, (0.2,) * 3)
    )
    with adapt.adapted(model, Model()):
        assert adapt.count(model.net) == sum(p.numel() for p in model.parameters())
