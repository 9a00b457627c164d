"""Fitting the last layer alone, on embeddings that are computed once and kept."""

import numpy as np
import numpy.typing as npt
import torch

from cellml.data.manifest import Manifest
from cellml.errors import UserError
from cellml.evaluation import metrics
from cellml.models import embeddings, head
from cellml.models.classifier import Classifier
from cellml.training import arrays, losses
from cellml.training.finetune import build
from cellml.training.job import Job, Outcome, describe
from cellml.training.progress import Bar
from cellml.training.score import probabilities


def frozen(job: Job) -> Outcome:
    """Fit a linear head (see `cellml.models.head.fit`), `train.weight_decay` being its penalty, without augmentation.

    The history has one record. The embeddings are those of all images of the data set, so that strategies, folds and
    a refit find them computed.

    Raises:
        UserError: a loss that this way of fitting does not have, or a backbone or weights that do not fit.
    """
    settings = job.experiment.train
    if settings.loss != "cross_entropy":
        raise UserError(
            f"Expected train.loss cross_entropy with model.mode frozen, got {settings.loss!r}; set one or the other"
        )
    spec = describe(job, job.prepared(job.train))
    model = build(job, spec)
    model.to(job.device).eval()
    with Bar(f"{spec.backbone} embeddings", 1, len(job.dataset.manifest), job.progress) as bar:
        found = embeddings.embed(
            model,
            job.prepared(job.dataset.manifest),
            digest=job.dataset.manifest.digest,
            cache_dir=job.dataset.pixels.folder / "embeddings",
            on_batch=bar.reach,
        )
    model.to("cpu")
    wanted = losses.smooth(arrays.labels(job.train), settings.label_smoothing).numpy()
    sample = job.sample
    weights = sample.weights if sample.draw is None else sample.weights * sample.draw * len(sample)
    seen = found[_positions(job, job.train)]
    fitted = head.fit(
        seen[sample.rows], wanted[sample.rows], len(spec.classes), weights=weights, l2=settings.weight_decay
    )
    head.put(model.net, fitted, spec.channels, spec.size)
    train_loss = _loss(fitted.probabilities(seen[sample.rows]), wanted[sample.rows], weights)
    return _judged(job, model, fitted, found, train_loss)


def _judged(job: Job, model: Classifier, fitted: head.Head, found: npt.NDArray, train_loss: float) -> Outcome:
    record, answer = {"train/loss": train_loss}, None
    if job.validation is not None:
        if model.spec.tta == "none":
            said = torch.from_numpy(fitted.probabilities(found[_positions(job, job.validation)]))
        else:
            judged = arrays.load(job.prepared(job.validation), job.validation, job.device)
            said = probabilities(model, judged, job.device)
        answer = job.answer(said)
        record["val/loss"] = _loss(said.double().numpy(), arrays.labels(job.validation).numpy())
        record |= {f"val/{name}": value for name, value in metrics.compute(answer).items()}
    if job.on_epoch is not None:
        job.on_epoch(1, dict(record))
    return Outcome(model, [record], 1, answer)


def _positions(job: Job, manifest: Manifest) -> npt.NDArray[np.int64]:
    rows = job.dataset.manifest.rows
    order = np.argsort(rows)
    return order[np.searchsorted(rows, manifest.rows, sorter=order)]


def _loss(said: npt.NDArray, wanted: npt.NDArray, weights: npt.NDArray | None = None) -> float:
    values = -(wanted * np.log(np.clip(said, np.finfo(np.float64).tiny, 1))).sum(1)
    return float(np.average(values, weights=weights))
