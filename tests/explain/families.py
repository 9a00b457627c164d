"""Grad-CAM on the smallest member of every timm family, as a table.

    python -m tests.explain.families --out docs/families.md

Offline, one network at a time. Finished families are kept in `--work`, one JSON object a line: a second start goes on
after them, and a family asked for by `--family` is done again.
"""

import argparse
import json
import math
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellml.errors import UserError
from cellml.explain import base, hooks
from cellml.explain.base import explain
from cellml.models import backbones
from cellml.models.classifier import Classifier, Spec
from cellml.vision import timm
from tests.explain.helpers import built, noise

MOST = 60e6  # parameters of a member that is built in full where it can be built with two blocks
SIZES = (64, 96)  # pixels tried before a member's own
MEMBERS = 4  # tried a family, smallest first
INTRODUCTION = """\
# Which families Grad-CAM serves

Where Grad-CAM reads the smallest member of every family of timm {version} (a family is one of its modules): made by
`python -m tests.explain.families`, with random weights and three classes.

- *M parameters*: of the whole member; *depth 2* stands where it was built with two blocks.
- *input*: side of the square images in pixels: {sizes}, or else the member's own.
- *layer*: the module whose activations are read: the deepest whose map has at least 7 x 7 positions, or else the one
  with the finest map. Every one gave a gradient that is finite and not zero.
- *layout*: channels first (NCHW) or last (NHWC), or tokens (NLC), with the map's rows x columns and the number of
  tokens that are no position. In each, a change of a corner of the image changes that corner of the map most.
- *wide images*: half as wide again as high: "told its size" where the network must be built for that shape
  (`img_size`), "no" where it takes squares alone, "fallback" where occlusion stands in.
"""


def survey(family: str) -> dict[str, Any]:
    """One row of the table: the smallest member of a timm module that builds, and how Grad-CAM reads it."""
    reasons = []
    for parameters, member in sizes(family)[:MEMBERS]:
        row = {"family": family, "member": member, "parameters": parameters}
        for options in ({"depth": 2}, {})[parameters <= MOST :]:
            for size in dict.fromkeys((*SIZES, own_size(member))):
                try:
                    classifier = alive(built(member, size=size, options=options))
                except UserError as error:
                    reason = str(error)
                    continue
                row |= {"size": size, "options": options}
                return {**row, **look(classifier, noise(2, size)), "wide": wide(classifier)}
        reasons.append(f"{member}: {reason}")
    return {"family": family, "unbuilt": "; ".join(reasons)}


def sizes(family: str) -> list[tuple[float, str]]:
    """(parameters, member) of a family's members with 3 classes, smallest first; the `test_*` toys are left out."""
    found = []
    for member in timm.list_models(module=family):
        if member.startswith("test_"):
            continue
        try:
            with torch.device("meta"):
                net = timm.create_model(member, num_classes=3)
            found.append((float(sum(p.numel() for p in net.parameters())), member))
        except Exception:  # built on no device: its size stays unknown
            found.append((math.inf, member))
    return sorted(found)


def own_size(member: str) -> int:
    """Side in pixels that a member was designed for."""
    config = timm.models.get_pretrained_cfg(member)
    return config.input_size[-1] if config is not None else 224


def look(classifier: Classifier, images: torch.Tensor) -> dict[str, Any]:
    """How Grad-CAM reads a classifier: the layer, its layout, and whether the maps follow the images."""
    target = find(classifier, images)
    if isinstance(target, hooks.Unserved):
        return {"served": "fallback", "reason": target.reason}
    layout = target.layout
    result = explain("gradcam", classifier, images, [0, 1])
    assert result.method == "gradcam"
    assert result.maps.shape == (2, *images.shape[2:])
    return {
        "served": "native",
        "layer": target.name,
        "layout": f"{layout.kind} {layout.height} x {layout.width}" + (f" + {layout.prefix}" if layout.prefix else ""),
        "varies": bool(np.ptp(result.maps, axis=(1, 2)).min() > 0),
        "corners": corners(classifier, target, images),
    }


def find(classifier: Classifier, images: torch.Tensor) -> hooks.Target | hooks.Unserved:
    """The module that Grad-CAM reads for such images."""
    with base.undisturbed(classifier):
        return hooks.resolve(classifier.net, classifier.logits, images, layer=None, grid=7)


def corners(classifier: Classifier, target: hooks.Target, images: torch.Tensor) -> int:
    """In how many of four quarters a change of the image's corner is largest in the same quarter of the maps."""
    changed = images[:1].repeat(5, 1, 1, 1)
    high, wide = (side // 4 for side in images.shape[2:])
    for image, (rows, columns) in zip(changed[1:], quarters(high, wide), strict=True):
        image[:, rows, columns] = 255 - image[:, rows, columns]
    with torch.no_grad(), base.undisturbed(classifier), hooks.tapped(target.module) as taken:
        classifier.logits(changed)
    maps = target.to_maps(taken[0].detach())
    moved = (maps[1:] - maps[:1]).abs().sum(dim=3)
    high, wide = (side // 2 for side in moved.shape[1:])
    sums = torch.stack([moved[:, r, c].sum(dim=(1, 2)) for r, c in quarters(high, wide)], dim=1)
    return int((sums.argmax(dim=1) == torch.arange(4)).sum())


def quarters(high: int, wide: int) -> list[tuple[slice, slice]]:
    """Top left, top right, bottom left, bottom right."""
    return [(r, c) for r in (slice(high), slice(-high, None)) for c in (slice(wide), slice(-wide, None))]


def alive(classifier: Classifier) -> Classifier:
    """The classifier with random weights in its last layers, which some families start at zero."""
    for _, layer in backbones.last_layers(classifier.net):
        torch.nn.init.normal_(layer.weight, std=0.1)
    return classifier


def widened(classifier: Classifier) -> tuple[Classifier, str] | None:
    """The classifier for images half as wide again, as it is or built for them ("told its size"); None if it cannot."""
    size = classifier.spec.size
    images = noise(2, size, width=size + size // 2)
    for told in (False, True):
        try:
            net = told_its_size(classifier.spec, tuple(images.shape[2:])) if told else classifier.net
            wider = alive(Classifier(classifier.spec, net))
            find(wider, images)
        except (UserError, AssertionError):
            continue
        return wider, ", told its size" if told else ""
    return None


def told_its_size(spec: Spec, size: tuple[int, ...]) -> torch.nn.Module:
    """A network as a classifier's, built for (H, W) images."""
    options = {**spec.options, "img_size": size}
    return backbones.create(spec.backbone, channels=3, num_classes=3, size=spec.size, options=options, probe=False)


def wide(classifier: Classifier) -> str:
    """How images half as wide again are served: native, "native, told its size", fallback or no (squares alone)."""
    found = widened(classifier)
    if found is None:
        return "no"
    wider, told = found
    size = classifier.spec.size
    return look(wider, noise(2, size, width=size + size // 2))["served"] + told


def rows(work: Path, families: list[str], again: bool) -> Iterator[dict[str, Any]]:
    """The row of each family, from `work` or new; new ones are added to it."""
    known = {}
    if work.is_file():
        known = {row["family"]: row for row in map(json.loads, work.read_text().splitlines())}
    work.parent.mkdir(parents=True, exist_ok=True)
    for family in families:
        if again or family not in known:
            torch.manual_seed(0)
            try:
                known[family] = survey(family)
            except Exception as error:
                known[family] = {"family": family, "unbuilt": " ".join(str(error).split())}
            with work.open("a") as file:
                file.write(json.dumps(known[family]) + "\n")
            print(known[family], flush=True)
    yield from (known[family] for family in sorted(known))


def page(found: list[dict[str, Any]]) -> str:
    """The table as Markdown, its counts first."""
    built_ones = [row for row in found if "member" in row]
    native = [row for row in built_ones if row["served"] == "native"]
    unsure = [f"`{row['member']}` (right in {row['corners']} of 4 corners)" for row in native if row["corners"] < 4]
    counts = (
        f"{len(found)} families: {len(native)} native, {len(built_ones) - len(native)} by occlusion, "
        f"{len(found) - len(built_ones)} not built."
    )
    lines = [
        *INTRODUCTION.format(version=timm.__version__, sizes=" or ".join(map(str, SIZES))).splitlines(),
        "",
        counts
        + (f" With random weights a change spreads over the whole map in {', '.join(unsure)}." if unsure else ""),
        "",
        "| family | member | M parameters | input | layer | layout | square images | wide images |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in built_ones:
        options = "".join(f", {key} {value}" for key, value in row["options"].items())
        cells = [
            row["family"],
            f"`{row['member']}`{options}",
            f"{row['parameters'] / 1e6:.1f}",
            f"{row['size']}",
            f"`{row['layer']}`" if "layer" in row else "",
            row.get("layout", ""),
            row["served"] + (f": {row['reason']}" if "reason" in row else ""),
            row["wide"],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    unbuilt = [row for row in found if "unbuilt" in row]
    if unbuilt:
        lines += ["", "Not built:", "", *(f"- {row['family']}: {row['unbuilt']}" for row in unbuilt)]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Grad-CAM on the smallest member of every timm family, as a table.")
    parser.add_argument("--out", type=Path, default=Path("docs/families.md"))
    parser.add_argument("--work", type=Path, default=Path("build/families.jsonl"))
    parser.add_argument("--family", action="append", help="one to do again; may be repeated")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    found = list(rows(given.work, given.family or timm.list_modules(), bool(given.family)))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(page(found), encoding="utf-8")
    served = Counter(row.get("served", "not built") for row in found)
    print(f"{given.out}: {len(found)} families,", ", ".join(f"{n} {how}" for how, n in served.items()))


if __name__ == "__main__":
    main()
