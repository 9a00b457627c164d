"""Registered models as one: weighted on the validation rows, exported, registered beside the models it is made of."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml import heatmaps, records
from cellml.config import Experiment
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.errors import UserError
from cellml.evaluation import combine, metrics, thresholds
from cellml.evaluation.predictions import Predictions
from cellml.models import ensemble as models
from cellml.models.classifier import Classifier
from cellml.models.ensemble import Ensemble
from cellml.tracking import export, names, registry
from cellml.tracking.run import Run
from cellml.training.predict import predict

Say = Callable[[str], None]
Member = Classifier | Ensemble


def entries(experiment: Experiment, uris: str) -> list[registry.Entry]:
    """The registered models that an ensemble is to be made of, each once.

    Args:
        experiment: whose champions are meant where no models are named.
        uris: `models:/` URIs separated by commas; empty: the champion of each backbone.

    Raises:
        UserError: no such model, or fewer than two different ones.
    """
    if uris and "models:/" not in uris:
        raise UserError(f"Expected models as models:/ URIs separated by commas, got {uris!r}")
    found = registry.entries(experiment.name, uris or "champions")
    if not uris:
        found = [entry for entry in found if entry.backbone != models.BACKBONE]
    unique = list({entry.source: entry for entry in reversed(found)}.values())[::-1]
    if len(unique) < 2:
        raise UserError(
            f"Expected at least two different models for an ensemble, got {[entry.uri for entry in unique]}; "
            "name them with -P models=models:/A/1,models:/B/1"
        )
    return unique


def run(
    experiment: Experiment, dataset: Dataset, tracked: Run, chosen: Sequence[registry.Entry], rule: str, say: Say
) -> str:
    """Weigh registered models by their validation predictions, and register the ensemble that they make.

    Logs to the run: `ensemble/weights.csv` (each model's validation score, its weight and what a reader must know of
    it), the ensemble's validation metrics beside the majority baseline's, figures, heatmaps and `weights/`.

    Args:
        experiment: its `train.monitor` is what the greedy rule improves, and what scores the ensemble.
        dataset: prepared data; its validation rows alone decide.
        tracked: the run that receives it all.
        chosen: at least two models, see `entries`.
        rule: a member of `combine.RULES`.
        say: prints a line.

    Returns:
        `models:/<experiment>.ensemble/VERSION`.

    Raises:
        UserError: an unknown rule, models of different classes, channels or dtype or without weights, or one that does
            not fit the data.
    """
    monitor, rows = experiment.train.monitor, dataset.manifest.split("val")
    members = [models.load(registry.weights_folder(entry.uri)) for entry in chosen]
    models.check(members, [entry.uri for entry in chosen])
    device = experiment.train.device
    answers = [predict(member, dataset, rows, device=device, progress=True) for member in members]
    weights = combine.weigh(rule, answers, monitor)
    together = combine.combine(answers, weights)
    scores = [metrics.value(monitor, answer) for answer in answers]
    digests = _digests(dataset.manifest)
    notes = [_note(member, *digests) for member in members]
    for entry, score, weight, note in zip(chosen, scores, weights, notes, strict=True):
        say(f"{entry.uri}: validation {monitor} {score:.4f}, weight {weight:.3f}{f'; {note}' if note else ''}")
    if (weights > 0).sum() == 1:
        say(f"note: {rule} takes one model alone; on the validation rows no second one makes it better")
    table = pd.DataFrame(
        {
            "model": [entry.uri for entry in chosen],
            "backbone": [entry.backbone for entry in chosen],
            "strategy": [entry.strategy for entry in chosen],
            monitor: scores,
            "weight": weights,
            "warning": notes,
        }
    )
    with tracked.artifacts() as folder:
        (folder / "ensemble").mkdir()
        table.to_csv(folder / "ensemble" / "weights.csv", index=False)
    records.log_predictions(dataset, tracked, {"val": together})
    if experiment.explain.count:
        heatmaps.log(Ensemble(members, weights.tolist()), dataset, rows, together, tracked, experiment.explain)
    return register(experiment, dataset, members, weights, together, tracked, rule)


def register(
    experiment: Experiment,
    dataset: Dataset,
    members: Sequence[Member],
    weights: npt.ArrayLike,
    validation: Predictions,
    tracked: Run,
    rule: str,
) -> str:
    """Export an ensemble and register it as a version of `<experiment>.ensemble`.

    The alias `champion` goes to the version with the best validation score among those judged by the same metric on
    the same data.

    Args:
        experiment: whose name and `train.monitor` the version carries.
        dataset: two of its training images become the stored example.
        members: M classifiers.
        weights: (M,), none negative, summing to 1.
        validation: the ensemble's predictions of rows that none of its members was trained on; they give its operating
            thresholds and its score.
        tracked: a run without `weights/`, which it receives.
        rule: what gave the weights; takes the place of a strategy.

    Returns:
        `models:/<experiment>.ensemble/VERSION`.

    Raises:
        UserError: members of different classes, channels or dtype, or that cannot be exported.
    """
    ensemble = Ensemble(
        members,
        np.asarray(weights, dtype=np.float64).tolist(),
        strategy=rule,
        thresholds=thresholds.operating_threshold(validation),
        digest=_widest(members, dataset.manifest),
    )
    uri = export.log_classifier(tracked, ensemble, export.example_of(dataset), {"experiment": experiment.name})
    monitor, name = experiment.train.monitor, names.model_name(experiment.name, models.BACKBONE)
    tags = {
        registry.EXPERIMENT: experiment.name,
        registry.BACKBONE: models.BACKBONE,
        registry.STRATEGY: rule,
        registry.MONITOR: monitor,
        registry.SCORE: f"{metrics.value(monitor, validation):.6f}",
        registry.DATA: dataset.manifest.digest,
        "cellml.run_id": tracked.id,
    }
    version = registry.register(uri, name, tags)
    registry.set_alias(name, registry.CHAMPION, registry.best(name, tags))
    return f"models:/{name}/{version}"


def _digests(manifest: Manifest) -> tuple[str, str, str]:
    """Digests of the rows that a model of this data set can have been trained on, fewest first."""
    return manifest.split("train").digest, manifest.split("train", "val").digest, manifest.digest


def _widest(members: Sequence[Member], manifest: Manifest) -> str:
    """The digest of all that the members saw, "" where one of them saw something else."""
    known = _digests(manifest)
    digests = {member.spec.digest for member in members}
    return known[max(known.index(digest) for digest in digests)] if digests <= set(known) else ""


def _note(member: Member, train: str, with_validation: str, everything: str) -> str:
    """What speaks against weighing a model by this data set's validation rows, whose digests are given."""
    digest = member.spec.digest
    if digest == train:
        return ""
    if digest in (with_validation, everything):
        return "trained on the validation rows too, so that its validation score is too good"
    return (
        f"trained on other rows than this experiment's training rows (digest {digest[:8] or 'unknown'}), whether it "
        "has seen validation or test images cannot be told"
    )
