"""From a finished study to registered models: the best trial of every cell, and the champions among them."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace

import optuna
from optuna.trial import FrozenTrial

from cellml import trial as trials
from cellml.config import Experiment
from cellml.data.prepare import Dataset
from cellml.errors import UserError
from cellml.evaluation import thresholds
from cellml.evaluation.predictions import Predictions
from cellml.models import ensemble as models
from cellml.models.classifier import Classifier
from cellml.models.ensemble import Ensemble
from cellml.sweep import objective, space
from cellml.sweep import study as studies
from cellml.tracking import export, names, registry, runs
from cellml.tracking.run import Run
from cellml.training import fit as training
from cellml.training import kept

Say = Callable[[str], None]
Cell = tuple[str, str]
REFIT_OF = "cellml.refit_of"
SOURCE = "cellml.source"  # the logged model that stands under a second name


@dataclass(frozen=True)
class Version:
    """A version of a registered model, and the logged model behind it."""

    name: str
    version: str
    source: str

    @property
    def uri(self) -> str:
        """`models:/name/version`."""
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True)
class Registered:
    """What a sweep put into the registry: the URI of the best of all, and a version a cell."""

    champion: str
    versions: dict[Cell, Version]


def register(
    experiment: Experiment, dataset: Dataset, study: optuna.Study, parent: Run, say: Say, progress: bool = True
) -> Registered:
    """Register the best trial of each backbone x strategy cell and set the champions, chosen by validation alone.

    `<experiment>.<backbone>` gets a version a cell, its alias `champion` is the backbone's best; `<experiment>` gets
    the best of all. With `train.refit` the best of all is first fitted once more on training and validation rows
    together. With `sweep.versions: all` every other complete trial becomes a version, too, so that seeds can be
    compared. What an earlier command registered is not registered again.

    Raises:
        UserError: no trial is complete.
    """
    best = studies.best_of_cells(study, experiment)
    if not best:
        raise UserError("Expected at least one complete trial to register, found none; the trials' runs say why")
    versions: dict[Cell, Version] = {}
    for (backbone, strategy), trial in best.items():
        versions[backbone, strategy] = _register_trial(experiment, dataset, trial)
        uri = versions[backbone, strategy].uri
        say(f"{uri}: {backbone} x {strategy}, validation {experiment.train.monitor} {trial.value:.4f}")
    first = {backbone: _first(study, best, backbone) for backbone in dict.fromkeys(b for b, _ in best)}
    overall = _first(study, best)
    if experiment.sweep.versions == "all":
        kept = {trial.number for trial in best.values()}
        others = [trial for trial in studies.complete(study) if trial.number not in kept]
        for trial in others:
            _register_trial(experiment, dataset, trial)
        say(f"{len(others)} other trials registered, too")
    if experiment.train.refit:
        say(f"refitting the best, {overall[0]} x {overall[1]}, on training and validation rows together")
        versions[overall] = _register_refit(experiment, dataset, study, best[overall], parent, progress)
    for cell in first.values():
        registry.set_alias(versions[cell].name, registry.CHAMPION, versions[cell].version)
    champion = _promote(experiment, versions[overall], _tags(experiment, best[overall]))
    parent.tags({"cellml.champion": champion})
    return Registered(champion, versions)


def log_model(
    experiment: Experiment,
    dataset: Dataset,
    model: Classifier | Ensemble,
    validation: Predictions,
    tracked: Run,
) -> str:
    """Export a model to one run so that it needs only mlflow and torch; returns its URI.

    Its operating thresholds are fitted on the validation predictions.
    """
    fitted = thresholds.operating_threshold(validation)
    known = {
        "experiment": experiment.name,
        "strategy": experiment.sampling.strategy,
        "window": dataset.manifest.window,
    }
    if isinstance(model, Ensemble):
        model = models.with_thresholds(model, fitted)
    else:
        model = type(model)(replace(model.spec, thresholds=fitted), model.net)
    return export.log_classifier(tracked, model, export.example_of(dataset), known)


def refit(experiment: Experiment, dataset: Dataset, tracked: Run, progress: bool) -> training.Fit:
    """Fit on training and validation rows together, for all epochs; logs the loss curve and the weights."""
    rows = dataset.manifest.split("train", "val")
    pretrained, reference = trials.starting_point(experiment), trials.reference(experiment)
    place = kept.folder(experiment, dataset, rows, pretrained, reference)
    fitted = training.fit(
        experiment,
        dataset,
        train=rows,
        validation=None,
        on_epoch=lambda epoch, record: tracked.metrics(record, step=epoch),
        progress=progress,
        pretrained=pretrained,
        reference=reference,
        checkpoint=place / "refit",
    )
    export.log_weights(tracked, fitted.classifier)
    shutil.rmtree(place, ignore_errors=True)
    return fitted


def _register_trial(experiment: Experiment, dataset: Dataset, trial: FrozenTrial) -> Version:
    name = names.model_name(experiment.name, trial.params[space.BACKBONE])
    run_id = trial.user_attrs["run_id"]
    known = registry.versions(name, {"cellml.run_id": run_id})
    if known:
        return _version(known[0])
    tracked = runs.existing(run_id)
    with tempfile.TemporaryDirectory(prefix="cellml-") as folder:
        classifier = models.load(tracked.download(export.WEIGHTS, folder))
        validation = _validation(tracked, folder)
    own = _experiment_of(experiment, trial)
    uri = log_model(own, dataset, classifier, validation, tracked)
    tags = _tags(experiment, trial) | {"cellml.run_id": run_id}
    return _put(uri, name, tags, once="cellml.run_id")


def _register_refit(
    experiment: Experiment, dataset: Dataset, study: optuna.Study, trial: FrozenTrial, parent: Run, progress: bool
) -> Version:
    own, source = _experiment_of(experiment, trial), trial.user_attrs["run_id"]
    name = names.model_name(experiment.name, own.model.backbone)
    known = registry.versions(name, {REFIT_OF: source})
    if known:
        return _version(known[0])
    tags = _tags(experiment, trial) | {REFIT_OF: source}
    described = {"cellml.kind": "refit", "cellml.study": study.study_name}
    title = f"refit {own.model.backbone} {own.sampling.strategy}"
    with runs.child(parent, title, objective.parameters(own, experiment), tags | described) as tracked:
        fitted = refit(own, dataset, tracked, progress)
        with tempfile.TemporaryDirectory(prefix="cellml-") as folder:
            validation = _validation(runs.existing(source), folder)
        uri = log_model(own, dataset, fitted.classifier, validation, tracked)
        return _put(uri, name, tags | {"cellml.run_id": tracked.id}, once=REFIT_OF)


def _put(model: str, name: str, tags: dict[str, str], once: str) -> Version:
    version = registry.register(model, name, tags, once=once)
    return _version(registry.resolve(f"models:/{name}/{version}"))


def _version(entry: registry.Entry) -> Version:
    return Version(entry.name, entry.version, entry.source)


def _promote(experiment: Experiment, best: Version, tags: dict[str, str]) -> str:
    """Make the best of all the champion of `<experiment>`, the same logged model under a second name."""
    name = names.model_name(experiment.name)
    known = registry.versions(name, {SOURCE: best.source})
    version = _version(known[0]) if known else _put(best.source, name, tags | {SOURCE: best.source}, once=SOURCE)
    registry.set_alias(name, registry.CHAMPION, version.version)
    return f"models:/{name}@{registry.CHAMPION}"


def _experiment_of(experiment: Experiment, trial: FrozenTrial) -> Experiment:
    fixed = optuna.trial.FixedTrial(trial.params)
    fixed.set_user_attr("repeat", trial.user_attrs.get("repeat", 0))
    return space.suggest(fixed, experiment)


def _validation(tracked: Run, folder: str) -> Predictions:
    """What choices rest on: predictions of the validation rows, or out of fold."""
    kept = tracked.artifact_names("predictions")
    name = "oof" if "predictions/oof.parquet" in kept else "val"
    return Predictions.load(tracked.download(f"predictions/{name}.parquet", folder))


def _first(study: optuna.Study, best: dict[Cell, FrozenTrial], backbone: str | None = None) -> Cell:
    own = {trial.number: cell for cell, trial in best.items() if backbone in (None, cell[0])}
    trials = [best[cell] for cell in own.values()]
    return own[studies.best_first(trials, study)[0].number]


def _tags(experiment: Experiment, trial: FrozenTrial) -> dict[str, str]:
    backbone, strategy = trial.params[space.BACKBONE], trial.params[space.STRATEGY]
    return {
        registry.EXPERIMENT: experiment.name,
        registry.BACKBONE: backbone,
        registry.STRATEGY: strategy,
        "cellml.cell": f"{backbone} x {strategy}",
        "cellml.monitor": experiment.train.monitor,
        "cellml.validation_score": f"{trial.value:.6f}",
    }
