"""Fitting: learning, choosing the best epoch, repeating exactly, leaving nothing behind."""

import gc
import os
import signal
import threading
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import psutil
import pytest
import sklearn.metrics
import torch

from cellml.errors import UserError
from cellml.evaluation import calibration, metrics
from cellml.models import backbones
from cellml.models.classifier import Classifier
from cellml.training.fit import fit
from cellml.training.predict import predict
from tests.training.helpers import experiment

AUGMENTED = {
    "sampling.strategy": "balanced",
    "train.augment.flip": True,
    "train.augment.rotate": 180,
    "train.augment.scale": 0.1,
    "train.augment.color": 0.1,
    "train.augment.mixup": 0.3,
    "train.label_smoothing": 0.05,
    "train.ema": 0.9,
    "model.dropout": 0.2,
}


def run(dataset, *, refit=False, on_epoch=None, epochs=None, pretrained=None, progress=False, **values):
    chosen = dataset.manifest.split("train", "val") if refit else dataset.manifest.split("train")
    judged = None if refit else dataset.manifest.split("val")
    more = {"on_epoch": on_epoch, "epochs": epochs, "pretrained": pretrained, "progress": progress}
    return fit(experiment(**values), dataset, train=chosen, validation=judged, **more)


@pytest.fixture(scope="module")
def learnt(tiny):
    return run(tiny, **{"train.epochs": 8})


def test_it_learns_and_records_every_epoch(tiny, learnt):
    assert len(learnt.history) == 8
    assert learnt.history[-1]["train/loss"] < learnt.history[0]["train/loss"] / 3
    assert max(r["val/balanced_accuracy"] for r in learnt.history) > 0.9
    names = {f"val/{name}" for name in metrics.names(tiny.manifest.classes)}
    assert all(set(r) == {"train/loss", "val/loss", "lr"} | names for r in learnt.history)
    assert learnt.counts["before"] == {"corner": 22, "left": 11, "middle": 34} == learnt.counts["after"]
    assert not learnt.classifier.training
    assert learnt.seconds > 0


def test_the_result_is_the_best_epoch(learnt):
    values = [r["val/balanced_accuracy"] for r in learnt.history]
    assert learnt.best_epoch == int(np.argmax(values)) + 1
    found = learnt.validation
    assert sklearn.metrics.balanced_accuracy_score(found.targets, found.predicted) == pytest.approx(max(values))
    best = learnt.history[learnt.best_epoch - 1]
    assert sklearn.metrics.log_loss(found.targets, found.probabilities) == pytest.approx(best["val/loss"], rel=1e-4)


def test_predicting_from_the_decoded_images_gives_the_validation_predictions(tiny, learnt):
    again = predict(learnt.classifier, tiny, tiny.manifest.split("val"), device="cpu")
    np.testing.assert_allclose(again.probabilities, learnt.validation.probabilities, atol=1e-5)


def test_the_spec_describes_the_training(tiny, learnt):
    spec = learnt.classifier.spec
    assert (spec.classes, spec.channels, spec.dtype) == (("corner", "left", "middle"), 3, "uint8")
    assert spec.digest == tiny.manifest.split("train").digest
    pixels = tiny.pixels.resized(None, 24, tiny.manifest.split("train").rows) / 255
    np.testing.assert_allclose(spec.mean, pixels.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(spec.std, pixels.std((0, 1, 2)), rtol=1e-6)


@pytest.mark.parametrize("monitor", ["log_loss", "precision_middle", "recall_left"])
def test_the_monitor_picks_the_epoch(tiny, monitor):
    done = run(tiny, **{"train.monitor": monitor, "train.epochs": 5})
    values = [r[f"val/{monitor}"] for r in done.history]
    best = min(values) if monitor == "log_loss" else max(values)
    assert values[done.best_epoch - 1] == best
    assert metrics.value(monitor, done.validation) == pytest.approx(best, abs=1e-5)


def test_the_same_seed_repeats_everything_and_another_does_not(tiny):
    first, again = run(tiny, **AUGMENTED), run(tiny, **AUGMENTED)
    torch.rand(3)
    pd.testing.assert_frame_equal(pd.DataFrame(first.history), pd.DataFrame(again.history), check_exact=True)
    np.testing.assert_array_equal(first.validation.probabilities, again.validation.probabilities)
    for key, value in first.classifier.state_dict().items():
        assert torch.equal(value, again.classifier.state_dict()[key])
    other = run(tiny, **AUGMENTED, **{"train.seed": 1}).history
    assert [epoch["train/loss"] for epoch in other] != [epoch["train/loss"] for epoch in first.history]


def test_balanced_sampling_shows_in_the_counts(tiny):
    after = run(tiny, epochs=1, **AUGMENTED).counts["after"]
    np.testing.assert_allclose(list(after.values()), 67 / 3)


def test_early_stop_after_epochs_without_a_better_value(tiny):
    done = run(tiny, **{"train.epochs": 30, "train.patience": 2, "train.lr": 1e-6})
    assert len(done.history) == done.best_epoch + 2 < 30


def test_refit_takes_the_last_of_the_given_epochs(tiny):
    done = run(tiny, refit=True, epochs=4, **{"train.patience": 1})
    assert done.validation is None
    assert (len(done.history), done.best_epoch) == (4, 4)
    assert set(done.history[0]) == {"train/loss", "lr"}
    found = predict(done.classifier, tiny, tiny.manifest.split("test"), device="cpu")
    assert metrics.value("accuracy", found) > 0.4


def test_the_average_is_what_is_judged_and_returned(tiny):
    slow = run(tiny, epochs=2, **{"train.ema": 0.999})
    plain = run(tiny, epochs=2)
    assert [r["train/loss"] for r in slow.history] == [r["train/loss"] for r in plain.history]
    assert slow.history[-1]["val/loss"] != plain.history[-1]["val/loss"]
    loss = sklearn.metrics.log_loss(slow.validation.targets, slow.validation.probabilities)
    assert loss == pytest.approx(slow.history[slow.best_epoch - 1]["val/loss"], rel=1e-4)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_every_optimiser_and_schedule_reduces_the_loss(tiny, optimizer, schedule):
    lr = 0.05 if optimizer == "sgd" else 3e-3
    done = run(tiny, epochs=4, **{"train.optimizer": optimizer, "train.schedule": schedule, "train.lr": lr})
    assert done.history[-1]["train/loss"] < done.history[0]["train/loss"]


def test_bf16_on_a_cpu_ends_in_float32(tiny):
    done = run(tiny, epochs=2, **{"train.precision": "bf16"})
    assert {p.dtype for p in done.classifier.parameters()} == {torch.float32}
    assert np.isfinite(done.history[-1]["val/loss"])


def test_sixteen_bit_channels_learn(deep):
    done = run(deep, **{"train.epochs": 16})
    assert done.classifier.spec.dtype == "uint16"
    assert 600 < done.classifier.spec.high[0] < 900 < done.classifier.spec.low[2]
    assert max(r["val/balanced_accuracy"] for r in done.history) > 0.8


def test_a_balanced_calibration_is_stored_and_serves_balanced_accuracy(tiny):
    plain = run(tiny, **{"train.epochs": 2})
    done = run(tiny, **{"train.epochs": 2, "train.calibrate": "balanced"})
    spec = done.classifier.spec
    assert (spec.temperature, spec.offsets) == calibration.balanced(plain.validation)
    expected = calibration.heated(plain.validation.probabilities, spec.temperature, spec.offsets)
    np.testing.assert_allclose(done.validation.probabilities, expected, atol=1e-6)
    said = predict(done.classifier, tiny, tiny.manifest.split("val"), device="cpu")
    np.testing.assert_allclose(said.probabilities, expected, atol=1e-4)
    log_loss = [
        sklearn.metrics.log_loss(p.targets, p.probabilities, sample_weight=1 / np.bincount(p.targets)[p.targets])
        for p in (plain.validation, done.validation)
    ]
    assert log_loss[1] < log_loss[0]


def test_the_last_epoch_can_be_kept(tiny):
    """With validation rows to look at, the network is the one that a fit without them gives."""
    looked = run(tiny, **{"train.keep": "last"})
    assert looked.best_epoch == 3
    train = tiny.manifest.split("train")
    alone = fit(experiment(), tiny, train=train, validation=None, progress=False)
    for name, value in alone.classifier.state_dict().items():
        assert torch.equal(value, looked.classifier.state_dict()[name])
    assert looked.history[-1]["val/balanced_accuracy"] == metrics.value("balanced_accuracy", looked.validation)


@pytest.mark.parametrize("changes", [{}, {"model.mode": "frozen"}, {"sampling.strategy": "smote"}])
def test_soft_labels_can_be_left_aside(tiny, changes):
    manifest = tiny.manifest
    for k, name in enumerate(manifest.classes):
        manifest = manifest.with_column(f"soft:{name}", np.where(manifest.targets == k, 0.6, 0.2))
    parts = {"train": manifest.split("train"), "validation": manifest.split("val"), "progress": False}
    own = experiment(**changes, **{"train.epochs": 1})
    hard = fit(own, tiny, train=tiny.manifest.split("train"), validation=tiny.manifest.split("val"), progress=False)
    left = fit(own.replace({"train.soft_labels": False}), tiny, **parts)
    soft = fit(own, tiny, **parts)
    assert left.history[0]["train/loss"] == hard.history[0]["train/loss"] != soft.history[0]["train/loss"]
    assert left.history[0]["val/loss"] == hard.history[0]["val/loss"]


def test_soft_labels_are_the_targets(tiny):
    manifest = tiny.manifest
    for k, name in enumerate(manifest.classes):
        manifest = manifest.with_column(f"soft:{name}", np.where(manifest.targets == k, 0.6, 0.2))
    train, judged = manifest.split("train"), manifest.split("val")
    done = fit(experiment(), tiny, train=train, validation=judged, progress=False, epochs=8)
    entropy = -(0.6 * np.log(0.6) + 0.4 * np.log(0.2))
    assert entropy - 1e-6 <= min(r["train/loss"] for r in done.history) < entropy + 0.1


def test_training_goes_on_from_a_classifier_with_its_scaling(tiny, learnt):
    spec = replace(learnt.classifier.spec, mean=(0.4, 0.5, 0.6), std=(0.3, 0.3, 0.3))
    source = Classifier(spec, learnt.classifier.net)
    assert run(tiny, epochs=1, pretrained=source).classifier.spec.mean == (0.4, 0.5, 0.6)
    source = learnt.classifier
    done = run(tiny, epochs=1, pretrained=source, **{"train.lr": 1e-9})
    assert done.history[0]["train/loss"] < 0.5 * np.log(3)


def test_a_last_batch_of_one_does_no_harm(tiny):
    rows = tiny.manifest.split("train").where(np.r_[0:9, 30:38])  # 17 rows, batches of 16
    done = fit(experiment(), tiny, train=rows, validation=None, progress=False, epochs=1)
    assert np.isfinite(done.history[0]["train/loss"])


@pytest.mark.parametrize("tta", ["none", "d4"])
def test_frozen_fits_the_head_alone_on_kept_embeddings(tiny, tta, monkeypatch):
    values = {"model.mode": "frozen", "train.tta": tta, "train.weight_decay": 0.003}
    done = run(tiny, **values)
    assert (len(done.history), done.best_epoch) == (1, 1)
    assert metrics.value("balanced_accuracy", done.validation) > 0.7
    assert done.history[0]["val/balanced_accuracy"] == metrics.value("balanced_accuracy", done.validation)
    again = predict(done.classifier, tiny, tiny.manifest.split("val"), device="cpu")
    np.testing.assert_allclose(again.probabilities, done.validation.probabilities, atol=1e-4)
    monkeypatch.setattr(Classifier, "embed", None)  # the second fit reads them
    np.testing.assert_allclose(run(tiny, **values).validation.probabilities, done.validation.probabilities, atol=1e-6)


def test_attention_blocks_are_trained_and_averaged_with_the_rest(tiny):
    done = run(tiny, **{"model.attention": "non_local@3+se1d@pool", "train.ema": 0.5})
    assert done.classifier.spec.attention == "non_local@3+se1d@pool"
    assert done.classifier.net.attention["non_local_3"].out.weight.abs().sum() > 0  # it started at zero
    again = predict(done.classifier, tiny, tiny.manifest.split("val"), device="cpu")
    np.testing.assert_allclose(again.probabilities, done.validation.probabilities, atol=1e-5)


def test_frozen_says_that_new_blocks_stay_untrained(tiny, tmp_path):
    torch.save(backbones.create("test_resnet", channels=3, num_classes=3, size=24).state_dict(), tmp_path / "trunk.pth")
    values = {"model.mode": "frozen", "model.weights": str(tmp_path / "trunk.pth"), "model.attention": "eca@2"}
    assert any("model.attention" in note for note in run(tiny, **values).notes)
    assert not run(tiny, **values | {"model.attention": "none"}).notes


def test_frozen_says_which_loss_it_has(tiny):
    with pytest.raises(UserError, match=r"train\.loss cross_entropy with model\.mode frozen, got 'focal'"):
        run(tiny, **{"model.mode": "frozen", "train.loss": "focal"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train.monitor": "recal_left"}, "did you mean 'recall_left'"),
        ({"train.loss": "hinge"}, "Expected a loss"),
        ({"train.loss_options": {"gamma": 1}}, "takes no options"),
        ({"sampling.strategy": "balance"}, "did you mean 'balanced'"),
        ({"train.precision": "16"}, "32 or bf16 on a CPU"),
        ({"model.backbone": "test_resnt"}, "did you mean 'test_resnet'"),
    ],
)
def test_mistakes_are_named_before_training(tiny, values, message):
    with pytest.raises(UserError, match=message):
        run(tiny, on_epoch=lambda *_: pytest.fail("it trained"), **values)


def test_a_monitor_without_a_value_is_named(tiny):
    judged = tiny.manifest.split("val")
    judged = judged.where(judged.targets != 1)
    with pytest.raises(UserError, match=r"NaN for 'recall_left': no validation rows of \['left'\]"):
        fit(experiment(**{"train.monitor": "recall_left"}), tiny, train=tiny.manifest.split("train"), validation=judged)


def test_too_little_to_train_on_is_named(tiny):
    train = tiny.manifest.split("train")
    with pytest.raises(UserError, match=r"at least two classes, got 22 rows of \['corner'\]"):
        fit(experiment(), tiny, train=train.where(train.targets == 0), validation=None)
    with pytest.raises(UserError, match="Expected validation rows, got none"):
        fit(experiment(), tiny, train=train, validation=train.where([]))


def test_epochs_are_reported_and_what_the_listener_raises_comes_out(tiny):
    class Pruned(Exception):
        pass

    seen = []

    def listen(epoch, record):
        seen.append((epoch, record["val/loss"]))
        if epoch == 2:
            raise Pruned("enough")

    threads = torch.get_num_threads()
    with pytest.raises(Pruned, match="enough"):
        run(tiny, on_epoch=listen)
    assert [epoch for epoch, _ in seen] == [1, 2]
    assert torch.get_num_threads() == threads


@pytest.fixture
def interruptible():
    """Ctrl-C arrives as KeyboardInterrupt, also where the tests were started in the background with SIGINT ignored.

    No garbage collection: hypothesis measures it in a callback, which would swallow the exception.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()
    yield
    gc.enable()
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_comes_out_as_one_and_the_next_still_works(tiny):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def interrupt(epoch, record):
        signal.raise_signal(signal.SIGINT)

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(tiny, on_epoch=interrupt)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


@pytest.mark.usefixtures("interruptible")
def test_what_a_sigterm_handler_raises_comes_out_as_it_was(tiny):
    class Terminated(KeyboardInterrupt):
        pass

    def stop(number, frame):
        raise Terminated("SIGTERM")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(Terminated, match="SIGTERM"):
            run(tiny, on_epoch=lambda *_: signal.raise_signal(signal.SIGTERM))
        assert signal.getsignal(signal.SIGTERM) is stop
    finally:
        signal.signal(signal.SIGTERM, before)


def test_it_runs_in_another_thread(tiny):
    found = []
    worker = threading.Thread(target=lambda: found.append(run(tiny, epochs=1)))
    worker.start()
    worker.join()
    assert len(found[0].history) == 1


def test_nothing_is_printed_written_or_left_changed(tiny, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_NTASKS", "4")  # a batch system around us is not for Lightning
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(tiny)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), random)


def test_successive_fits_keep_no_models_and_no_memory(tiny):
    process = psutil.Process(os.getpid())
    used = []
    for k in range(8):
        run(tiny, epochs=1, **AUGMENTED, **{"train.seed": k})
        used.append(process.memory_info().rss)
    gc.collect()
    assert not [o for o in gc.get_objects() if isinstance(o, torch.optim.Optimizer)]
    assert used[-1] < 1.02 * used[2]
