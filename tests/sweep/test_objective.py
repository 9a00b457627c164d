"""What a trial tells Optuna on its way."""

from contextlib import nullcontext
from types import SimpleNamespace

import optuna
import pytest

from cellml import config
from cellml.errors import UserError
from cellml.models import backbones, classifier
from cellml.models.classifier import Spec
from cellml.sweep import objective, queue, space, study
from cellml.training import adapt


class Recorded:
    id = "r"

    def metrics(self, values):
        self.logged = values


def trial_of(tmp_path, pruner, **train):
    experiment = config.parse({"name": "x", "sweep": {"mode": "best", "pruner": pruner}, "train": train})
    opened = study.open_study(f"sqlite:///{tmp_path / 'optuna.db'}", "s", experiment, maximize=True)
    return experiment, opened, opened.ask()


def reported(trial):
    return trial.study.get_trials()[trial.number].intermediate_values


def test_folds_are_pruned_on_their_running_mean(tmp_path):
    experiment, opened, trial = trial_of(tmp_path, "median", folds=3)
    assert isinstance(opened.pruner, optuna.pruners.MedianPruner)
    report = objective._reporter(trial, experiment)
    for fold, value in enumerate([0.5, 0.7, 0.3], start=1):
        report(fold, value)
    assert reported(trial) == pytest.approx({1: 0.5, 2: 0.6, 3: 0.5})


def test_epochs_are_reported_as_they_are(tmp_path):
    experiment, _, trial = trial_of(tmp_path, "percentile")
    report = objective._reporter(trial, experiment)
    for epoch, value in enumerate([0.5, 0.7], start=1):
        report(epoch, value)
    assert reported(trial) == {1: 0.5, 2: 0.7}


def test_wilcoxon_compares_single_folds_and_wants_ten(tmp_path):
    experiment, opened, trial = trial_of(tmp_path, "wilcoxon", folds=5, repeats=2)
    assert isinstance(opened.pruner, optuna.pruners.WilcoxonPruner)
    report = objective._reporter(trial, experiment)
    report(1, 0.5)
    report(2, 0.7)
    assert reported(trial) == {1: 0.5, 2: 0.7}
    with pytest.raises(UserError, match=r"wilcoxon needs 10 folds or more, got 5"):
        trial_of(tmp_path, "wilcoxon", folds=5)
    with pytest.raises(UserError, match=r"hyperband counts epochs"):
        trial_of(tmp_path, "hyperband", folds=5)


def test_a_trial_that_falls_behind_is_pruned_after_its_second_fold(tmp_path):
    experiment, opened, _ = trial_of(tmp_path, "median", folds=3)
    for _ in range(5):
        trial = opened.ask()
        report = objective._reporter(trial, experiment)
        for fold in (1, 2, 3):
            report(fold, 0.8)
        opened.tell(trial, 0.8)
    report = objective._reporter(opened.ask(), experiment)
    report(1, 0.2)
    with pytest.raises(objective.Pruned):
        report(2, 0.2)


def test_rank_never_prunes(tmp_path):
    experiment = config.parse({"name": "x", "sweep": {"mode": "rank"}, "train": {"folds": 3}})
    _, opened, _ = trial_of(tmp_path, "median", folds=3)
    for value in [0.8] * 6 + [0.1]:
        trial = opened.ask()
        report = objective._reporter(trial, experiment)
        for fold in (1, 2, 3):
            report(fold, value)
        opened.tell(trial, value)
    assert reported(trial) == pytest.approx({1: 0.1, 2: 0.1, 3: 0.1})


def test_a_place_that_a_backbone_does_not_have_fails_its_trial_alone(tmp_path, monkeypatch):
    def build(own, *_, **__):
        backbones.create(own.model.backbone, channels=1, num_classes=2, size=32, attention=own.model.attention)
        return SimpleNamespace(score=0.5)

    called = []
    monkeypatch.setattr(objective.runs, "child", lambda *a: called.append(a[1]) or nullcontext(Recorded()))
    monkeypatch.setattr(objective.trials, "run", build)
    sweep = {
        "trials": 6,
        "backbones": ["test_vit", "test_resnet"],
        "space": {"model.attention": ["none", "se@2", "eca@9"]},
    }
    experiment = config.parse({"name": "x", "sweep": sweep})
    opened = study.open_study(f"sqlite:///{tmp_path / 'optuna.db'}", "s", experiment, maximize=True)
    planned = space.plan(experiment, 6)
    queue.enqueue(opened, planned)
    while objective.run_one(opened, planned, experiment, None, None, progress=False) is not None:
        pass
    ended = {(t.params["model.backbone"], t.params["model.attention"]): t for t in queue.finished(opened, planned)}
    failed = {cell: t.user_attrs["reason"] for cell, t in ended.items() if t.state.name == "FAIL"}
    assert set(failed) == {("test_vit", "se@2"), ("test_vit", "eca@9"), ("test_resnet", "eca@9")}
    assert (
        "UserError: Expected a place that the backbone has in model.attention, got 'eca@9'"
        in failed["test_resnet", "eca@9"]
    )
    assert len(ended) == 6
    assert "000 test_vit none" in called
    assert any(name.endswith("test_resnet none se@2") for name in called)


def test_modes_are_swept_and_one_that_a_backbone_does_not_have_fails_its_trial_alone(tmp_path, monkeypatch):
    def build(own, *_, **__):
        name = own.model.backbone
        made = Spec(name, ("a", "b"), 3, "uint8", 32, None, (0.0,) * 3, (1.0,) * 3, (0.0,) * 3, (1.0,) * 3)
        with adapt.adapted(classifier.build(made), own.model):
            return SimpleNamespace(score=0.5)

    called = []
    monkeypatch.setattr(objective.runs, "child", lambda *a: called.append(a[1]) or nullcontext(Recorded()))
    monkeypatch.setattr(objective.trials, "run", build)
    sweep = {
        "backbones": ["test_vit", "test_resnet"],
        "space": {"model.mode": ["finetune", "lora", "last_stage"], "model.lora.rank": [4]},
    }
    experiment = config.parse({"name": "x", "model": {"lora": {"targets": ["qkv"]}}, "sweep": sweep})
    opened = study.open_study(f"sqlite:///{tmp_path / 'optuna.db'}", "s", experiment, maximize=True)
    planned = space.plan(experiment, 6)
    queue.enqueue(opened, planned)
    while objective.run_one(opened, planned, experiment, None, None, progress=False) is not None:
        pass
    failed = [t for t in queue.finished(opened, planned) if t.state.name == "FAIL"]
    assert [(t.params["model.backbone"], t.params["model.mode"]) for t in failed] == [("test_resnet", "lora")]
    assert "model.lora.targets, 'qkv' matches none of 'test_resnet'" in failed[0].user_attrs["reason"]
    assert {name.rpartition(" ")[2] for name in called} == {"finetune", "lora", "last_stage"}
