"""Several classifiers as one: images in, the weighted mean of their probabilities out."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from cellml.errors import UserError
from cellml.models import classifier as classifiers
from cellml.models.classifier import ENSEMBLE, Classifier, SequenceClassifier
from cellml.models.temporal.networks import PerFrame
from cellml.models.views import Tta, most

VERSION = 1
BACKBONE = "ensemble"  # what stands where a classifier has its backbone
_KEPT = ("weights", "strategy", "thresholds", "digest", "version")  # the rest follows from the members


@dataclass(frozen=True)
class Spec:
    """What an ensemble says of itself: a classifier's words where they have a meaning for several.

    Attributes:
        members: what each member says of itself, as plain JSON.
        weights: (M,) of the members, above 0, summing to 1.
        classes: the K class names, the same for every member.
        channels: C of the images.
        dtype: of the images.
        tta: the most views that a member averages over.
        strategy: the rule that gave the weights.
        thresholds: operating points by class name; kept for the reader, not applied.
        digest: of the training manifest, "" where the members have several.
        sequence: {} of sequence models, None of classifiers of images.
        decoder: of sequence models, the first member's.
        backbone: "ensemble".
        version: of this format.
    """

    members: tuple[dict[str, Any], ...]
    weights: tuple[float, ...]
    classes: tuple[str, ...]
    channels: int
    dtype: Literal["uint8", "uint16"]
    tta: Tta
    strategy: str = "mean"
    thresholds: dict[str, float] = field(default_factory=dict)
    digest: str = ""
    sequence: dict[str, Any] | None = None
    decoder: dict[str, Any] | None = None
    backbone: str = BACKBONE
    version: int = VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts, strings and numbers."""
        return json.loads(json.dumps(asdict(self), allow_nan=False))


class Ensemble(nn.Module):
    """Raw images (N, H, W, C), uint8 or uint16, to probabilities (N, K): the weighted mean of the members' own.

    Of sequence models it takes sequences (N, T, H, W, C) and gives (N, T, K), as they do.
    Each member crops, resizes and scales the images itself and averages over its own views. It can be exported with
    `torch.export` as one program, N, H and W dynamic.

    Args:
        members: M classifiers of the same classes, channels and dtype; an ensemble among them is taken apart.
        weights: (M,), none negative, summing to 1; what weighs 0 is left out.
        strategy: the rule that gave the weights.
        thresholds: operating points by class name.
        digest: of the manifest that the members were trained on; None: theirs, where they agree.

    Raises:
        UserError: members of different classes, channels or dtype, or of images and sequences.
    """

    def __init__(
        self,
        members: Sequence["Classifier | Ensemble"],
        weights: Sequence[float],
        *,
        strategy: str = "mean",
        thresholds: Mapping[str, float] | None = None,
        digest: str | None = None,
    ) -> None:
        super().__init__()
        shares = [float(weight) for weight in weights]
        if len(shares) != len(members) or min(shares, default=-1) < 0 or not math.isclose(math.fsum(shares), 1):
            raise ValueError(f"expected {len(members)} weights, none negative, with the sum 1, got {shares}")
        check(members)
        taken = [pair for member, share in zip(members, shares, strict=True) if share for pair in _parts(member, share)]
        self.members = nn.ModuleList([member for member, _ in taken])
        specs = [member.spec for member, _ in taken]
        digests = {spec.digest for spec in specs}
        self.spec = Spec(
            members=tuple(spec.to_dict() for spec in specs),
            weights=tuple(share for _, share in taken),
            classes=specs[0].classes,
            channels=specs[0].channels,
            dtype=specs[0].dtype,
            tta=most([spec.tta for spec in specs]),
            strategy=strategy,
            thresholds=dict(thresholds or {}),
            digest=digest if digest is not None else digests.pop() if len(digests) == 1 else "",
            sequence=None if specs[0].sequence is None else {},
            decoder=specs[0].decoder,
        )

    def weighted(self) -> list[tuple[Classifier, float]]:
        """Each member with its weight."""
        return list(zip(self.members, self.spec.weights, strict=True))  # type: ignore[arg-type]  # a ModuleList's

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities, float32 (N, K)."""
        seen: dict[tuple[int | None, int], torch.Tensor] = {}
        parts = []
        for member, weight in self.weighted():
            view = (member.spec.crop, member.spec.size)
            if view not in seen:
                seen[view] = member.prepare(images)
            parts.append(weight * member.probabilities(seen[view]))
        return torch.stack(parts).sum(dim=0)


def with_thresholds(model: Ensemble, thresholds: Mapping[str, float]) -> Ensemble:
    """The same ensemble with other operating points."""
    members, weights = zip(*model.weighted(), strict=True)
    spec = model.spec
    return Ensemble(members, weights, strategy=spec.strategy, thresholds=thresholds, digest=spec.digest)


def of_images(model: Classifier | Ensemble) -> Classifier | Ensemble:
    """A model as one of images, to explain it on them: itself, or the backbone that judges every frame by itself.

    Raises:
        UserError: a sequence model that judges no frame by itself.
    """
    if isinstance(model, Ensemble):
        members, weights = zip(*((of_images(one), weight) for one, weight in model.weighted()), strict=True)
        return model if model.spec.sequence is None else Ensemble(members, weights, strategy=model.spec.strategy).eval()
    if not isinstance(model, SequenceClassifier):
        return model
    if type(model.net) is not PerFrame:
        raise UserError(
            f"Expected a model that judges images by themselves for heatmaps, got the sequence model "
            f"{model.spec.backbone!r}; choose one without a temporal part"
        )
    return Classifier(replace(model.spec, sequence=None), model.net.images).train(model.training)


def check(members: Sequence[Classifier | Ensemble], names: Sequence[str] = ()) -> None:
    """Refuse members that cannot answer for the same images.

    Args:
        members: M classifiers.
        names: (M,) what the error calls them; their backbones and places without.

    Raises:
        UserError: two of them have different classes, channels or dtype; it names both.
    """
    called = names or [f"member {k} ({member.spec.backbone})" for k, member in enumerate(members, start=1)]
    for member, name in zip(members[1:], called[1:], strict=True):
        for key in ("classes", "channels", "dtype"):
            first, other = getattr(members[0].spec, key), getattr(member.spec, key)
            if first != other:
                raise UserError(
                    f"Expected members of an ensemble with the same {key}, got {_shown(first)} of {called[0]} and "
                    f"{_shown(other)} of {name}; leave one of them out"
                )
        if (members[0].spec.sequence is None) != (member.spec.sequence is None):
            raise UserError(
                f"Expected members of an ensemble that all take images or all take sequences, got {called[0]} and "
                f"{name}; leave one of them out"
            )


def save(model: Classifier | Ensemble, folder: str | Path) -> None:
    """Write a classifier as `classifier.save` does; an ensemble as `ensemble.json` and a folder a member (0, 1 ...)."""
    if isinstance(model, Classifier):
        classifiers.save(model, folder)
        return
    target = Path(folder)
    for k, (member, _) in enumerate(model.weighted()):
        classifiers.save(member, target / str(k))
    described = {key: value for key, value in model.spec.to_dict().items() if key in _KEPT}
    (target / ENSEMBLE).write_text(json.dumps(described, indent=2), encoding="utf-8")


def load(folder: str | Path) -> Classifier | Ensemble:
    """Rebuild what `save` wrote, in evaluation mode on the CPU.

    Raises:
        UserError: files missing or unreadable, or weights that do not fit the description.
    """
    source = Path(folder)
    if not (source / ENSEMBLE).is_file():
        return classifiers.load(source)
    try:
        described = json.loads((source / ENSEMBLE).read_text(encoding="utf-8"))
        version, weights = described.pop("version"), described.pop("weights")
        if version > VERSION:
            raise UserError(f"Expected an ensemble of format {VERSION} or older, got {version}: install a newer CellML")
        members = [classifiers.load(source / str(k)) for k in range(len(weights))]
        return Ensemble(members, weights, **described).eval()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"Expected an ensemble's description in {source / ENSEMBLE}, it cannot be read so: "
            f"{' '.join(str(error).split())}; save the ensemble again"
        ) from error


def _parts(member: Classifier | Ensemble, share: float) -> list[tuple[Classifier, float]]:
    if isinstance(member, Classifier):
        return [(member, share)]
    return [(part, share * weight) for part, weight in member.weighted()]


def _shown(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
