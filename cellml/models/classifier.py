"""The classifier: raw images in, class probabilities out, with everything it needs to know stored beside it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import torch
from torch import nn

from cellml.data import geometry
from cellml.errors import UserError
from cellml.models import backbones
from cellml.models.views import Tta, views

VERSION = 1
WEIGHTS, SPEC = "weights.safetensors", "model.json"
ENSEMBLE = "ensemble.json"  # beside the folders of several classifiers, see `cellml.models.ensemble`


@dataclass(frozen=True)
class Spec:
    """What rebuilds a classifier, beside its weights; plain JSON on disk.

    Attributes:
        backbone: a timm name or torchvision/<name>.
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


class Classifier(nn.Module):
    """Raw images (N, H, W, C), uint8 or uint16, to probabilities (N, K); N, H and W may change from call to call.

    It can be exported with `torch.export`, all three dynamic.
    """

    low: torch.Tensor
    scale: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, spec: Spec, net: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.net = net
        low, high = _column(spec.low), _column(spec.high)
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("scale", high - low, persistent=False)
        self.register_buffer("mean", _column(spec.mean), persistent=False)
        self.register_buffer("std", _column(spec.std), persistent=False)

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Cropped and resized raw pixel values, float32 (N, C, S, S), of images (N, H, W, C)."""
        return geometry.fit(images, self.spec.crop, self.spec.size)

    def normalise(self, prepared: torch.Tensor) -> torch.Tensor:
        """What the network sees, of prepared raw pixel values: ((x - low) / (high - low) - mean) / std."""
        return ((prepared - self.low) / self.scale - self.mean) / self.std

    def logits(self, prepared: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) of prepared raw pixel values (N, C, S, S), before offsets and temperature."""
        return self.net(self.normalise(prepared))

    def probabilities(self, prepared: torch.Tensor) -> torch.Tensor:
        """Float32 (N, K) of prepared raw pixel values (N, C, S, S): averaged over the views, then to the power 1/T."""
        if self.spec.tta == "none":
            return self._softmax(self.logits(prepared))
        seen = views(prepared, self.spec.tta)
        said = torch.log_softmax(self.logits(torch.cat(seen)).float(), dim=1)
        return self._softmax(said.reshape(len(seen), -1, len(self.spec.classes)).logsumexp(dim=0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities, float32 (N, K)."""
        return self.probabilities(self.prepare(images))

    def embed(self, prepared: torch.Tensor) -> torch.Tensor:
        """What the last layer sees, (N, D), of prepared raw pixel values; no test-time averaging."""
        return backbones.embed(self.net, self.normalise(prepared))

    def _softmax(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.softmax(calibrated(self.spec, logits), dim=1)


def calibrated(spec: Spec, logits: torch.Tensor) -> torch.Tensor:
    """Float32 logits (N, K) after a classifier's offsets and temperature."""
    logits = logits.float()
    if spec.offsets:
        logits = logits + torch.tensor(spec.offsets, device=logits.device)
    return logits / spec.temperature


def build(spec: Spec, weights: str | Mapping[str, torch.Tensor] = "none") -> Classifier:
    """A classifier with a new network; see `backbones.create` for the weights and what it raises."""
    net = backbones.create(
        spec.backbone,
        channels=spec.channels,
        num_classes=len(spec.classes),
        size=spec.size,
        weights=weights,
        dropout=spec.dropout,
        options=spec.options,
        attention=spec.attention,
        hidden_units=spec.hidden,
    )
    return Classifier(spec, net)


def save(classifier: Classifier, folder: str | Path) -> None:
    """Write `weights.safetensors` (the network's tensors) and `model.json` into a folder."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in classifier.net.state_dict().items()}
    safetensors.torch.save_file(state, target / WEIGHTS)
    (target / SPEC).write_text(classifier.spec.to_json(), encoding="utf-8")


def load(folder: str | Path) -> Classifier:
    """Rebuild what `save` wrote, in evaluation mode on the CPU.

    Raises:
        UserError: files missing or unreadable, weights that do not fit the description, or an ensemble.
    """
    source = Path(folder)
    if (source / ENSEMBLE).is_file():
        raise UserError(f"Expected a single classifier, found an ensemble in {source}; name one of its members' models")
    for name in (SPEC, WEIGHTS):
        if not (source / name).is_file():
            raise UserError(f"Expected a saved model with {SPEC} and {WEIGHTS}, found no {name} in {source}")
    spec = Spec.from_json((source / SPEC).read_text(encoding="utf-8"))
    net = backbones.create(
        spec.backbone,
        channels=spec.channels,
        num_classes=len(spec.classes),
        size=spec.size,
        dropout=spec.dropout,
        options=spec.options,
        attention=spec.attention,
        hidden_units=spec.hidden,
        probe=False,
    )
    try:
        net.load_state_dict(safetensors.torch.load_file(source / WEIGHTS))
    except (safetensors.SafetensorError, RuntimeError) as error:
        line = str(error).strip().splitlines()[0]
        raise UserError(f"The weights in {source} do not fit its {SPEC}: {line}; save the model again") from error
    return Classifier(spec, net).eval()


def _column(values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None, None]
