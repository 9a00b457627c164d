"""What a trial has reached, kept in the cache until it is done: an interrupted one continues."""

import json
import logging
import shutil
import time
import uuid
from pathlib import Path

import numpy as np

from cellml.config import Experiment
from cellml.data.cache import publish
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.evaluation.predictions import Predictions
from cellml.models import ensemble as models
from cellml.models.classifier import Classifier
from cellml.training.fit import Fit
from cellml.training.identity import key

_log = logging.getLogger(__name__)
STALE_SECONDS = 14 * 86_400.0  # what was left for so long is not gone on with
_PLAIN = ("history", "best_epoch", "seconds", "trained", "counts")


def folder(experiment: Experiment, dataset: Dataset, rows: Manifest, *starts: Classifier | None) -> Path:
    """Where the fits of a trial are kept: another place for whatever would change them.

    What lies beside it, and was not touched for some days, is removed.

    Args:
        experiment: what to train and how.
        dataset: the images behind the rows.
        rows: to fit to, to judge by, or to divide.
        starts: networks that the fits start from, or look for neighbours with.
    """
    cache = dataset.pixels.folder.parents[1]  # not beside the pixels: another machine's images may have another path
    place = cache / "fits" / key(experiment, [rows], starts)[:32]
    _tidy(place)
    return place


def save(fitted: Fit, path: Path) -> None:
    """Keep one fit in a folder that appears whole or not at all; where it cannot be written, that is said."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        _write(fitted, part)
        publish(part, path)
    except OSError as error:
        _log.warning("no fit could be kept in %s, the training goes on: %s", path, error)
        shutil.rmtree(part, ignore_errors=True)


def load(path: Path) -> Fit | None:
    """What `save` kept, or None where nothing is, or nothing that can be read."""
    if not path.is_dir():
        return None
    try:
        return _read(path)
    except Exception as error:  # whatever a damaged file raises
        _log.warning("the fit kept in %s cannot be read, it is done anew: %s", path, " ".join(str(error).split()))
        shutil.rmtree(path, ignore_errors=True)
        return None


def _write(fitted: Fit, part: Path) -> None:
    models.save(fitted.classifier, part / "weights")
    if fitted.validation is not None:
        fitted.validation.save(part / "validation.parquet")
    plain = {name: getattr(fitted, name) for name in _PLAIN}
    plain |= {"notes": list(fitted.notes), "synthetic": [text for text, _ in fitted.synthetic]}
    (part / "fit.json").write_text(json.dumps(plain), encoding="utf-8")
    strips = {f"{k}.{j}": image for k, (_, images) in enumerate(fitted.synthetic) for j, image in enumerate(images)}
    np.savez(part / "synthetic.npz", allow_pickle=False, **strips)


def _read(path: Path) -> Fit:
    plain = json.loads((path / "fit.json").read_text(encoding="utf-8"))
    notes, texts = tuple(plain.pop("notes")), plain.pop("synthetic")
    with np.load(path / "synthetic.npz", allow_pickle=False) as strips:
        images = [[strips[key] for key in strips.files if key.startswith(f"{k}.")] for k in range(len(texts))]
    judged, classifier = path / "validation.parquet", models.load(path / "weights")
    assert isinstance(classifier, Classifier)
    return Fit(
        classifier=classifier.eval(),
        validation=Predictions.load(judged) if judged.exists() else None,
        notes=notes,
        synthetic=list(zip(texts, images, strict=True)),
        **plain,
    )


def _tidy(place: Path) -> None:
    for other in place.parent.glob("*"):
        try:
            touched = max(one.stat().st_mtime for one in (other, *other.iterdir()))
        except OSError:  # gone meanwhile, or another process has just begun it
            continue
        if other != place and time.time() - touched > STALE_SECONDS:
            shutil.rmtree(other, ignore_errors=True)
