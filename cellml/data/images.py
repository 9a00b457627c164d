"""Finding and decoding image files: PNG, JPEG, BMP by Pillow, TIFF by tifffile."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import ExifTags, Image, ImageOps

from cellml.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
MANY_CHANNELS = 32  # an axis longer than this is never taken for the channels

Pixels = npt.NDArray[Any]  # (H, W, C) uint8 or uint16

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong with a file is said once, by what it raises


class BadImageError(UserError):
    """A file that cannot be decoded, or whose pixels are of a kind that is not supported."""


def natural(name: str | Path) -> tuple[tuple[bool, int, str], ...]:
    """Sorting key that puts `cell2` before `cell10`."""
    parts = re.split(r"(\d+)", str(name))
    return tuple((not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in parts if p)


def list_images(folder: str | Path) -> list[Path]:
    """Image files below a folder, at any depth, in natural order; hidden files and folders are passed over.

    Raises:
        UserError: no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"Expected a folder of images, found none at {folder}; give the path of an existing folder")
    found = [folder / file for file in files_below(folder)]
    if not found:
        raise UserError(f"Expected images ({', '.join(SUFFIXES)}) below {folder}, found none; check the path")
    return found


def files_below(folder: Path) -> list[str]:
    """Image files below a folder in natural order, as paths relative to it with forward slashes."""
    found = []
    for where, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = os.path.relpath(where, folder).replace(os.sep, "/")
        prefix = "" if inside == "." else inside + "/"
        found += [prefix + f for f in files if f.lower().endswith(SUFFIXES) and not f.startswith(".")]
    return sorted(found, key=natural)


def read_image(path: str | Path, channels: Sequence[int] | None = None) -> Pixels:
    """Decode one image.

    Palettes become colours, transparency is dropped, a JPEG is turned as its EXIF orientation says. A TIFF may be
    (H, W), (H, W, C) or (C, H, W).

    Args:
        path: the file.
        channels: channels to keep, in this order; None keeps all.

    Returns:
        (H, W, C) uint8 or uint16.

    Raises:
        BadImageError: the file is missing, broken, or of floating point or 16-bit colour PNG, say.
        UserError: a channel that the image does not have.
    """
    path = Path(path)
    try:
        pixels = _tiff(path) if path.suffix.lower() in (".tif", ".tiff") else _pillow(path)
    except FileNotFoundError:
        raise BadImageError(f"Expected an image at {path}, found no file") from None
    except BadImageError:
        raise
    # decoders raise whatever a broken file makes them stumble over
    except Exception as error:
        raise BadImageError(
            f"{path} cannot be decoded: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error
    if 0 in pixels.shape:
        raise BadImageError(f"{path} has no pixels: its shape is {pixels.shape}")
    return pick(pixels, channels, path)


def pick(pixels: Pixels, channels: Sequence[int] | None, path: Path) -> Pixels:
    """Channels of an (H, W, C) image that was read from a path; None keeps all.

    Raises:
        UserError: a channel that the image does not have.
    """
    if channels is None:
        return pixels
    count = pixels.shape[2]
    if wrong := [c for c in channels if not 0 <= c < count]:
        raise UserError(f"Expected data.channels between 0 and {count - 1}, the channels of {path}, got {wrong[0]}")
    return np.ascontiguousarray(pixels[:, :, list(channels)])


def image_size(path: str | Path) -> tuple[int, int] | None:
    """Height and width from the header alone, as `read_image` would give them; None where the file is broken."""
    try:
        if Path(path).suffix.lower() in (".tif", ".tiff"):
            with tifffile.TiffFile(path) as file:
                shape, axes = file.series[0].shape, file.series[0].axes
            height, width, _ = _channels_last(np.broadcast_to(np.zeros((), np.uint8), shape), axes, Path(path)).shape
            return height, width
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    # decoders raise whatever a broken file makes them stumble over; reading the pixels will tell the reason
    except Exception:
        return None
    return (width, height) if turned else (height, width)


def _pillow(path: Path) -> Pixels:
    with Image.open(path) as image:
        if image.format == "PNG" and _deep_colour(path):
            raise BadImageError(f"{path} is a 16-bit colour PNG, which is not supported; save it as TIFF")
        if image.mode == "F":
            raise BadImageError(f"{path} has floating point pixels; save it with 8 or 16 bits")
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            raise BadImageError(f"{path} has {image.n_frames} frames; save each as a file")  # type: ignore[attr-defined]
        upright = ImageOps.exif_transpose(image) if image.format in ("JPEG", "MPO", "PNG") else image
        return _from_pillow(upright, path)


def _from_pillow(image: Image.Image, path: Path) -> Pixels:
    mode = image.mode
    if mode.startswith("I"):
        return whole_numbers(np.asarray(image), path)[:, :, None]
    if mode in ("1", "L", "LA", "La"):
        return np.asarray(image.convert("L"))[:, :, None]
    return np.asarray(image if mode == "RGB" else image.convert("RGB"))


def _deep_colour(path: Path) -> bool:
    with open(path, "rb") as file:
        header = file.read(26)  # signature 8, length and type 8, width 4, height 4, bit depth 1, colour type 1
    return len(header) == 26 and header[24] == 16 and header[25] != 0


def _tiff(path: Path) -> Pixels:
    with tifffile.TiffFile(path) as file:
        if not file.series:
            raise BadImageError(f"{path} holds no image")
        series = file.series[0]
        page = file.pages[0]
        samples = getattr(page, "samplesperpixel", 1)
        depth = getattr(page, "bitspersample", 8)
        palette = getattr(page, "photometric", None) == tifffile.PHOTOMETRIC.PALETTE
        if not palette:
            try:
                whole = whole_numbers(series.asarray(), path)
                return np.ascontiguousarray(_channels_last(whole, series.axes, path))
            except ValueError:  # a compression that tifffile leaves to the imagecodecs package; libtiff may know it
                if len(file.pages) > 1 or (depth > 8 and samples > 1):
                    raise
    with Image.open(path) as image:
        return _from_pillow(image, path)


def _channels_last(pixels: Pixels, axes: str, path: Path) -> Pixels:
    if pixels.ndim > 3:
        pixels, axes = np.squeeze(pixels), ""
    if pixels.ndim == 2:
        return pixels[:, :, None]
    if pixels.ndim != 3:
        raise BadImageError(f"Expected one image of (H, W), (H, W, C) or (C, H, W) in {path}, got shape {pixels.shape}")
    first, last = pixels.shape[0], pixels.shape[2]
    if axes.endswith("S") or (not axes.startswith(("C", "S")) and last <= MANY_CHANNELS and last <= first):
        return pixels
    if first <= MANY_CHANNELS:
        return np.moveaxis(pixels, 0, 2)
    raise BadImageError(f"Expected at most {MANY_CHANNELS} channels in {path}, got shape {pixels.shape}")


def whole_numbers(pixels: npt.NDArray, path: Path) -> Pixels:
    """Pixels of any whole numbers as uint8 or uint16, booleans as 0 and 255.

    Raises:
        BadImageError: negative, too large or floating point pixels.
    """
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind in "iu" and pixels.size and pixels.min() >= 0 and pixels.max() <= np.iinfo(np.uint16).max:
        return pixels.astype(np.uint16)
    raise BadImageError(f"Expected 8- or 16-bit pixels in {path}, got {pixels.dtype}; save it with 8 or 16 bits")
