"""Masks of what tells in an image, in the network's own field of view."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cellml.data import geometry, images, movie
from cellml.data.decode import crop as cut
from cellml.data.images import image_size
from cellml.data.manifest import BOX, MASK_VALUE, PAGE, Manifest
from cellml.errors import UserError


def read(manifest: Manifest, root: Path, crop: int | None, size: int) -> npt.NDArray[np.bool_] | None:
    """Masks of a manifest's rows, cropped and resized as their images are.

    A pixel is marked where any channel of the mask's file is above 0, or has the row's `mask_value`; after resizing,
    where half of it is. A mask of several pages has one for each frame of its movie.

    Args:
        manifest: N rows.
        root: folder that the files are relative to.
        crop: side of the central crop in image pixels, or None.
        size: side of the result.

    Returns:
        (N, size, size) bool, nothing marked in a row without a mask; None where no row has one.

    Raises:
        UserError: a mask that cannot be read, or of another size than its image.
    """
    table = manifest.table
    if "mask" not in table or not table["mask"].astype(bool).any():
        return None
    marked = np.zeros((len(table), size, size), dtype=bool)
    boxes = table[list(BOX)].to_numpy(dtype=np.int64) if BOX[0] in table else None
    pages = table[PAGE].tolist() if PAGE in table else [None] * len(table)
    values = table[MASK_VALUE].tolist() if MASK_VALUE in table else [0] * len(table)
    rows_of: dict[tuple[str, str, int | None], list[int]] = {}
    for n, (file, image, page) in enumerate(zip(table["mask"], table["file"], pages, strict=True)):
        if file:
            rows_of.setdefault((file, image, page), []).append(n)
    for (file, image, page), rows in rows_of.items():
        whole = _whole(root / file, page)
        expected = image_size(root / image) if page is None else movie.frame_size(root / image)
        if expected is not None and whole.shape[:2] != expected:
            raise UserError(
                f"Expected a mask of {expected[0]} x {expected[1]} pixels as its image has, got {whole.shape[0]} x "
                f"{whole.shape[1]} in {file}; correct data.mask"
            )
        for n in rows:
            pixels = whole == values[n] if values[n] else whole > 0
            if boxes is not None:
                pixels = cut(pixels, boxes[n])
            fitted = geometry.fit(torch.from_numpy(pixels.astype(np.uint8) * 255)[None], crop, size)
            marked[n] = fitted[0, 0].numpy() >= 128
    return marked


def _whole(path: Path, page: int | None) -> npt.NDArray:
    """The strongest channel of a mask's file, (H, W, 1); its only image also for every frame of a movie."""
    if page is None or not movie.is_movie(path):
        return images.read_image(path).max(axis=2, keepdims=True)
    return movie.read_frame(path, page).max(axis=2, keepdims=True)
