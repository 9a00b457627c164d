"""Masks of what tells in an image, in the network's own field of view."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cellml.data import geometry, images
from cellml.data.decode import crop as cut
from cellml.data.images import image_size
from cellml.data.manifest import BOX, Manifest
from cellml.errors import UserError


def read(manifest: Manifest, root: Path, crop: int | None, size: int) -> npt.NDArray[np.bool_] | None:
    """Masks of a manifest's rows, cropped and resized as their images are.

    A pixel is marked where any channel of the mask's file is above 0; after resizing, where half of it is.

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
    for n, (file, image) in enumerate(zip(table["mask"], table["file"], strict=True)):
        if not file:
            continue
        pixels = images.read_image(root / file).max(axis=2, keepdims=True) > 0
        expected = image_size(root / image)
        if expected is not None and pixels.shape[:2] != expected:
            raise UserError(
                f"Expected a mask of {expected[0]} x {expected[1]} pixels as its image has, got {pixels.shape[0]} x "
                f"{pixels.shape[1]} in {file}; correct data.mask"
            )
        if boxes is not None:
            pixels = cut(pixels, boxes[n])
        fitted = geometry.fit(torch.from_numpy(pixels.astype(np.uint8) * 255)[None], crop, size)
        marked[n] = fitted[0, 0].numpy() >= 128
    return marked
