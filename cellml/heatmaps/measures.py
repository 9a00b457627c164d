"""How far a method's maps of a model can be trusted: figures on a fixed sample of the images."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cellml.evaluation.predictions import Predictions
from cellml.explain import background, base, baselines, faithfulness, randomise, selection, stability
from cellml.explain.base import Attribution
from cellml.explain.faithfulness import Faithfulness
from cellml.heatmaps.subject import Seen, Subject

THOROUGH = 8  # images of the sample for the figures that explain an image several times


@dataclass(frozen=True)
class Measured:
    """One method on the sample: its maps of the predicted classes and what they are worth.

    `figures` is None where maps cannot be scored (an ensemble whose members see different parts of an image) or are not
    the method's own (another one stood in).
    """

    attribution: Attribution
    figures: Faithfulness | None
    randomisation: float = float("nan")

    def summary(self) -> dict[str, float]:
        """Metric names and values: means over the images, and medians of convergence and the randomisation check."""
        values = faithfulness.summary(self.figures) if self.figures else {}
        if np.isfinite(self.randomisation):
            values["randomisation"] = self.randomisation
        if self.attribution.convergence is not None:
            name = "fit_r2" if self.attribution.method == "lime" else "convergence"
            values[name] = float(np.median(self.attribution.convergence))
        return values

    def warnings(self, method: str) -> list[str]:
        """What a reader of the maps must know, one line each."""
        said = []
        if self.figures and (line := background.warning(method, self.figures.background, self.figures.empty)):
            said.append(line)
        if self.randomisation >= randomise.LIMIT:
            said.append(
                f"{method}: maps of a network with random weights look alike (Spearman {self.randomisation:.2f}, "
                f"expected below {randomise.LIMIT}): they show the image more than the model"
            )
        return said


class Sample:
    """The images that every method is scored on, as evenly over the classes as they allow; the same at every call.

    Args:
        subject: the model and its data.
        seen: N rows, see `rows`.
        classes: (N,) the predicted classes, which the maps explain.
    """

    def __init__(self, subject: Subject, seen: Seen, classes: npt.NDArray[np.int64]) -> None:
        self.seen, self.classes = seen, classes
        self.network = subject.network
        self.masks = subject.masks(seen.manifest)
        self.single = self.network is subject.model
        self.note = _masked(seen, self.masks)

    def measure(self, method: str, options: Mapping[str, Any], thorough: bool) -> Measured:
        """Explain the sample by a method and score the maps.

        Args:
            method: a member of EXPLAINERS.
            options: of the method.
            thorough: also the sensitivity to noise and the check by random weights, of one classifier's maps, on
                `THOROUGH` of the images.
        """
        attribution = self.seen.explain(method, self.classes, **options)
        if self.network is None or attribution.fallback:
            return Measured(attribution, None)
        if base.EXPLAINERS.marked(method, base.SLOPE):  # a pixel matters by the slope's size, whichever way it points
            ranked = replace(attribution, maps=np.abs(attribution.maps))
        else:
            ranked = attribution
        network, prepared = self.network, self.seen.prepared
        figures = faithfulness.measure(network, prepared, ranked, self.masks)
        if not (thorough and self.single):
            return Measured(attribution, figures)
        few = np.linspace(0, len(prepared) - 1, min(THOROUGH, len(prepared))).round().astype(np.int64)
        shown, classes = prepared[few], self.classes[few]

        def again(changed: torch.Tensor) -> Attribution:
            return base.explain(method, network, changed, classes, **options)

        same = replace(attribution, maps=attribution.maps[few], classes=classes, convergence=None, channels=None)
        changes = np.full(len(prepared), np.nan)
        changes[few] = stability.sensitivity(same.maps, again, shown, network.spec)
        likeness = randomise.likeness(same, method, network, shown, **options)
        return Measured(attribution, replace(figures, sensitivity=changes), likeness)

    def baselines(self) -> dict[str, Measured]:
        """The same figures of maps that look at no model; none where maps cannot be scored."""
        if self.network is None:
            return {}
        size = (self.seen.prepared.shape[2], self.seen.prepared.shape[3])
        made = {"random": baselines.random(self.classes, size), "centre": baselines.centre(self.classes, size)}
        return {
            name: Measured(one, faithfulness.measure(self.network, self.seen.prepared, one, self.masks))
            for name, one in made.items()
        }


def _masked(seen: Seen, masks: npt.NDArray[np.bool_] | None) -> str | None:
    """One line where the data name masks, and some images have none or an empty one."""
    marked = 0 if masks is None else int(masks.any(axis=(1, 2)).sum())
    if "mask" not in seen.manifest.table or marked == len(seen.manifest):
        return None
    return (
        f"{marked} of {len(seen.manifest)} scored images have a mask that marks anything: pointing game and relevance "
        "mass are of these alone, the background of the others is Otsu's; check data.mask"
    )


def rows(predictions: Predictions, count: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Positions of at most `count` images, drawn as evenly over the true classes as they allow (unknown ones count)."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(predictions.targets))
    members = [order[predictions.targets[order] == k] for k in (*range(len(predictions.classes)), -1)]
    taken = selection.shares([len(part) for part in members], count)
    return np.sort(np.concatenate([part[:most] for part, most in zip(members, taken, strict=True)])).astype(np.int64)
