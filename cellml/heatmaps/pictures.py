"""What is drawn of the maps of one class's images."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cellml.data.manifest import Manifest
from cellml.evaluation.predictions import Predictions
from cellml.explain import channels, methods_sheet, outlines, page, selection, sheets
from cellml.explain.base import EXPLAINERS, SLOPE, Attribution
from cellml.heatmaps import regions
from cellml.heatmaps.subject import Seen, Subject
from cellml.models.classifier import Spec
from cellml.tracking import names

SIDE_BY_SIDE = 6  # images on the sheet that compares methods


@dataclass(frozen=True)
class Chosen:
    """The images of one class that the sheets show, and how they were predicted."""

    index: int
    name: str
    predictions: Predictions
    groups: list[str]
    seen: Seen

    @property
    def probability(self) -> npt.NDArray[np.float64]:
        """(N,) of the class."""
        return self.predictions.probabilities[:, self.index]

    @property
    def true(self) -> list[str]:
        """(N,) class names, "" where unknown."""
        return ["" if k < 0 else self.predictions.classes[k] for k in self.predictions.targets]

    @property
    def predicted(self) -> list[str]:
        """(N,) class names."""
        return [self.predictions.classes[k] for k in self.predictions.predicted]

    @property
    def ids(self) -> list[str]:
        """(N,)."""
        return [str(name) for name in self.predictions.ids]


def choose(subject: Subject, manifest: Manifest, predictions: Predictions, index: int, count: int) -> Chosen:
    """The images of a class that tell most, see `selection.select`."""
    rows = selection.select(predictions, index, count)
    groups = selection.groups(predictions, index)[rows]
    seen = subject.see(manifest.where(rows)) if len(rows) else None
    return Chosen(index, predictions.classes[index], predictions.where(rows), groups.tolist(), seen)  # type: ignore[arg-type]


def title(asked: str, attribution: Attribution) -> str:
    """Whose maps these are, and what a reader must know of them."""
    stands_in = f"in place of {asked}, which cannot serve this network" if attribution.fallback else ""
    classless = "the same for every class" if EXPLAINERS.marked(attribution.method, "classless") else ""
    slope = "green: brighter speaks for it" if EXPLAINERS.marked(attribution.method, SLOPE) else ""
    return " · ".join(filter(None, [attribution.method, attribution.layer, stands_in, classless, slope]))


def contact_sheet(some: Chosen, asked: str, attribution: Attribution) -> Figure:
    """The images beside the maps of the method that was asked for, or of what stood in."""
    return sheets.contact_sheet(
        some.seen.images,
        attribution.maps,
        explained=some.name,
        true=some.true,
        predicted=some.predicted,
        probability=some.probability,
        ids=some.ids,
        groups=some.groups,
        title=title(asked, attribution),
        most=len(some.ids),
    )


def write_further(
    subject: Subject, some: Chosen, asked: str, attribution: Attribution, target: Path, options: Mapping[str, Any]
) -> None:
    """Sheets of the superpixels and of the channels, for methods and images that have them."""
    captions = [
        f"{f'is {true}, ' if true else ''}P = {p:.2f}" for true, p in zip(some.true, some.probability, strict=True)
    ]
    said, images, spec = title(asked, attribution), some.seen.images, subject.spec
    name = f"{names.slug(some.name)}.png"
    if (labels := regions.of(attribution.method, some.seen.prepared, options)) is not None:
        (target / "regions").mkdir(exist_ok=True)
        sheet = outlines.sheet(images, attribution.maps, labels, captions, title=said, explained=some.name)
        sheet.savefig(target / "regions" / name)
    if attribution.channels is not None and by_channel(spec):
        (target / "channels").mkdir(exist_ok=True)
        prepared, maps = some.seen.prepared, attribution.channels
        stains = [f"channel {c}" for c in subject.dataset.channels or range(spec.channels)]
        lines = [f"{caption}, {name}" for caption, name in zip(captions, some.ids, strict=True)]
        sheet = channels.sheet(prepared, maps, spec, lines, title=said, explained=some.name, names=stains)
        sheet.savefig(target / "channels" / name)


def by_channel(spec: Spec) -> bool:
    """Are the channels stains of their own, and not the colours of one picture?"""
    return spec.channels > 1 and (spec.channels != 3 or spec.dtype == "uint16")


def side_by_side(found: Mapping[str, Attribution], some: Chosen) -> Figure:
    """A few images of a class, one of each group before a second of any, under every method's map."""
    order = sorted(range(len(some.ids)), key=lambda n: (some.groups[:n].count(some.groups[n]), n))[:SIDE_BY_SIDE]
    keep = np.sort(order)
    return methods_sheet.sheet(
        [some.seen.images[n] for n in keep],
        {
            method: replace(one, maps=one.maps[keep], classes=one.classes[keep], convergence=None, channels=None)
            for method, one in found.items()
        },
        [f"{some.groups[n]}: {some.true[n] or 'unknown'}, P = {some.probability[n]:.2f}, {some.ids[n]}" for n in keep],
        title=f"{len(keep)} of {len(some.ids)} images explained",
        explained=some.name,
        most=SIDE_BY_SIDE,
    )


def shown(found: Mapping[str, Attribution], some: Chosen) -> list[page.Shown]:
    """The images and their maps for the page."""
    return [
        page.Shown(
            id=some.ids[n],
            image=some.seen.images[n],
            explained=some.name,
            true=some.true[n],
            predicted=some.predicted[n],
            probability=float(some.probability[n]),
            group=some.groups[n],
            maps={method: one.maps[n] for method, one in found.items()},
        )
        for n in range(len(some.ids))
    ]
