"""Simulated fluorescence micrographs of dividing cells, with a mask of the part that tells the class.

Each image holds one cell off the centre, labelled by its mitotic stage, among interphase neighbours cut by the frame.
Blue is chromatin, green the spindle and the cytoplasm's filaments, red the cytoplasm; slides differ in staining,
exposure, illumination and focus.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from cellml.data import micrograph, nuclei
from cellml.errors import UserError, near

CHUNK = 128  # images drawn at once; part of what a seed means


def write(
    folder: str | Path,
    *,
    count: int = 600,
    seed: int = 0,
    size: int = 64,
    slides: int = 12,
    shares: Mapping[str, float] | None = None,
    difficulty: float = 0.5,
) -> Path:
    """Write simulated images, masks and the table that lists them.

    Args:
        folder: made if needed; gets `images/*.png` (RGB), `masks/*.png` (0 or 255) and `table.csv`.
        count: number of images.
        seed: the same seed and options give the same files.
        size: side of an image in pixels.
        slides: number of slides, each with its own staining, exposure, illumination and focus.
        shares: stage -> share of the images, scaled to sum 1; default: imbalanced, anaphase the rarest. At least one
            image of each stage is made.
        difficulty: 0 (stages apart) to 1 (noisy, blurred, weak spindles, stages running into each other).

    Returns:
        Path of `table.csv`, with the columns file, mask, label, slide; files relative to the folder.

    Raises:
        UserError: an option out of range, or an unknown stage.
    """
    shares = _checked(count, size, slides, shares, difficulty)
    folder = Path(folder)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 0])
    hardness = 0.5 + difficulty / 2  # below this, a small network makes no mistakes
    labels, slide = _layout(count, shares, slides, rng)
    look = micrograph.slide_looks(slides, hardness, rng)
    names = [f"cell-{i:0{len(str(count))}d}.png" for i in range(count)]
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        images, masks = micrograph.render(
            labels[part],
            look[slide[part]],
            size=size,
            hardness=hardness,
            rng=np.random.default_rng([seed, 1, start]),
        )
        for name, image, mask in zip(names[part], images, masks, strict=True):
            Image.fromarray(image).save(folder / "images" / name, compress_level=3)
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / name, compress_level=3)
    table = pd.DataFrame(
        {
            "file": [f"images/{name}" for name in names],
            "mask": [f"masks/{name}" for name in names],
            "label": labels,
            "slide": [f"slide-{s + 1:02d}" for s in slide],
        }
    )
    path = folder / "table.csv"
    table.to_csv(path, index=False)
    return path


def _checked(
    count: int, size: int, slides: int, shares: Mapping[str, float] | None, difficulty: float
) -> dict[str, float]:
    shares = dict(nuclei.SHARES if shares is None else shares)
    for name in shares:
        if name not in nuclei.STAGES:
            raise UserError(
                f"Expected a mitotic stage in the simulator's shares, got {name!r}: {near(name, nuclei.STAGES)}"
            )
    if len(shares) < 2 or min(shares.values()) <= 0:
        raise UserError(f"Expected at least two stages with positive shares, got {shares}; name two or more")
    if count < len(shares):
        raise UserError(f"Expected a simulated count of at least {len(shares)} (one a class), got {count}; raise it")
    if not 24 <= size <= 512:
        raise UserError(f"Expected a simulated image size of 24 to 512 pixels, got {size}; choose one in between")
    if slides < 1:
        raise UserError(f"Expected at least one simulated slide, got {slides}; raise data.options.slides")
    if not 0 <= difficulty <= 1:
        raise UserError(f"Expected a simulated difficulty of 0 to 1, got {difficulty}; choose one in between")
    return shares


def _layout(
    count: int, shares: Mapping[str, float], slides: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.int64]]:
    stages = [s for s in nuclei.STAGES if s in shares]
    exact = np.array([shares[s] for s in stages]) / sum(shares.values()) * (count - len(stages))
    each = np.floor(exact).astype(int)
    each[np.argsort(each - exact, kind="stable")[: count - len(stages) - each.sum()]] += 1
    labels = np.repeat(np.array(stages, dtype=object), each + 1)
    slide = np.concatenate([np.arange(k) for k in each + 1])  # every stage on as many slides as it has images for
    start = np.repeat(rng.integers(0, slides, len(stages)), each + 1)
    order = rng.permutation(count)
    return labels[order], rng.permutation(slides)[(slide + start) % slides][order]
