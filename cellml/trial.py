"""One trial, the straight way down: fit, predict, evaluate, explain, log."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from cellml import heatmaps, records
from cellml.config import Experiment
from cellml.data.prepare import Dataset
from cellml.errors import UserError
from cellml.evaluation import combine, metrics
from cellml.evaluation.predictions import Predictions
from cellml.models import backbones as networks
from cellml.models import classifier as classifiers
from cellml.models import ensemble as models
from cellml.models import placement, weights
from cellml.models.classifier import Classifier
from cellml.models.ensemble import Ensemble
from cellml.models.temporal import names as sequences
from cellml.sampling import strategies as sampling
from cellml.sequences.decode import Decoder
from cellml.tracking import registry
from cellml.tracking.run import Run
from cellml.training import fit as training
from cellml.training import folds, kept, losses
from cellml.training.predict import predict

OnStep = Callable[[int, float], None]


@dataclass(frozen=True)
class Outcome:
    """What a trial leaves behind.

    Attributes:
        classifier: the trained model; of a cross-validation the ensemble of its folds' networks.
        predictions: by split; `oof` are those of a cross-validation, out of fold.
        judged: which of the predictions choices may rest on: `val` or `oof`.
        score: the monitored metric there; of a cross-validation its mean over the folds.
        deviation: standard deviation of the score over the folds.
        best: which fold's network had the best score.
        singles: by further split, what each fold's network says.
        kept: folder of what the fits had reached, not needed once everything is logged.
    """

    classifier: Classifier | Ensemble
    predictions: dict[str, Predictions]
    judged: str
    score: float
    deviation: float = 0.0
    best: int = 0
    singles: dict[str, list[Predictions]] = field(default_factory=dict)
    kept: Path | None = None


def check(
    experiment: Experiment,
    backbones: Sequence[str] = (),
    strategies: Sequence[str] = (),
    placements: Sequence[str] = (),
) -> None:
    """Refuse misspelt names before any data are read.

    Args:
        experiment: what is to be run.
        backbones: those of a sweep; `model.backbone` otherwise.
        strategies: those of a sweep; `sampling.strategy` otherwise.
        placements: of attention blocks, those of a sweep; `model.attention` otherwise.

    Raises:
        UserError: an unknown backbone, attention block, strategy, loss, explainer, or option of one, with near names.
    """
    if experiment.model.weights not in ("none", "pretrained") and not experiment.model.weights.startswith("models:/"):
        weights.find(experiment.model.weights)
    for backbone in backbones or [experiment.model.backbone]:
        sequences.check(backbone, experiment.model.options)
    for attention in placements or [experiment.model.attention]:
        placement.parse(attention)
    chosen, own = list(strategies) or [experiment.sampling.strategy], experiment.sampling
    for strategy in chosen:
        used = own.options if len(chosen) == 1 else sampling.taken(strategy, own.options, own.recipes)
        sampling.check(strategy, used, own.recipes)
    taken = {name for strategy in chosen for name in sampling.taken(strategy, own.options, own.recipes)}
    if unused := sorted(set(own.options) - taken):
        raise UserError(
            f"Unknown option {unused[0]!r} in sampling.options: none of the strategies {chosen} takes it; correct its "
            "name, or leave it out"
        )
    losses.LOSSES.options(experiment.train.loss, experiment.train.loss_options)
    heatmaps.check(experiment.explain)


def check_classes(experiment: Experiment, classes: Sequence[str], sequences: bool = False) -> None:
    """Refuse metrics and options of losses that a data set's classes do not have, before anything is trained.

    Raises:
        UserError: names the near ones.
    """
    metrics.check(experiment.train.monitor, classes, sequences)
    metrics.check(experiment.compare.metric, classes, sequences)
    losses.build(experiment.train.loss, experiment.train.loss_options, classes)


def run(
    experiment: Experiment,
    dataset: Dataset,
    tracked: Run,
    *,
    splits: Sequence[str] = (),
    on_step: OnStep | None = None,
    progress: bool = True,
) -> Outcome:
    """Fit on the training rows, judge on validation, log everything to one MLflow run.

    With `train.folds` training and validation rows are cross-validated instead: each figure of `val/` is the mean over
    the folds, `_sd` its standard deviation, and the folds' own values are the steps of `fold/`.

    Args:
        experiment: what to do.
        dataset: prepared data.
        tracked: the run that receives metrics and artifacts.
        splits: further splits to predict and log; a trial of a sweep never looks at the test rows.
        on_step: called after each epoch, or fold, with its number and the monitored metric; may raise to stop.
        progress: show a bar.

    Raises:
        UserError: the experiment does not fit the data.
    """
    judge = _cross_validate if experiment.train.folds else _fit
    outcome = judge(experiment, dataset, tracked, on_step, progress)
    for name in splits:
        outcome = _predicted(outcome, name, dataset, experiment.train.device)
    predictions = outcome.predictions
    with tracked.artifacts() as folder:
        models.save(outcome.classifier, folder / "weights")
        (folder / "config.yaml").write_text(experiment.yaml(), encoding="utf-8")
    learned = outcome.classifier.spec.decoder
    decoder = None if learned is None else Decoder.from_dict(learned)
    records.log_predictions(dataset, tracked, predictions, after=experiment.train.epochs, decoder=decoder)
    records.log_way_back(outcome.classifier, dataset, tracked, best=outcome.best, device=experiment.train.device)
    shown = "test" if "test" in predictions else outcome.judged
    if experiment.explain.count:
        _explain(outcome.classifier, experiment, dataset, predictions[shown], tracked)
    if outcome.kept is not None:
        shutil.rmtree(outcome.kept, ignore_errors=True)
    return outcome


def _explain(
    model: Classifier | Ensemble, experiment: Experiment, dataset: Dataset, predicted: Predictions, tracked: Run
) -> None:
    try:
        seen = models.of_images(model)
    except UserError as error:
        records.note(f"no heatmaps: {error}")
        return
    heatmaps.log(seen, dataset, records.rows(dataset.manifest, predicted), predicted, tracked, experiment.explain)


def _predicted(outcome: Outcome, split: str, dataset: Dataset, device: str) -> Outcome:
    """The same with predictions of a further split; an ensemble's are put together from its members'."""
    rows, model = dataset.manifest.split(split), outcome.classifier
    if isinstance(model, Classifier):
        said = predict(model, dataset, rows, device=device)
        return replace(outcome, predictions=outcome.predictions | {split: said})
    singles = [predict(member, dataset, rows, device=device) for member, _ in model.weighted()]
    together = combine.combine(singles, model.spec.weights)
    return replace(
        outcome, predictions=outcome.predictions | {split: together}, singles=outcome.singles | {split: singles}
    )


def _fit(experiment: Experiment, dataset: Dataset, tracked: Run, on_step: OnStep | None, progress: bool) -> Outcome:
    manifest, monitor = dataset.manifest, experiment.train.monitor
    pretrained, compared = starting_point(experiment), reference(experiment)
    place = kept.folder(experiment, dataset, manifest.split("train", "val"), pretrained, compared)

    def epoch_done(epoch: int, record: dict[str, float]) -> None:
        tracked.metrics(records.keyed(record), step=epoch)
        _tell(on_step, epoch, record[f"val/{monitor}"], place)

    fitted = training.fit(
        experiment,
        dataset,
        train=manifest.split("train"),
        validation=manifest.split("val"),
        on_epoch=epoch_done,
        progress=progress,
        pretrained=pretrained,
        reference=compared,
        checkpoint=place,
    )
    assert fitted.validation is not None
    tracked.metrics(
        {"fit_seconds": fitted.seconds, "best_epoch": fitted.best_epoch, "trained_parameters": fitted.trained}
    )
    records.log_fits(tracked, [fitted])
    score = metrics.value(monitor, fitted.validation)
    return Outcome(fitted.classifier, {"val": fitted.validation}, "val", score, kept=place)


def _cross_validate(
    experiment: Experiment, dataset: Dataset, tracked: Run, on_step: OnStep | None, progress: bool
) -> Outcome:
    monitor, rows = experiment.train.monitor, dataset.manifest.split("train", "val")
    values: list[dict[str, float]] = []

    def fold_done(number: int, fitted: training.Fit) -> None:
        assert fitted.validation is not None
        values.append(metrics.compute(fitted.validation))
        record = {f"fold/{name}": value for name, value in values[-1].items()}
        tracked.metrics(records.keyed(record) | {"fold/fit_seconds": fitted.seconds}, step=number)
        if progress:
            Console(stderr=True).print(f"fold {number}: {monitor} {values[-1][monitor]:.4f}", highlight=False)
        _tell(on_step, number, values[-1][monitor], place)

    pretrained, compared = starting_point(experiment), reference(experiment)
    place = kept.folder(experiment, dataset, rows, pretrained, compared)
    done = folds.cross_validate(
        experiment,
        dataset,
        rows,
        on_fold=fold_done,
        progress=progress,
        pretrained=pretrained,
        reference=compared,
        place=place,
    )
    table = pd.DataFrame(values)
    mean, deviation = table.mean().to_dict(), table.std(ddof=1).to_dict()
    record = {f"val/{name}": value for name, value in mean.items()}
    record |= {f"val/{name}_sd": value for name, value in deviation.items()}
    tracked.metrics(records.keyed(record))
    records.log_fits(tracked, done.fits)
    with tracked.artifacts() as folder:
        table.insert(0, "fold", range(1, len(table) + 1))
        table.to_csv(folder / "folds.csv", index=False)
    judged = [fitted.validation for fitted in done.fits if fitted.validation is not None]
    weights = combine.RULES[experiment.train.ensemble](judged, monitor)
    members, shares = [fitted.classifier for fitted in done.fits], (weights / weights.sum()).tolist()
    ensemble = Ensemble(members, shares, strategy=experiment.sampling.strategy, digest=rows.digest)
    sign = 1 if metrics.higher_is_better(monitor) else -1
    counted = np.flatnonzero(weights)  # an ensemble leaves out what weighs nothing
    best = int((sign * table[monitor].to_numpy()[counted]).argmax())
    return Outcome(ensemble, {"oof": done.predictions}, "oof", mean[monitor], deviation[monitor], best, kept=place)


def _tell(on_step: OnStep | None, step: int, value: float, place: Path) -> None:
    if on_step is None:
        return
    try:
        on_step(step, value)
    except UserError:
        raise
    except Exception:  # told to stop: there is nothing to continue
        shutil.rmtree(place, ignore_errors=True)
        raise


def starting_point(experiment: Experiment) -> models.Classifier | None:
    """The registered model that `model.weights` names, or None where it names none.

    The last layer of pretrained weights, a probe, becomes zero: a training starts from even probabilities, not from
    what was fitted to a network that it is about to change.

    Raises:
        UserError: no such model, or one without `weights/`.
    """
    weights = experiment.model.weights
    if not weights.startswith("models:/"):
        return None
    model = classifiers.load(registry.weights_folder(weights))
    if registry.PRETRAINED in registry.resolve(weights).tags:
        for _, layer in networks.last_layers(model.net):
            layer.load_state_dict({name: 0 * tensor for name, tensor in layer.state_dict().items()})
    return model


def reference(experiment: Experiment) -> Classifier | None:
    """The registered model in whose embeddings strategies look for neighbours, or None: see `sampling.embeddings`.

    Raises:
        UserError: no such model, or one without `weights/`.
    """
    uri = experiment.sampling.embeddings
    return classifiers.load(registry.weights_folder(uri)) if uri.startswith("models:/") else None
