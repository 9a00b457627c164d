"""The most confident mistakes, as a sheet of images."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cellml.evaluation import style
from cellml.evaluation.metrics import scorable
from cellml.evaluation.predictions import Predictions

_COLUMNS = 4


def worst(predictions: Predictions, count: int) -> npt.NDArray[np.int64]:
    """Positions of the wrongly classified rows with the highest stated probability, (<= count,), highest first."""
    wrong = np.flatnonzero((predictions.targets >= 0) & (predictions.predicted != predictions.targets))
    order = np.argsort(-predictions.probabilities[wrong].max(axis=1), kind="stable")
    return wrong[order[:count]]


@style.styled
def mistakes(
    predictions: Predictions,
    images: Callable[[npt.NDArray[np.object_]], Sequence[npt.NDArray[np.uint8]]],
    count: int = 24,
) -> Figure:
    """Images that the model was surest of and got wrong: true class, predicted class and its probability, id.

    Args:
        predictions: rows of unknown target are left out.
        images: given ids, the images (H, W, 3) uint8 in that order; called once, with the shown ids only.
        count: at most so many.

    Raises:
        UserError: no row has a known target.
    """
    known = scorable(predictions)
    chosen = worst(known, count)
    if not len(chosen):
        return style.note(f"No mistakes: every image was classified right (n = {len(known):,}).")
    wrong = int((known.predicted != known.targets).sum())
    rows = -(-len(chosen) // _COLUMNS)
    figure = style.figure(height=0.5 + 2.2 * rows)
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    names, ids = style.names(known.classes, 15), style.names([_stem(i) for i in known.ids[chosen]], 22)
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for ax in axes[len(chosen) :]:
        ax.axis("off")
    for ax, row, image, label in zip(axes, chosen, images(known.ids[chosen]), ids, strict=False):
        ax.imshow(image, interpolation="nearest" if max(image.shape[:2]) < 160 else "antialiased")
        true, said = names[known.targets[row]], names[known.predicted[row]]
        height, width = image.shape[:2]
        side = max(height, width)
        ax.set(xlim=((width - side) / 2 - 0.5, (width + side) / 2 - 0.5))
        ax.set(ylim=((height + side) / 2 - 0.5, (height - side) / 2 - 0.5))
        text = f"true: {true}\nsaid: {said}\np = {known.probabilities[row].max():.3f}"
        ax.set_title(text, fontsize=8.5, loc="left", pad=3)
        ax.set_xlabel(label, fontsize=7, color=style.MUTED, loc="left", labelpad=2)
    figure.suptitle(f"The {len(chosen)} most confident of {wrong:,} mistakes in {len(known):,} images", fontsize=11)
    return figure


def _stem(name: object) -> str:
    """The part of an id that tells one image from the next in the same folder."""
    return str(name).rpartition("/")[2].rpartition(".")[0] or str(name)
