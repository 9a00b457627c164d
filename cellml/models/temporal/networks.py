"""Making sequence models: an image backbone on every frame, with or without a temporal part, or one by itself."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cellml.errors import UserError
from cellml.models import backbones, placement
from cellml.models import weights as files
from cellml.models.temporal import names
from cellml.models.temporal.base import WHOLE, Said, SequenceNet, real
from cellml.models.temporal.parts import PARTS

IMAGES = "images"  # the image backbone within a sequence model
PREFIX = f"{IMAGES}."  # of its tensors


class PerFrame(SequenceNet):
    """An image backbone on every frame by itself; frames that are padding are not looked at.

    Args:
        images: (M, C, S, S) -> (M, D).
        num_classes: K.
    """

    def __init__(self, images: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.images = images
        self.num_classes = num_classes

    def run(
        self, frames: Tensor, lengths: Tensor | None = None, state: tuple[Tensor, ...] = (), draw: bool = False
    ) -> Said:
        """See `SequenceNet.run`."""
        return Said(self.seen(frames, lengths))

    def seen(self, frames: Tensor, lengths: Tensor | None) -> Tensor:
        """What the backbone gives of each frame, (N, T, D), 0 for padding."""
        count, length = frames.shape[:2]
        flat = frames.flatten(0, 1)
        if lengths is None:
            return self.images(flat).flatten(1).unflatten(0, (count, length))
        inside = real(lengths, length).flatten().nonzero().flatten()
        found = self.images(flat.index_select(0, inside)).flatten(1)
        padded = found.new_zeros(count * length, found.shape[1])
        return padded.index_copy(0, inside, found).unflatten(0, (count, length))


class Embedded(PerFrame):
    """An image backbone without its last layer, a temporal part on its embeddings, and a last layer of its own.

    Args:
        images: (M, C, S, S) -> (M, D).
        part: (N, T, D) -> (N, T, W).
        num_classes: K.
        dropout: before the last layer.
    """

    def __init__(self, images: nn.Module, part: Any, num_classes: int, dropout: float) -> None:
        super().__init__(images, num_classes)
        self.part = part
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(part.width, num_classes))

    def run(
        self, frames: Tensor, lengths: Tensor | None = None, state: tuple[Tensor, ...] = (), draw: bool = False
    ) -> Said:
        """See `SequenceNet.run`."""
        return Said(self.head(self.part(self.seen(frames, lengths), lengths)))


def sizes_of(name: str, units: int, layers: int, tracked: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the sizes in the experiment's `sequence` section that a model by this name has, as its spec keeps them.

    Args:
        name: of the model.
        units: of the temporal part, or of the tracker's head.
        layers: of the temporal part.
        tracked: encoder, hidden, decoder and norm of the tracker.
    """
    image, part = names.split(name)
    if image in WHOLE:
        return {"units": units, "tracker": {key: tracked[key] for key in ("encoder", "hidden", "decoder", "norm")}}
    return {"units": units, "layers": layers} if part else {}


def create(
    name: str,
    *,
    channels: int,
    num_classes: int,
    size: int,
    sizes: Mapping[str, Any],
    weights: str | Mapping[str, torch.Tensor] = "none",
    dropout: float = 0.0,
    options: Mapping[str, Any] | None = None,
    attention: str = "none",
    probe: bool = True,
) -> SequenceNet:
    """Build a network that maps normalised frames (N, T, C, S, S) to logits (N, T, K).

    Args:
        name: an image backbone, one with a temporal part such as resnet18+gru, or tracker.
        channels: C.
        num_classes: K.
        size: S in pixels.
        sizes: as `sizes_of` gives them.
        weights: none, pretrained, a local file, or tensors by key. Those of an image classifier go into the image
            backbone; of a sequence model's, what fits by name and shape is taken beside it.
        dropout: before the last layer.
        options: further keyword options of the image backbone.
        attention: blocks within the image backbone.
        probe: try the image backbone on one blank image.

    Returns:
        The network in training mode.

    Raises:
        UserError: as `names.check` and `backbones.create` do, or sizes, weights or attention that do not fit.
    """
    names.check(name, options or {})
    image, part = names.split(name)
    state = _state(weights, image)
    if image in WHOLE:
        if attention != placement.NONE:
            raise UserError(f"Expected model.attention none for {name!r}, got {attention!r}; leave it out")
        net = WHOLE[image](channels, num_classes, size, dropout, sizes)
        _take(net, state, str(weights) if isinstance(weights, str) else "given")
        return net.train()
    own = {key.removeprefix(PREFIX): value for key, value in state.items() if key.startswith(PREFIX)}
    made = backbones.create(
        image,
        channels=channels,
        num_classes=num_classes,
        size=size,
        weights=own or state or weights,
        dropout=0.0 if part else dropout,
        options=options,
        attention=attention,
        probe=probe,
    )
    if not part:
        return PerFrame(made, num_classes).train()
    width = _behead(name, made, attention)
    temporal = PARTS[part](width, units=sizes["units"], layers=sizes["layers"])
    net = Embedded(made, temporal, num_classes, dropout)
    if own:
        _take(net, {key: value for key, value in state.items() if not key.startswith(PREFIX)}, "")
    return net.train()


def _state(weights: str | Mapping[str, torch.Tensor], image: str) -> Mapping[str, torch.Tensor]:
    if isinstance(weights, Mapping):
        return weights
    if image in WHOLE and weights == "pretrained":
        raise UserError(f"Expected model.weights none, a local file or models:/... for {image!r}, got pretrained")
    return files.read(weights) if weights not in ("none", "pretrained") else {}


def _take(net: nn.Module, state: Mapping[str, torch.Tensor], source: str) -> None:
    """Load what fits by name and shape; with a source to name, refuse where nothing does."""
    own = net.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    if source and state and not fitting:
        raise UserError(
            f"The weights {source} hold no tensor of this model; set model.weights to a file of this architecture, or "
            "to none"
        )
    net.load_state_dict(fitting, strict=False)


def _behead(name: str, net: nn.Module, attention: str) -> int:
    """Take the last layer out of an image backbone; returns how many values it saw."""
    heads = backbones.last_layers(net)
    if len(heads) != 1 or any(place == placement.POOL for _, place in placement.parse(attention)):
        raise UserError(
            f"Expected a backbone with one last layer and no attention at {placement.POOL} for {name!r}; choose another"
        )
    ((key, layer),) = heads
    net.set_submodule(key, nn.Identity())
    return layer.weight.shape[1]
