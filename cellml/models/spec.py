"""What a classifier says of itself: everything that rebuilds it, beside its weights."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from cellml.errors import UserError
from cellml.models.views import Tta

VERSION = 1


@dataclass(frozen=True)
class Spec:
    """What rebuilds a classifier, beside its weights; plain JSON on disk.

    Attributes:
        backbone: a timm name or torchvision/<name>; of a sequence model also with a temporal part, resnet18+gru.
        classes: the K class names.
        channels: C of the images.
        dtype: of the images.
        size: side in pixels of what the network sees.
        crop: central crop of this side in image pixels before resizing, or None.
        low, high: per channel, the raw values that become 0 and 1; values beyond are not clipped.
        mean, std: per channel, of the 0..1 values.
        options: further keyword options of the backbone.
        dropout: before the last layer, in training.
        attention: blocks within the backbone and their places, as in `model.attention`.
        hidden: units of a hidden layer before the last one; 0: none.
        tta: what is averaged over; flips: the four flips, d4: the eight flips and quarter turns.
        temperature: T of (p e^o)^(1/T) over the averaged probabilities; without averaging it divides the logits.
        offsets: o, a class each, added to the logits before T divides them; empty: none.
        thresholds: operating points by class name; kept for the reader, not applied.
        digest: of the training manifest.
        earlier: digests of the training manifests of the weights that the training started from, latest first.
        strategy: how the training rows were sampled.
        sequence: sizes of a sequence model's parts, {} where it has none of its own; None: a classifier of images.
        decoder: of a sequence model, what finds the best stages over time (`cellml.sequences.decode`); not applied.
        version: of this format.
    """

    backbone: str
    classes: tuple[str, ...]
    channels: int
    dtype: Literal["uint8", "uint16"]
    size: int
    crop: int | None
    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    options: dict[str, Any] = field(default_factory=dict)
    dropout: float = 0.0
    attention: str = "none"
    hidden: int = 0
    tta: Tta = "none"
    temperature: float = 1.0
    offsets: tuple[float, ...] = ()
    thresholds: dict[str, float] = field(default_factory=dict)
    digest: str = ""
    earlier: tuple[str, ...] = ()
    strategy: str = "none"
    sequence: dict[str, Any] | None = None
    decoder: dict[str, Any] | None = None
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.dtype not in ("uint8", "uint16"):
            raise ValueError(f"expected dtype uint8 or uint16, got {self.dtype!r}")
        for name in ("low", "high", "mean", "std"):
            if len(getattr(self, name)) != self.channels:
                raise ValueError(f"expected {self.channels} values in {name}, got {getattr(self, name)}")
        if any(high <= low for low, high in zip(self.low, self.high, strict=True)) or min(self.std) <= 0:
            raise ValueError(f"expected low < high and std > 0, got {self.low}, {self.high}, {self.std}")
        if self.temperature <= 0:
            raise ValueError(f"expected a temperature above 0, got {self.temperature}")
        if len(self.offsets) not in (0, len(self.classes)):
            raise ValueError(f"expected an offset a class or none, got {self.offsets}")

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts, strings and numbers."""
        return json.loads(json.dumps(asdict(self), allow_nan=False))

    def to_json(self) -> str:
        """Plain JSON in ASCII: any character of a class name survives any store."""
        return json.dumps(asdict(self), indent=2, allow_nan=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Spec":
        """Rebuild from `to_dict`.

        Raises:
            UserError: a newer format, or keys missing or unknown.
        """
        if values.get("version", VERSION) > VERSION:
            raise UserError(
                f"Expected a model of format {VERSION} or older, got {values['version']}: install a newer CellML"
            )
        known = {f.name: f for f in fields(cls)}
        unknown = sorted(set(values) - set(known))
        missing = [n for n in ("backbone", "classes", "channels", "dtype", "size", "crop", "low") if n not in values]
        missing += [n for n in ("high", "mean", "std") if n not in values]
        if unknown or missing:
            raise UserError(f"Expected a CellML model's description, found keys missing {missing}, unknown {unknown}")
        fitted: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**fitted)

    @classmethod
    def from_json(cls, text: str) -> "Spec":
        """Rebuild from `to_json`.

        Raises:
            UserError: not JSON, a newer format, or keys missing or unknown.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"Expected a CellML model's description as JSON, got something else: {error}") from error
        if not isinstance(values, dict):
            raise UserError(f"Expected a CellML model's description, got JSON of type {type(values).__name__}")
        return cls.from_dict(values)
