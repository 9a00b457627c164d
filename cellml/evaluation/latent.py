"""Where a network puts images: the plane in which its embeddings vary most."""

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cellml.errors import UserError
from cellml.evaluation import style

MARKERS = "osD^vP*"  # of each seven classes


def principal(embeddings: npt.NDArray, count: int = 2) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Principal components by singular values (Pearson 1901).

    Args:
        embeddings: (N, D), at least two rows.
        count: of components; where there are fewer the rest are 0.

    Returns:
        Scores (N, count), each with the sign that makes the largest loading of its component positive, and each one's
        share of the whole variance (count,), 0 where there is none.

    Raises:
        UserError: fewer than two rows.
    """
    if len(embeddings) < 2:
        raise UserError(f"Expected at least 2 embeddings for principal components, got {len(embeddings)}")
    centred = np.asarray(embeddings, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    kept = min(count, len(values))
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])[:kept]
    scores, shares = np.zeros((len(centred), count)), np.zeros(count)
    scores[:, :kept] = left[:, :kept] * values[:kept] * signs
    total = np.square(values).sum()
    if total > 0:
        shares[:kept] = np.square(values[:kept]) / total
    return scores, shares


@style.styled
def figure(embeddings: npt.NDArray, targets: npt.NDArray[np.integer], classes: tuple[str, ...], title: str) -> Figure:
    """Two principal components of embeddings, coloured by class, crosses at the classes' means.

    Args:
        embeddings: (N, D).
        targets: (N,) positions in `classes`, -1 where unknown.
        classes: K names.
        title: what stands above.
    """
    if len(embeddings) < 2:
        return style.note("No map of the embeddings: it needs two images.")
    scores, shares = principal(embeddings)
    made = style.figure(height=4.8 + 0.1 * len(classes))
    ax = made.subplots()
    size = float(np.clip(4000 / len(scores), 6, 30))
    for k, name in [(-1, "unknown"), *enumerate(style.names(classes))]:
        chosen = scores[targets == k]
        if not len(chosen) and k < 0:
            continue
        colour = style.MUTED if k < 0 else style.COLOURS[k % len(style.COLOURS)]
        marker = "." if k < 0 else MARKERS[k // len(style.COLOURS) % len(MARKERS)]
        label = f"{name} ({len(chosen):,})"
        ax.scatter(chosen[:, 0], chosen[:, 1], s=size, c=colour, marker=marker, alpha=0.7, linewidths=0, label=label)
    for k in range(len(classes)):
        if (targets == k).any():
            x, y = scores[targets == k].mean(axis=0)
            ax.scatter(x, y, s=140, c=style.COLOURS[k % len(style.COLOURS)], marker="X", edgecolors="white", zorder=3)
    axes = (f"Principal component {k + 1} ({100 * share:.1f} % of the variance)" for k, share in enumerate(shares))
    ax.set(xlabel=next(axes), ylabel=next(axes), title=title)
    style.grid(ax)
    made.legend(loc="outside lower center", ncols=min(4, len(classes) + 1), markerscale=2 if size < 12 else 1)
    return made
