"""Classifiers: raw images, or sequences of them, in, class probabilities out, with what rebuilds them stored beside."""

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from cellml.data import geometry
from cellml.errors import UserError
from cellml.models import backbones
from cellml.models.spec import VERSION, Spec
from cellml.models.temporal import networks
from cellml.models.temporal.base import SequenceNet
from cellml.models.views import views

__all__ = [
    "ENSEMBLE", "SPEC", "VERSION", "WEIGHTS", "Classifier", "SequenceClassifier", "Spec", "build", "calibrated", "load",
    "save",
]  # fmt: skip

WEIGHTS, SPEC = "weights.safetensors", "model.json"
ENSEMBLE = "ensemble.json"  # beside the folders of several classifiers, see `cellml.models.ensemble`


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

    def denormalise(self, seen: torch.Tensor) -> torch.Tensor:
        """Raw pixel values of normalised images, what `normalise` had; values beyond the type's are not clipped."""
        return (seen * self.std + self.mean) * self.scale + self.low

    def logits(self, prepared: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) of prepared raw pixel values (N, C, S, S), before offsets and temperature."""
        return self.net(self.normalise(prepared))

    def probabilities(self, prepared: torch.Tensor) -> torch.Tensor:
        """Float32 (N, K) of prepared raw pixel values (N, C, S, S): averaged over the views, then to the power 1/T."""
        if self.spec.tta == "none":
            return self._softmax(self.logits(prepared))
        seen = views(prepared, self.spec.tta)
        said = torch.log_softmax(self.logits(torch.cat(seen)).float(), dim=-1)
        return self._softmax(said.unflatten(0, (len(seen), -1)).logsumexp(dim=0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities, float32 (N, K)."""
        return self.probabilities(self.prepare(images))

    def embed(self, prepared: torch.Tensor) -> torch.Tensor:
        """What the last layer sees, (N, D), of prepared raw pixel values; no test-time averaging."""
        return backbones.embed(self.net, self.normalise(prepared))

    def _softmax(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.softmax(calibrated(self.spec, logits), dim=-1)


class SequenceClassifier(Classifier):
    """Raw sequences (N, T, H, W, C), uint8 or uint16, to probabilities of each frame's class (N, T, K).

    What a classifier does to images it does to frames: its methods take and give one more axis, T, after N. It can be
    exported with `torch.export`, N, T, H and W dynamic; all sequences of a call have one length.
    """

    net: SequenceNet

    def __init__(self, spec: Spec, net: SequenceNet) -> None:
        super().__init__(spec, net)

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Cropped and resized raw pixel values, float32 (N, T, C, S, S), of sequences (N, T, H, W, C)."""
        return super().prepare(images.flatten(0, 1)).unflatten(0, images.shape[:2])

    def logits(self, prepared: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (N, T, K) of prepared raw pixel values (N, T, C, S, S), before offsets and temperature.

        Args:
            prepared: frames beyond a sequence's length are padding.
            lengths: (N,) how many frames each sequence has; None: all T.
        """
        return self.net(self.normalise(prepared), lengths)

    def embed(self, prepared: torch.Tensor) -> torch.Tensor:
        """Refused: what a sequence model's last layer sees belongs to a frame within its sequence.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"Expected a classifier of images to embed with, got the sequence model {self.spec.backbone!r}; choose one "
            "of images"
        )


def calibrated(spec: Spec, logits: torch.Tensor) -> torch.Tensor:
    """Float32 logits (N, K) after a classifier's offsets and temperature."""
    logits = logits.float()
    if spec.offsets:
        logits = logits + torch.tensor(spec.offsets, device=logits.device)
    return logits / spec.temperature


def build(spec: Spec, weights: str | Mapping[str, torch.Tensor] = "none") -> Classifier:
    """A classifier, of sequences where the spec says so, with a new network.

    For the weights and what it raises see `backbones.create` and `networks.create`.
    """
    return _around(spec, _network(spec, weights, probe=True))


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
    net = _network(spec, "none", probe=False)
    try:
        net.load_state_dict(safetensors.torch.load_file(source / WEIGHTS))
    except (safetensors.SafetensorError, RuntimeError) as error:
        line = str(error).strip().splitlines()[0]
        raise UserError(f"The weights in {source} do not fit its {SPEC}: {line}; save the model again") from error
    return _around(spec, net).eval()


def _network(spec: Spec, weights: str | Mapping[str, torch.Tensor], *, probe: bool) -> nn.Module:
    if spec.sequence is not None:
        return networks.create(
            spec.backbone,
            channels=spec.channels,
            num_classes=len(spec.classes),
            size=spec.size,
            sizes=spec.sequence,
            weights=weights,
            dropout=spec.dropout,
            options=spec.options,
            attention=spec.attention,
            probe=probe,
        )
    return backbones.create(
        spec.backbone,
        channels=spec.channels,
        num_classes=len(spec.classes),
        size=spec.size,
        weights=weights,
        dropout=spec.dropout,
        options=spec.options,
        attention=spec.attention,
        hidden_units=spec.hidden,
        probe=probe,
    )


def _around(spec: Spec, net: nn.Module) -> Classifier:
    return SequenceClassifier(spec, net) if isinstance(net, SequenceNet) else Classifier(spec, net)


def _column(values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None, None]
