"""What a training batch is made of."""

import numpy as np
import pytest
import torch

from cellml.data import augment
from cellml.models import classifier as classifiers
from cellml.sampling.base import Sample, TrainingRows
from cellml.training import arrays, finetune, loop
from cellml.training import fit as fitting
from cellml.training.job import Job, initial
from cellml.training.module import Diverged, Module
from cellml.training.progress import Bar
from tests.training.helpers import experiment

CPU = torch.device("cpu")


def job(dataset, settings):
    train = dataset.manifest.split("train")
    sample = Sample(np.arange(len(train)), np.ones(len(train), dtype=np.float32))
    return Job(
        experiment=settings,
        dataset=dataset,
        train=train,
        validation=dataset.manifest.split("val"),
        rows=TrainingRows.of(train),
        sample=sample,
        device=CPU,
        epochs=2,
        pretrained=None,
        on_epoch=None,
        progress=False,
    )


def module(of):
    pixels = of.prepared(of.train)
    model = initial(of.experiment, of.train, pixels, None)
    made = Module(of, model, arrays.load(pixels, arrays.labels(of.train), CPU), None, Bar("", 1, 1, False))
    made.on_fit_start()
    return made


@pytest.mark.parametrize("data", ["tiny", "deep"])
def test_without_augmentation_a_batch_is_what_the_classifier_normalises(data, request):
    of = job(request.getfixturevalue(data), experiment())
    made = module(of)
    rows = torch.tensor([5, 0, 5])
    images, targets, weights = made.batch(rows, torch.ones(3))
    raw = torch.from_numpy(of.prepared(of.train)[rows.numpy()].astype(np.float32)).permute(0, 3, 1, 2)
    torch.testing.assert_close(images, made.classifier.normalise(raw))
    assert targets.argmax(1).tolist() == of.train.targets[rows.numpy()].tolist()
    assert weights.tolist() == [1, 1, 1]


def test_augmentation_and_mixing_work_on_values_of_0_to_1(deep):
    settings = experiment(**{"train.augment.brightness": 0.5, "train.augment.mixup": 0.5, "train.seed": 3})
    made = module(job(deep, settings))
    rows, weights = torch.arange(8), torch.rand(8) + 0.5
    images, targets, mixed = made.batch(rows, weights)
    c, generator = made.classifier, torch.Generator().manual_seed(3)
    plain = (made.train_arrays.take(rows) - c.low) / c.scale
    plain = augment.augment(plain, settings.train.augment, 24, generator)
    expected = augment.mixup(plain, made.train_arrays.labels(rows), weights, 0.5, generator)
    torch.testing.assert_close(images * c.std + c.mean, expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close((targets, mixed), expected[1:])


FLOW = {"model.backbone": "coupling", "model.options": {"steps": [1], "widths": [4], "likelihood": 0.5}}


def test_a_density_is_given_pixel_values_with_noise_of_one_step(tiny):
    of = job(tiny, experiment(**FLOW))
    made = module(of)
    rows = torch.arange(6)
    images, _, _ = made.batch(rows, torch.ones(6))
    c = made.classifier
    raw = (images * c.std + c.mean) * c.scale + c.low
    noise = raw - made.train_arrays.take(rows)
    assert noise.abs().max() < 0.51
    assert float(noise.std()) == pytest.approx(12**-0.5, rel=0.02)


def test_the_terms_beside_the_class_loss_are_added(tiny):
    made = module(job(tiny, experiment(**FLOW)))
    rows, weights = torch.arange(6), torch.tensor([0.0, 0, 3, 0, 0, 3])
    state = made.generator.get_state()
    loss = made.training_step((rows, weights), 0)
    made.generator.set_state(state)
    images, targets, weights = made.batch(rows, weights)
    net = made.classifier.net
    values = torch.nn.functional.cross_entropy(net(images), targets, reduction="none")
    beside = -0.5 * (net.log_likelihood(images) * weights).mean() / images[0].numel()
    torch.testing.assert_close(loss, (values * weights).mean() + beside)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_averaged_networks_that_must_contract_do(tiny, keep):
    """The weights handed out load again, which is refused to blocks that do not contract."""
    small = {"blocks": [1, 1], "widths": [4, 6]}
    settings = experiment(
        **{"model.backbone": "iresnet", "model.options": small, "train.ema": 0.9, "train.keep": keep, "train.lr": 0.02}
    )
    done = fitting.fit(
        settings, tiny, train=tiny.manifest.split("train"), validation=tiny.manifest.split("val"), progress=False
    )
    again = classifiers.build(done.classifier.spec, done.classifier.net.state_dict()).eval()
    x = torch.randn(2, 3, 24, 24)
    torch.testing.assert_close(again.net(x), done.classifier.net(x))
    assert again.net.round_trip(x).max() < 1e-3


def test_the_margin_is_fetched_and_its_middle_is_the_prepared_image(tiny):
    of = job(tiny, experiment(**{"train.augment.rotate": 90, "input.crop": 16, "input.size": 16}))
    wide = finetune.with_margin(tiny, of.train, of.experiment.input, of.experiment.train.augment)
    assert wide.shape[1] == 24  # 16 x 1.42 = 22.7, rounded up to keep the centre
    np.testing.assert_array_equal(wide[:, 4:-4, 4:-4], of.prepared(of.train))


def test_the_loss_weights_the_rows(tiny):
    made = module(job(tiny, experiment())).eval()
    rows, weights = torch.arange(6), torch.tensor([0.0, 0, 3, 0, 0, 3])
    loss = made.training_step((rows, weights), 0)
    with torch.no_grad():
        logits = made.classifier.logits(made.train_arrays.take(rows))
    values = torch.nn.functional.cross_entropy(logits, made.train_arrays.labels(rows), reduction="none")
    torch.testing.assert_close(loss, (3 * values[2] + 3 * values[5]) / 6, atol=1e-5, rtol=1e-5)


def test_a_loss_that_is_not_finite_names_the_epoch_and_the_remedy(tiny):
    made = module(job(tiny, experiment()))
    torch.nn.init.constant_(next(made.classifier.net.parameters()), float("nan"))
    batches = arrays.Batches(made.job.sample, 16, torch.Generator(), CPU)
    with pytest.raises(Diverged, match=r"train/loss = nan in epoch 1: the training diverged; lower train.lr"):
        loop.run(made, batches, None, epochs=1, device=CPU, precision="32-true")
    assert issubclass(Diverged, FloatingPointError)
