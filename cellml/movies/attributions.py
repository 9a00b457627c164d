"""Attributions as colours to lay over the cells of a movie."""

import numpy as np
import numpy.typing as npt
import torch

from cellml.errors import UserError
from cellml.explain import base, panels
from cellml.models.classifier import Classifier, SequenceClassifier
from cellml.movies.crops import Show
from cellml.sequences.overlay.render import Heat

BATCH = 32
SIDE = 48  # pixels of a map that is kept


def check(method: str, model: object) -> None:
    """Refuse what no maps can be made of.

    Raises:
        UserError: an unknown method, or a model that is not a single classifier of images.
    """
    base.EXPLAINERS[method]
    if not isinstance(model, Classifier) or isinstance(model, SequenceClassifier):
        kind = "a sequence model" if isinstance(model, SequenceClassifier) else "another model"
        raise UserError(f"Expected a single classifier of images for attribution, got {kind}; leave attribution out")


def heat(method: str, model: object, windows: npt.NDArray, stages: npt.NDArray[np.int64], show: Show) -> Heat:
    """Maps of every cell for the stage that is shown: green speaks for it, red against it, all on one scale.

    Args:
        method: a member of `EXPLAINERS`.
        model: a single classifier.
        windows: (N, H, W, C).
        stages: (N,) class index to explain.
        show: progress.

    Raises:
        UserError: an unknown method, one that fails, or a model that is not a single classifier of images.
    """
    check(method, model)
    assert isinstance(model, Classifier)
    maps = np.zeros((len(windows), SIDE, SIDE), dtype=np.float32)
    for start in show(range(0, len(windows), BATCH), method):
        some = slice(start, start + BATCH)
        prepared = model.prepare(torch.from_numpy(np.array(windows[some])))
        found = base.explain(method, model, prepared, stages[some])
        maps[some] = [panels.resized(one, (SIDE, SIDE)) for one in found.maps]
    scale = panels.scale_of(maps)
    return lambda row: panels.colored(maps[row], scale)
