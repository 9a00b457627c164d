"""`explain.html`: images and their maps on one self-contained page, to be looked through, filtered and compared."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
from PIL import Image

from cellml import __version__
from cellml.explain import baselines, panels, selection
from cellml.explain.faithfulness import HIGHER_IS_BETTER

LARGEST_PICTURE, LARGEST_MAP = 256, 128  # pixels of the longer side; larger ones are made smaller
QUALITY = 90  # of the pictures, JPEG without chroma subsampling
LEVELS = 31  # shades of each colour of a map
HEADS = {
    "deletion": "deletion AUC",
    "insertion": "insertion AUC",
    "pointing_game": "pointing game",
    "relevance_mass": "relevance mass",
    "background": "on background",
    "sensitivity": "sensitivity",
    "randomisation": "randomisation",
    "convergence": "numerical error",
    "fit_r2": "fit (R2)",
}


@dataclass(frozen=True)
class Shown:
    """One image on the page, with the maps that explain one class of it.

    Attributes:
        id: image id.
        image: (H, W, 3) uint8.
        explained: name of the class that the maps explain.
        true: class name, "" where unknown.
        predicted: class name.
        probability: of the explained class.
        group: one of selection.GROUPS, "" for none.
        maps: signed (h, w) by method, of the image's field of view; each is coloured by its own largest value.
    """

    id: str
    image: npt.NDArray[np.uint8]
    explained: str
    true: str
    predicted: str
    probability: float
    group: str
    maps: Mapping[str, npt.NDArray[np.float32]]


def write(path: str | Path, images: Sequence[Shown], **said: Any) -> None:
    """Write the page; `html` says what the arguments are."""
    Path(path).write_text(html(images, **said), encoding="utf-8")


def html(
    images: Sequence[Shown],
    *,
    model: str,
    description: str = "",
    faithfulness: Mapping[str, Mapping[str, float]] | None = None,
    fallbacks: Mapping[str, str] | None = None,
    warnings: Sequence[str] = (),
) -> str:
    """The page as text. Pictures are JPEG, maps PNG with a palette; both as data URIs, so that it needs no network.

    Args:
        images: what is shown, in this order.
        model: the model's name.
        description: data, split, what else to say beneath the name.
        faithfulness: metrics by method, NaN or missing where one does not apply; those of `baselines.NAMES` stand last.
        fallbacks: by method, why another one's maps stand in.
        warnings: one line each.

    Returns:
        HTML.

    Raises:
        ValueError: no images, or images without maps.
    """
    methods = list(dict.fromkeys(method for one in images for method in one.maps))
    if not methods:
        raise ValueError(f"expected images with maps, got {len(images)} images without")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cellml", "explain"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    measured = faithfulness or {}
    known = {key for row in measured.values() for key, value in row.items() if math.isfinite(value)}
    keys = [*(key for key in HEADS if key in known), *sorted(known - set(HEADS))]
    return environment.get_template("page.html.j2").render(
        model=model,
        description=description,
        warnings=list(warnings),
        cards=[_card(one) for one in images],
        methods=[{"name": name, "label": name.replace("_", " ")} for name in methods],
        fallbacks=dict(fallbacks or {}),
        classes=list(dict.fromkeys(one.explained for one in images)),
        groups=[name for name in selection.GROUPS if any(one.group == name for one in images)],
        counts={name: sum(one.group == name for one in images) for name in selection.GROUPS},
        columns=[_column(key) for key in keys],
        rows=[_row(name, measured[name], keys) for name in measured if name not in baselines.NAMES],
        baselines=[_row(name, measured[name], keys) for name in measured if name in baselines.NAMES],
        colors={"against": _css(panels.AGAINST), "for": _css(panels.FOR)},
        version=__version__,
    )


def picture_uri(image: npt.NDArray[np.uint8]) -> str:
    """A picture (H, W, 3) as JPEG in a data URI, made smaller where it is larger than the page shows."""
    picture = Image.fromarray(image)
    picture.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE), Image.Resampling.BICUBIC)
    return _uri(picture, "jpeg", quality=QUALITY, subsampling=0)


def map_uri(heat: npt.NDArray[np.float32]) -> str:
    """A signed map (h, w) as PNG in a data URI: its colours, transparent where it says nothing."""
    ratio = min(1.0, LARGEST_MAP / max(heat.shape))
    small = panels.resized(heat, [max(1, round(n * ratio)) for n in heat.shape])
    share = np.clip(small / panels.scale_of(small), -1, 1)
    level = np.rint(LEVELS * share).astype(np.int64) + LEVELS
    colors, strength = panels.colored(np.linspace(-1, 1, 2 * LEVELS + 1, dtype=np.float32), 1.0)
    picture = Image.fromarray(level.astype(np.uint8))
    picture.putpalette(np.rint(255 * colors).astype(np.uint8).tobytes())
    return _uri(picture, "png", transparency=np.rint(255 * strength).astype(np.uint8).tobytes(), optimize=True)


def _uri(picture: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _card(one: Shown) -> dict[str, Any]:
    height, width = one.image.shape[:2]
    return {
        "one": one,
        "picture": picture_uri(one.image),
        "maps": {method: map_uri(heat) for method, heat in one.maps.items()},
        "size": (width, height),
        "verdict": "unknown" if not one.true else "right" if one.true == one.predicted else "wrong",
        "probability": f"{one.probability:.2f}",
    }


def _column(key: str) -> dict[str, str]:
    better = (
        "" if key not in HEADS else "higher is better" if key in HIGHER_IS_BETTER | {"fit_r2"} else "lower is better"
    )
    return {"head": HEADS.get(key, key.replace("_", " ")), "better": better}


def _row(name: str, values: Mapping[str, float], keys: Sequence[str]) -> dict[str, Any]:
    numbers = [values.get(key, math.nan) for key in keys]
    return {"name": name.replace("_", " "), "cells": [f"{v:.3f}" if math.isfinite(v) else "" for v in numbers]}


def _css(color: tuple[float, float, float]) -> str:
    return f"rgb({', '.join(str(round(255 * part)) for part in color)})"
