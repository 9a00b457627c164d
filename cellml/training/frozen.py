"""Fitting the last layer alone, on embeddings that are computed once and kept."""

import numpy as np
import numpy.typing as npt
import torch

from cellml.errors import UserError
from cellml.evaluation import metrics
from cellml.models import embeddings, head
from cellml.models.classifier import Classifier
from cellml.training import arrays, losses, synthesis
from cellml.training.job import Job, Outcome, initial
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
    model = initial(job.experiment, job.train, job.prepared(job.train), job.pretrained)
    spec = model.spec
    model.to(job.device).eval()
    with Bar(f"{spec.backbone} embeddings", 1, len(job.dataset.manifest), job.progress) as bar:
        found = embeddings.embed(
            model,
            job.prepared(job.dataset.manifest),
            digest=job.dataset.manifest.digest,
            cache_dir=job.dataset.pixels.folder / "embeddings",
            on_batch=bar.reach,
        )
    sample = job.sample
    wanted = losses.smooth(torch.from_numpy(sample.targets(job.rows)).float(), settings.label_smoothing).numpy()
    weights = sample.weights if sample.draw is None else sample.weights * sample.draw * len(sample)
    seen = sample.features(found[job.dataset.manifest.positions(job.train)])
    places, images = synthesis.changed(job.prepared(job.train), sample)
    if len(places):
        seen[places] = _embedded(model, images, job.device)
    fitted = head.fit(seen, wanted, len(spec.classes), weights=weights, l2=settings.weight_decay)
    model.to("cpu")
    head.put(model.net, fitted, spec.channels, spec.size)
    train_loss = _loss(fitted.probabilities(seen), wanted, weights)
    return _judged(job, model, fitted, found, train_loss)


def _embedded(model: Classifier, images: npt.NDArray, on: torch.device, batch: int = 64) -> npt.NDArray[np.float32]:
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            raw = torch.from_numpy(images[start : start + batch]).to(on).float().permute(0, 3, 1, 2)
            parts.append(model.embed(raw).float().cpu().numpy())
    return np.concatenate(parts)


def _judged(job: Job, model: Classifier, fitted: head.Head, found: npt.NDArray, train_loss: float) -> Outcome:
    record, answer = {"train/loss": train_loss}, None
    if job.validation is not None:
        if model.spec.tta == "none":
            said = torch.from_numpy(fitted.probabilities(found[job.dataset.manifest.positions(job.validation)]))
        else:
            judged = arrays.load(job.prepared(job.validation), job.labels(job.validation), job.device)
            said = probabilities(model, judged, job.device)
        answer = job.answer(said)
        record["val/loss"] = _loss(said.double().numpy(), job.labels(job.validation).numpy())
        record |= {f"val/{name}": value for name, value in metrics.compute(answer).items()}
    if job.on_epoch is not None:
        job.on_epoch(1, dict(record))
    return Outcome(model, [record], 1, answer, fitted.weight.size + fitted.bias.size)


def _loss(said: npt.NDArray, wanted: npt.NDArray, weights: npt.NDArray | None = None) -> float:
    values = -(wanted * np.log(np.clip(said, np.finfo(np.float64).tiny, 1))).sum(1)
    return float(np.average(values, weights=weights))
