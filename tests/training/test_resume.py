"""A fit that was stopped and goes on is, bit for bit, the fit that was never stopped."""

import json
import multiprocessing
import os
import signal
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from cellml import config
from cellml.training import fit as fitting
from cellml.training import folds
from cellml.training.fit import fit
from tests.training import movies
from tests.training.helpers import experiment

EACH = {"train.checkpoint": 0, "train.epochs": 4}
BUSY = {"train.augment.flip": True, "train.augment.rotate": 90, "train.augment.noise": 0.1, "model.dropout": 0.2}
CONTRACTION = {"blocks": [1, 1], "widths": [4, 6]}
FLOW = {"steps": [1], "widths": [4], "likelihood": 0.5}
IMAGES = {
    "average": {"train.ema": 0.9, "train.optimizer": "adam", "train.schedule": "cosine"},
    "mixed": {"train.augment.mixup": 0.4, "train.augment.cutmix": 0.5, "train.optimizer": "sgd", "train.keep": "last"},
    "drawn": {"sampling.strategy": "balanced", "train.optimizer": "adagrad", "train.steps": 4},
    "stages": {"train.schedule": "constant", "train.lr_after": {1: 1e-3, 3: 1e-4}, "train.layer_decay": 0.7},
    "patient": {"train.patience": 2, "train.lr": 0.05, "train.calibrate": "temperature"},
    "head": {"model.mode": "head", "model.hidden": 8},
    "lora": {"model.mode": "lora", "model.backbone": "test_vit", "input.size": 32},
    "last_stage": {"model.mode": "last_stage"},
    "bf16": {"train.precision": "bf16"},
    "flow": {"model.backbone": "coupling", "model.options": FLOW},
    "contraction": {"model.backbone": "iresnet", "model.options": CONTRACTION, "train.ema": 0.9, "train.keep": "last"},
}
QUICK = ("average", "drawn", "lora", "contraction")
SMALL = {
    "train.batch_size": 2,
    "sequence.units": 8,
    "sequence.tracker.encoder": [4, 8],
    "sequence.tracker.hidden": [4, 6, 8],
    "sequence.tracker.decoder": [6, 4],
}
WEAK = {"sequence.supervision": "transcripts", "sequence.transcripts.rounds": 5}
SEQUENCES = {
    "gru": {"model.backbone": "test_resnet+gru", "train.ema": 0.9},
    "tracker": {"model.backbone": "tracker", "sequence.chunk": 4},
    "transcripts": {"model.backbone": "test_resnet+gru", **WEAK},
    "weighted transcripts": {"model.backbone": "test_resnet+gru", "sampling.strategy": "class_weights", **WEAK},
}


ALIGNED = {"sequence.transcripts.aligner": "test_resnet", **WEAK, "train.epochs": 3, "sequence.transcripts.rounds": 3}
CROSSED = {"train.folds": 2, "train.epochs": 3, "train.checkpoint": 0, "train.ema": 0.9}


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    return movies.dataset(tmp_path_factory.mktemp("discs"), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def labelled(tiny):
    """With a further label, which a third of the pictures have not."""
    said = np.resize(np.array(["yes", "no", ""], dtype=object), len(tiny.manifest))
    return replace(tiny, manifest=tiny.manifest.with_column("auxiliary:bright", said))


def run(own, dataset, place=None, stop=None, validation=True):
    """The epochs that were told of, and the fit, or None where it was stopped in an epoch."""
    told = []

    def on_epoch(epoch, record):
        told.append((epoch, record))
        if epoch == stop:
            raise Killed

    rows = dataset.manifest
    given = {"train": rows.split("train"), "validation": rows.split("val") if validation else None}
    try:
        return told, fit(own, dataset, **given, on_epoch=on_epoch, progress=False, checkpoint=place)
    except Killed:
        return told, None


def same(ours, theirs):
    """Bit for bit, but for the time that it took."""
    assert json.dumps(ours.history) == json.dumps(theirs.history)  # some figures are NaN
    assert (ours.best_epoch, ours.trained, ours.counts) == (theirs.best_epoch, theirs.trained, theirs.counts)
    assert ours.classifier.spec == theirs.classifier.spec
    some, others = ours.classifier.state_dict(), theirs.classifier.state_dict()
    assert some.keys() == others.keys()
    assert [name for name in some if some[name].numpy().tobytes() != others[name].numpy().tobytes()] == []
    if theirs.validation is not None:
        assert ours.validation.probabilities.tobytes() == theirs.validation.probabilities.tobytes()


def check(own, dataset, place, stops=(2,), validation=True):
    told, whole = run(own, dataset, validation=validation)
    for stop in stops:
        _, left = run(own, dataset, place, stop, validation)
        assert left is None
    assert (place / "state.pt").exists()
    again, resumed = run(own, dataset, place, validation=validation)
    same(resumed, whole)
    assert json.dumps(again) == json.dumps(told)


@pytest.mark.parametrize(
    "case", [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in IMAGES]
)
def test_an_interrupted_fit_of_images(tiny, tmp_path, case):
    stops = (1, 3) if case == "average" else (2,)
    check(experiment(**EACH | BUSY | IMAGES[case]), tiny, tmp_path / "fit", stops, validation=case != "drawn")


def test_an_interrupted_fit_with_auxiliary_labels(labelled, tmp_path):
    check(experiment(**EACH | BUSY | {"train.auxiliary": 0.5, "train.ema": 0.8}), labelled, tmp_path / "fit")


@pytest.mark.parametrize("case", SEQUENCES)
def test_an_interrupted_fit_of_sequences(discs, tmp_path, case):
    check(experiment(**EACH | SMALL | SEQUENCES[case]), discs, tmp_path / "fit")


@pytest.mark.parametrize("more", [{}, {"train.patience": 1, "train.lr": 0.05}])
def test_a_fit_stopped_after_its_last_epoch_trains_no_more(tiny, tmp_path, monkeypatch, more):
    own = experiment(**EACH | more)
    told, whole = run(own, tiny)
    run(own, tiny, tmp_path / "fit", stop=len(whole.history))
    monkeypatch.setattr(torch.optim.AdamW, "step", None)
    again, resumed = run(own, tiny, tmp_path / "fit")
    same(resumed, whole)
    assert json.dumps(again) == json.dumps(told)


@pytest.mark.parametrize("why", ["damaged", "of other settings", "of other rows", "of another network"])
def test_what_does_not_fit_is_not_gone_on_from(tiny, tmp_path, why, caplog, monkeypatch):
    own = experiment(**EACH | {"train.epochs": 2})
    earlier = own.replace({"train.lr": 0.01} if why == "of other settings" else {})
    rows = replace(tiny, manifest=tiny.manifest.where(np.arange(len(tiny.manifest)) > 3)) if "rows" in why else tiny
    if why == "of another network":  # as code that has changed without its version
        monkeypatch.setattr(fitting, "key", lambda *_: "the same")
        earlier = own.replace({"model.backbone": "test_efficientnet"})
    run(earlier, rows, tmp_path / "fit", 1)
    if why == "damaged":
        (tmp_path / "fit" / "state.pt").write_bytes(b"no state")
    told, found = run(own, tiny, tmp_path / "fit")
    _, whole = run(own, tiny)
    same(found, whole)
    assert len(told) == 2
    said = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == (why in ("damaged", "of another network"))


@contextmanager
def steps(stop=None, how=None):
    """Counts the steps of all optimisers, and at one of them is stopped."""
    taken = []

    def step(*_):
        taken.append(1)
        if len(taken) == stop:
            how()

    handle = register_optimizer_step_post_hook(step)
    try:
        yield taken
    finally:
        handle.remove()


def interrupt():
    raise Killed


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_interrupted_rounds_of_an_aligner(discs, tmp_path):
    own = experiment(**EACH | SMALL | {"model.backbone": "test_resnet+gru"} | ALIGNED)
    with steps() as all_steps:
        told, whole = run(own, discs)
    with steps(len(all_steps) * 2 // 3, interrupt) as first:
        assert run(own, discs, tmp_path / "fit")[1] is None
    with steps() as second:
        again, resumed = run(own, discs, tmp_path / "fit")
    same(resumed, whole)
    assert json.dumps(again) == json.dumps(told)
    assert 0 <= len(first) + len(second) - len(all_steps) < len(all_steps) / 3


def crossed(own, dataset, place=None):
    rows = dataset.manifest.split("train", "val")
    return folds.cross_validate(own, dataset, rows, progress=False, place=place)


def killed(work, yaml, dataset, place, stop):
    """What another process does until it is killed."""
    torch.set_num_threads(1)
    with steps(stop, kill):
        work(config.parse(yaml), dataset, place)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "data", "values", "stop"),
    [
        (run, "tiny", EACH | BUSY | {"train.ema": 0.9, "train.augment.mixup": 0.4}, 13),  # of 5 steps an epoch
        (run, "discs", EACH | SMALL | SEQUENCES["transcripts"], 8),  # of 3
        (crossed, "tiny", BUSY | CROSSED, 14),  # of 3 epochs of 3 in the first fold
    ],
)
def test_a_killed_process(work, data, values, stop, tmp_path, request):
    dataset, own = request.getfixturevalue(data), experiment(**values)
    given = (work, own.model_dump(mode="json"), dataset, tmp_path / "fit", stop)
    process = multiprocessing.get_context("spawn").Process(target=killed, args=given)
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    assert list(tmp_path.glob("**/state.pt"))
    with steps() as all_steps:
        whole = work(own, dataset)
    with steps() as left:
        resumed = work(own, dataset, tmp_path / "fit")
    assert len(all_steps) - stop <= len(left) < len(all_steps) - stop + 5
    if work is crossed:
        assert resumed.predictions.probabilities.tobytes() == whole.predictions.probabilities.tobytes()
        for some, others in zip(resumed.fits, whole.fits, strict=True):
            same(some, others)
        assert not list(tmp_path.glob("**/state.pt"))
    else:
        assert json.dumps(resumed[0]) == json.dumps(whole[0])
        same(resumed[1], whole[1])
