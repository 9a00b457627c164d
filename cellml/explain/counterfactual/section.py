"""A plane through a network's embedding: the decision boundary between two classes, and the cells beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from torch import Tensor

from cellml.evaluation import style
from cellml.explain.counterfactual.base import Array
from cellml.models import backbones
from cellml.models.classifier import Classifier, calibrated
from cellml.models.generative import Generative

STEPS, PICTURES, BESIDE = 80, 24, 7


@dataclass(frozen=True)
class Plane:
    """Points centre + a u + b v of an embedding of D numbers.

    Attributes:
        centre: (D,) half-way between the means of the two classes.
        axes: (2, D) orthonormal: u along the difference of the means, v the direction of the largest variance of all
            rows that is orthogonal to it.
        shares: of the variance of all rows that lies along each axis.
    """

    centre: Array
    axes: Array
    shares: tuple[float, float]

    def project(self, embeddings: Array) -> Array:
        """(N, 2) of (N, D)."""
        return (embeddings - self.centre) @ self.axes.T

    def points(self, places: Array) -> Array:
        """(N, D) of (N, 2)."""
        return self.centre + places @ self.axes


def plane(embeddings: Array, classes: npt.NDArray[np.int64], source: int, target: int) -> Plane:
    """The plane through (N, D) embeddings that tells two classes apart best and spreads all rows most.

    Raises:
        ValueError: no rows of one of the two, or the same mean.
    """
    means = [embeddings[classes == k].mean(axis=0) for k in (source, target)]
    difference = means[1] - means[0]
    if not np.linalg.norm(difference) > 0:
        raise ValueError("expected two classes with different means")
    u = difference / np.linalg.norm(difference)
    around = embeddings - embeddings.mean(axis=0)
    rest = around - np.outer(around @ u, u)
    v = np.linalg.svd(rest, full_matrices=False)[2][0]
    total = float((around**2).sum())
    shares = tuple(float(((around @ axis) ** 2).sum() / total) for axis in (u, v))
    return Plane((means[0] + means[1]) / 2, np.stack([u, v]), (shares[0], shares[1]))


def embed(classifier: Classifier, prepared: Tensor) -> Array:
    """What the plane goes through, (N, D): the whole embedding of a generative network, of others the last layer's."""
    with torch.no_grad():
        if isinstance(classifier.net, Generative):
            return classifier.net.encode(classifier.normalise(prepared)).flatten(1).double().cpu().numpy()
        return classifier.embed(prepared).double().cpu().numpy()


def odds(classifier: Classifier, shape: Sequence[int], source: int, target: int) -> Callable[[Array], Array]:
    """Log-odds of the target against the source of embeddings (N, D), (N,), as the classifier predicts.

    Args:
        classifier: any of images.
        shape: of one embedding of a generative network, (D, ...).
        source: class index.
        target: class index.
    """
    net = classifier.net

    def of(points: Array) -> Array:
        found = []
        with torch.no_grad():
            for part in torch.from_numpy(points).float().split(256):
                if isinstance(net, Generative):
                    logits = net.logits(part.reshape(-1, *shape))
                else:
                    last = backbones.last_layers(net)[-1][1]
                    places = (1, 1) if isinstance(last, torch.nn.Conv2d) else ()
                    logits = last(part.reshape(*part.shape, *places)).flatten(1)
                said = calibrated(classifier.spec, logits)
                found.append((said[:, target] - said[:, source]).double().numpy())
        return np.concatenate(found)

    return of


def boundary(log_odds: Callable[[Array], Array], through: Plane, heights: Array, reach: float) -> Array:
    """Where the boundary crosses lines along u at given heights, (N,); NaN where it does not within the reach.

    Args:
        log_odds: of embeddings.
        through: the plane.
        heights: (N,) places along v.
        reach: how far along u to look, to either side.
    """
    low, high = np.full(len(heights), -reach), np.full(len(heights), reach)

    def at(a: Array) -> Array:
        return log_odds(through.points(np.stack([a, heights], axis=1)))

    there = (at(low) < 0) & (at(high) >= 0)
    for _ in range(30):
        middle = (low + high) / 2
        over = at(middle) >= 0
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    return np.where(there, high, np.nan)


def decoded(classifier: Classifier, through: Plane, places: Array, shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """Images at places (N, 2) of the plane, raw pixel values (N, C, S, S), by a generative network."""
    z = torch.from_numpy(through.points(places)).float().reshape(-1, *shape)
    assert isinstance(classifier.net, Generative)
    with torch.no_grad():
        return classifier.denormalise(classifier.net.decode(z)).float().numpy()


@style.styled
def figure(
    through: Plane,
    log_odds: Callable[[Array], Array],
    embeddings: Array,
    classes: npt.NDArray[np.int64],
    names: Sequence[str],
    pair: tuple[int, int],
    pictures: Sequence[npt.NDArray[np.uint8]],
    along: Sequence[npt.NDArray[np.uint8]] = (),
) -> Figure:
    """Cells on the plane with the target's probability against the source's, and images along the boundary.

    Args:
        through: the plane.
        log_odds: of embeddings, of the pair.
        embeddings: (N, D).
        classes: (N,).
        names: of the K classes.
        pair: source and target.
        pictures: N images (h, w, 3), of which a few that do not hide each other are placed.
        along: images decoded along the boundary, from below.
    """
    at = through.project(embeddings)
    low, high = at.min(axis=0), at.max(axis=0)
    margin = 0.08 * (high - low)
    low, high = low - margin, high + margin
    made = style.figure(height=5.6 if along else 4.8)
    grid = made.add_gridspec(2, 1, height_ratios=[6, 1]) if len(along) else made.add_gridspec(1, 1)
    ax = made.add_subplot(grid[0])
    a, b = (np.linspace(low[i], high[i], STEPS) for i in (0, 1))
    mesh = np.stack(np.meshgrid(a, b), axis=-1).reshape(-1, 2)
    share = (1 / (1 + np.exp(-log_odds(through.points(mesh))))).reshape(STEPS, STEPS)
    levels = np.linspace(0, 1, 11)
    filled = ax.contourf(a, b, share, levels, cmap="RdBu_r", alpha=0.35)
    ax.contour(a, b, share, [0.5], colors=style.INK, linewidths=1.5)
    for k, colour in zip(np.unique(classes), style.COLOURS, strict=False):
        mine = at[classes == k]
        ax.plot(mine[:, 0], mine[:, 1], ".", color=colour, markersize=4, label=style.names(names)[k])
    for n in _spread(at / (high - low), PICTURES):
        box = OffsetImage(pictures[n], zoom=34 / max(pictures[n].shape[:2]))
        colour = style.COLOURS[int(np.flatnonzero(np.unique(classes) == classes[n])[0]) % len(style.COLOURS)]
        ax.add_artist(AnnotationBbox(box, at[n], pad=0.1, bboxprops={"edgecolor": colour}))
    source, target = (names[k] for k in pair)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    ax.set_xlabel(f"mean of {source} to mean of {target} ({through.shares[0]:.0%} of the variance)")
    ax.set_ylabel(f"largest variance beside it ({through.shares[1]:.0%})")
    ax.legend(frameon=True, loc="upper left", fontsize=8)
    made.colorbar(filled, ax=ax, label=f"p({target}) against {source}")
    if len(along):
        strip = made.add_subplot(grid[1])
        strip.imshow(np.concatenate(list(along), axis=1), interpolation="nearest")
        strip.set(xticks=[], yticks=[], xlabel="decoded along the boundary, from below")
    return made


def _spread(at: Array, count: int, apart: float = 0.11) -> list[int]:
    """Rows (N, 2) of which none is closer than `apart` to another, at most so many."""
    chosen: list[int] = []
    for n in np.random.default_rng(0).permutation(len(at)):
        if all(np.hypot(*(at[n] - at[m])) > apart for m in chosen):
            chosen.append(int(n))
        if len(chosen) == count:
            break
    return chosen
