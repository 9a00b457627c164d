"""Torchvision's classifiers with any number of input channels and an exchangeable last layer."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from cellml.errors import UserError, near
from cellml.vision import torchvision

PREFIX = "torchvision/"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_INCEPTIONS = ("googlenet", "inception_v3")  # trained in [-1, 1]
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # side heads that only their own training recipe uses


class Linear(nn.Linear):
    """A linear layer behind dropout, under a plain linear layer's key names."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__(inputs, outputs)
        self.dropout = dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, (N, K) of (N, D)."""
        return super().forward(functional.dropout(x, self.dropout, self.training))


def names() -> list[str]:
    """Every torchvision classifier, as torchvision/<name>."""
    return [PREFIX + name for name in torchvision.models.list_models(module=torchvision.models)]


def check(name: str) -> None:
    """Check a name.

    Raises:
        UserError: unknown.
    """
    if name not in names():
        raise UserError(f"Unknown backbone {name!r}: {near(name, names())}")


def build(
    name: str, channels: int, num_classes: int, *, size: int, dropout: float, options: dict[str, Any]
) -> nn.Module:
    """A freshly initialised torchvision classifier.

    Its last layer is `Linear` under the family's own key; SqueezeNet's classifying convolution becomes pooling and a
    linear layer (`classifier.2`), the same function when the convolution is followed by no ReLU. Inceptions have no
    side heads and no input transform: normalising is the caller's.

    Args:
        name: torchvision/<name>.
        channels: of the input; another number than 3 replaces the first convolution.
        num_classes: K.
        size: side of the input in pixels, for families that fix it.
        dropout: before the last layer, and of the family's own dropout layers in its head.
        options: further keyword options of the family's constructor.

    Raises:
        TypeError: an option that the family does not take.
        ValueError: a size that the family cannot be built for.
    """
    bare = name.removeprefix(PREFIX)
    options = dict(options)
    if bare in _INCEPTIONS:
        options = {"aux_logits": False, "transform_input": False, "init_weights": True} | options
    if bare.startswith("vit_"):
        options = {"image_size": size} | options
    if bare.startswith("maxvit"):
        options = {"input_size": (size, size)} | options
    net = torchvision.models.get_model(bare, weights=None, num_classes=num_classes, **options)
    _replace_head(net, num_classes, dropout)
    net.num_classes = num_classes
    if channels != 3:
        _change_first_convolution(net, channels)
    return net


def head(net: nn.Module) -> str | None:
    """The dotted name of the last layer of a network made by `build`; None for any other."""
    return next((key for key, module in net.named_modules() if isinstance(module, Linear)), None)


def pretrained(name: str) -> dict[str, torch.Tensor]:
    """The default ImageNet weights, from torchvision's cache or server.

    Raises:
        OSError: no connection.
    """
    weights = torchvision.models.get_model_weights(name.removeprefix(PREFIX)).DEFAULT
    return dict(weights.get_state_dict(progress=False, check_hash=True))


def without_side_heads(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state without the auxiliary heads of GoogLeNet and Inception v3."""
    return {key: value for key, value in state.items() if not key.startswith(_AUXILIARY)}


def normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of 0..1 input that the ImageNet weights were trained with."""
    return _HALF if name.removeprefix(PREFIX) in _INCEPTIONS else IMAGENET


def _replace_head(net: nn.Module, num_classes: int, dropout: float) -> None:
    if isinstance(net, torchvision.models.SqueezeNet):
        net.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), Linear(512, num_classes, dropout))
        return
    key, old = [(key, module) for key, module in net.named_modules() if isinstance(module, nn.Linear)][-1]
    parent = net.get_submodule(key.rpartition(".")[0])
    own = [module for module in parent.children() if isinstance(module, nn.Dropout)]
    for module in own:
        module.p = dropout
    net.set_submodule(key, Linear(old.in_features, num_classes, 0.0 if own else dropout))


def _change_first_convolution(net: nn.Module, channels: int) -> None:
    first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    first.in_channels = channels
    first.weight = nn.Parameter(torch.empty(first.out_channels, channels, *first.kernel_size))
    nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
