"""Pascal VOC: boxes around cells in larger images."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from cellml.config import Data
from cellml.data.images import files_below, image_size, natural
from cellml.data.manifest import BOX
from cellml.data.problems import Problem, Rows
from cellml.data.sources import labels, paths
from cellml.data.sources.base import SOURCES, assemble, refuse
from cellml.errors import UserError

LISTS = {"train": "train", "val": "val", "test": "test"}


@SOURCES.register("voc")
def voc(data: Data, root: Path, cache_dir: Path) -> Rows:
    """Pascal VOC annotations: one row a box, cut out with a margin; the image is the group.

    Boxes are half-open, [xmin, xmax), widened on every side by `data.context` times the longer side and clipped at
    the border. ImageSets/Main gives the splits where it lists train and test images and data.split is not set.

    Raises:
        UserError: no annotations, or one that cannot be read.
    """
    refuse(data, "table", "file", "label", "votes", "probabilities", "id")
    annotations = sorted((root / "Annotations").glob("*.xml"), key=lambda p: natural(p.name))
    if not annotations:
        raise UserError(f"Expected Pascal VOC files in {root / 'Annotations'}, found none; check data.path")
    images = {f.rpartition("/")[2]: f"JPEGImages/{f}" for f in files_below(root / "JPEGImages")}
    stems = {name.rpartition(".")[0]: file for name, file in images.items()}
    lists = _lists(root)
    rows: list[tuple[object, ...]] = []
    problems: list[Problem] = []
    for path in annotations:
        tree = _parse(path)
        named = (tree.findtext("filename") or "").strip()
        file = stems.get(path.stem) or images.get(named) or _absent(named or path.stem, root, path)
        size = image_size(root / file)
        for number, item in enumerate(tree.iter("object")):
            corners = _corners(item, path)
            box = widen(corners, data.context, size)
            if box is None:
                shown = ",".join(f"{c:g}" for c in corners)
                text = f"Box {number + 1} of {path.name} has no area inside its image ({shown}) and is left out"
                problems.append(Problem("zero-area box", text, (f"{file}#{shown}",)))
                continue
            rows.append((file, path.stem, (item.findtext("name") or "").strip(), lists.get(path.stem, ""), *box))
    frame = pd.DataFrame(rows, columns=["file", "stem", "class", "split", *BOX])
    named_rows = labels.from_values(frame["class"].to_numpy(dtype=object), data, str(root))
    texts = frame[["file", "stem", "class"]]
    result = assemble(
        texts,
        frame["file"],
        named_rows,
        data,
        root,
        where=str(root),
        group=frame["stem"],
        split=frame["split"],
        boxes=frame,
    )
    result.problems.extend(problems)
    return result


def widen(
    corners: tuple[float, float, float, float], context: float, size: tuple[int, int] | None
) -> tuple[int, int, int, int] | None:
    """A box with a margin, clipped at the image's border; None where the box itself has no area inside the image.

    Args:
        corners: x0, y0, x1, y1 in pixels.
        context: margin on every side as a share of the longer side.
        size: height and width of the image; None when unknown: no clipping beyond the far border.
    """
    x0, y0, x1, y1 = corners
    height, width = size or (np.iinfo(np.int32).max, np.iinfo(np.int32).max)
    if min(x1, width) <= max(x0, 0) or min(y1, height) <= max(y0, 0):
        return None
    margin = context * max(x1 - x0, y1 - y0)
    left, top = max(0, round(x0 - margin)), max(0, round(y0 - margin))
    right, bottom = min(width, round(x1 + margin)), min(height, round(y1 + margin))
    return None if right <= left or bottom <= top else (left, top, right, bottom)


def _absent(name: str, root: Path, path: Path) -> str:
    """The path of an image that is in no listing; what decodes it says so."""
    return str(paths.inside(pd.Series([f"JPEGImages/{name}"]), root, path.name)[0])


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise UserError(f"{path} is not valid XML: {error}; correct or remove it") from None


def _corners(item: ElementTree.Element, path: Path) -> tuple[float, float, float, float]:
    try:
        x0, y0, x1, y1 = (float(item.findtext(f"bndbox/{name}", "")) for name in ("xmin", "ymin", "xmax", "ymax"))
    except ValueError:
        raise UserError(
            f"Expected numbers in bndbox of every object in {path}, found none in one; correct it"
        ) from None
    return x0, y0, x1, y1


def _lists(root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, split in LISTS.items():
        path = root / "ImageSets" / "Main" / f"{name}.txt"
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            found |= {line.split()[0]: split for line in lines if line.strip()}
    return found
