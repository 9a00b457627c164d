"""RISE: hide random parts of the image, see which were better seen."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from cellml.errors import UserError
from cellml.explain import references
from cellml.explain.base import EXPLAINERS, Attribution, Score, at_least, scores
from cellml.models.classifier import Classifier


@EXPLAINERS.register("rise")
def rise(
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    *,
    samples: int = 1000,
    grid: int = 7,
    keep: float = 0.5,
    baseline: str = "blur",
    score: Score = "log_odds",
    seed: int = 0,
    batch_size: int = 32,
) -> Attribution:
    """RISE: the mean score under random masks that show a pixel, less the mean under all; any network.

    A mask is a coarse grid of zeros and ones, enlarged bilinearly and shifted at random; a pixel's value is the mean of
    the scores weighted by how much each mask shows of it, less the plain mean (Petsiuk et al. 2018, arXiv 1806.07421,
    eq. 6, there without the second term, which gives the map its sign). All images see the same masks.

    Args:
        classifier: what is explained, in eval mode.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) class index.
        samples: masks.
        grid: cells a side of the coarse grid.
        keep: probability that a cell is shown.
        baseline: what stands where the image is hidden, see `references.reference`.
        score: what is explained.
        seed: of the masks.
        batch_size: images a pass, hidden parts included.

    Returns:
        Maps of (N, H, W), in units of the score.

    Raises:
        UserError: no samples or grid, a probability not between 0 and 1, or an unknown baseline.
    """
    at_least(1, samples=samples, grid=grid)
    if not 0 < keep < 1:
        raise UserError(f"Expected explain option 'keep' between 0 and 1, got {keep}")
    height, width = prepared.shape[2:]
    cells, shifts = _drawn(samples, grid, keep, (height, width), seed)
    blank = references.reference(prepared, baseline)
    parts = []
    with torch.no_grad():
        for masks in _masks(cells, shifts, (height, width), batch_size):
            shown = masks[:, None].to(prepared.device)
            changed = (torch.lerp(b, x, shown) for x, b in zip(prepared, blank, strict=True))
            part = [scores(classifier, x, k.expand(len(x)), score) for x, k in zip(changed, classes, strict=True)]
            parts.append(torch.stack(part).double().cpu())
    found = torch.cat(parts, dim=1)
    found -= found.mean(dim=1, keepdim=True)
    total, cover = torch.zeros((len(found), height, width), dtype=torch.float64), torch.zeros(height, width)
    for masks, some in zip(_masks(cells, shifts, (height, width), batch_size), found.split(batch_size, 1), strict=True):
        total += torch.einsum("ns,shw->nhw", some, masks.double())
        cover = cover + masks.double().sum(dim=0)
    maps = total / cover.clamp_min(1e-12)
    return Attribution(maps.numpy().astype(np.float32), classes.cpu().numpy(), "rise")


def _drawn(samples: int, grid: int, keep: float, size: tuple[int, int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Grids (samples, g, g) of 0 and 1, and shifts (samples, 2) of less than a cell."""
    generator = torch.Generator().manual_seed(seed)
    cells = (torch.rand((samples, grid, grid), generator=generator) < keep).float()
    shifts = [torch.randint(0, -(-side // grid), (samples,), generator=generator) for side in size]
    return cells, torch.stack(shifts, dim=1)


def _masks(cells: torch.Tensor, shifts: torch.Tensor, size: tuple[int, int], batch_size: int) -> Iterator[torch.Tensor]:
    """Batches of masks (n, H, W) from 0 to 1: the grids enlarged by one cell more than the image, shifted and cut."""
    grid = cells.shape[1]
    enlarged = [(grid + 1) * -(-side // grid) for side in size]
    for some, moved in zip(cells.split(batch_size), shifts.split(batch_size), strict=True):
        large = F.interpolate(some[:, None], size=enlarged, mode="bilinear", align_corners=False)[:, 0]
        rows = moved[:, :1] + torch.arange(size[0])
        columns = moved[:, 1:] + torch.arange(size[1])
        yield large[torch.arange(len(some))[:, None, None], rows[:, :, None], columns[:, None, :]]
