"""What a network makes of images on the way to their embeddings and back."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cellml.data.display import PERCENTILES, to_rgb
from cellml.evaluation import style

CHANNELS = 4  # up to so many have a difference each, more have one together
_SIGNED = "RdBu_r"


@style.styled
def sheet(
    images: npt.NDArray, made: npt.NDArray, labels: Sequence[str], *, title: str, channels: Sequence[str] = ()
) -> Figure:
    """A row an image: the image, what was made of it, and the signed difference of each channel.

    All images of a column have one scale. With more than four channels one column shows the root of the mean squared
    difference over them.

    Args:
        images: (N, H, W, C) raw pixel values.
        made: the same shape.
        labels: (N,) names of the classes, "" where unknown.
        title: what stands above all.
        channels: (C,) names; default: channel 0, ...

    Raises:
        ValueError: no images, or shapes that differ.
    """
    if not len(images) or images.shape != made.shape or len(labels) != len(images):
        raise ValueError(f"expected images, made and labels of one length, got {images.shape}, {made.shape}, {labels}")
    low, high = np.percentile(images, PERCENTILES, axis=(0, 1, 2))
    differences, names = _differences(images, made, channels)
    limits = [max(float(np.percentile(np.abs(d), PERCENTILES[1])), np.finfo(float).tiny) for d in differences]
    columns = 2 + len(differences)
    side = (style.WIDTH - 0.6) / columns
    figure = style.figure(height=0.8 + side * len(images))
    grid = figure.subplots(len(images), columns, squeeze=False)
    for row, (image, back, label) in enumerate(zip(images, made, style.names(labels, 14), strict=True)):
        for ax, shown in zip(grid[row], (image, back), strict=False):
            _show(ax, to_rgb(shown, low, high))
        for ax, difference, limit in zip(grid[row, 2:], differences, limits, strict=True):
            _show(ax, difference[row], cmap=_SIGNED, vmin=-limit, vmax=limit)
        grid[row, 0].set_ylabel(label, fontsize=9)
    headings = ["image", "made of it"]
    headings += [f"{name}\n± {limit:.3g}" for name, limit in zip(names, limits, strict=True)]
    for ax, heading in zip(grid[0], headings, strict=True):
        ax.set_title(heading, fontsize=9)
    figure.suptitle(title, fontsize=11)
    return figure


def _differences(
    images: npt.NDArray, made: npt.NDArray, channels: Sequence[str]
) -> tuple[list[npt.NDArray[np.float64]], list[str]]:
    """Made less image, a (N, H, W) for each column, and the columns' names."""
    change = made.astype(np.float64) - images
    count = images.shape[-1]
    if count > CHANNELS:
        return [np.sqrt((change**2).mean(-1))], ["difference (RMS)"]
    names = style.names(channels or [f"channel {k}" for k in range(count)], 14)
    return [change[..., k] for k in range(count)], names


def _show(ax: Axes, image: npt.NDArray, **how: object) -> None:
    ax.imshow(image, interpolation="nearest" if max(image.shape[:2]) < 160 else "antialiased", **how)  # type: ignore[arg-type]
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
