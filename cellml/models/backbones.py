"""Backbones by name: any timm model, any torchvision classifier as torchvision/<name>, and some of our own."""

import sys
import urllib.error
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from cellml.errors import UserError
from cellml.models import hidden, hub, own, placement, zoo
from cellml.models import weights as files
from cellml.models.generative import Generative

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
_FAULTS = (RuntimeError, ValueError, AssertionError, IndexError, ZeroDivisionError)  # of a size that does not fit
_RESERVED = {
    "in_chans": "the images decide",
    "num_classes": "the classes decide",
    "pretrained": "set model.weights",
    "weights": "set model.weights",
    "checkpoint_path": "set model.weights",
    "drop_rate": "set model.dropout",
    "features_only": "a classifier needs its head",
}


def names() -> list[str]:
    """Every name that may stand in `model.backbone`: timm's, then torchvision's, then our own."""
    return [*hub.names(), *zoo.names(), *own.OWN]


def describe() -> list[tuple[str, str]]:
    """Each backbone's name and one line about it."""
    found = [(name, hub.describe(name)) for name in hub.names()]
    return found + [(name, "torchvision, trained on ImageNet") for name in zoo.names()] + own.OWN.describe()


def create(
    name: str,
    *,
    channels: int,
    num_classes: int,
    size: int,
    weights: str | Mapping[str, torch.Tensor] = "none",
    dropout: float = 0.0,
    options: Mapping[str, Any] | None = None,
    attention: str = "none",
    hidden_units: int = 0,
    probe: bool = True,
) -> nn.Module:
    """Build a network that maps normalised float images (N, C, S, S) to logits (N, K).

    Fresh parameters come from torch's global generator: seed it first.

    Args:
        name: a timm model (with `.tag` to choose among pretrained weights), torchvision/<name>, or one of our own.
        channels: C.
        num_classes: K.
        size: S in pixels; passed on to families that must know it.
        weights: none, pretrained, a local file, or tensors by key. The trunk must fit; a first convolution for
            another number of channels is adapted; the last layer is taken only where its shape agrees.
        dropout: before the last layer.
        options: further keyword options of the family's constructor.
        attention: blocks and their places, as in `model.attention`; the trunk's weights need not hold them.
        hidden_units: of a hidden layer before the last one, 0 for none; taken from weights that hold it in this shape.
        probe: try the network on one blank image.

    Returns:
        The network in training mode.

    Raises:
        UserError: an unknown name or option, weights that cannot be had or do not fit, an input size that the
            family cannot take, or a place for attention or a hidden layer that it does not have.
    """
    options = dict(options or {})
    download = isinstance(weights, str) and weights == "pretrained"
    check(name, options)
    try:
        net, state = _build(name, channels, num_classes, size=size, dropout=dropout, options=options, download=download)
    except OSError as error:
        raise _no_download(name, error) from error
    except TypeError as error:
        if not options:
            raise
        raise UserError(f"The backbone {name!r} does not take model.options {options}: {_line(error)}") from error
    except _FAULTS as error:
        raise UserError(
            f"The backbone {name!r} cannot be built for {size} x {size} pixels with model.options {options}: "
            f"{_line(error)}; set input.size or model.options to what it takes"
        ) from error
    if isinstance(weights, Mapping):
        state = dict(weights)
    elif weights not in ("none", "pretrained"):
        state = files.read(weights)
    source = weights if isinstance(weights, str) else "given"
    taken_out = (hidden.PREFIX,) if attention == placement.NONE else (hidden.PREFIX, placement.PREFIX)
    if state is not None:
        _load(name, net, {k: v for k, v in state.items() if not k.startswith(taken_out)}, source)
    if probe:
        _probe(name, net, channels, num_classes, size)
    if isinstance(net, Generative) and (attention != placement.NONE or hidden_units):
        raise UserError(
            f"The backbone {name!r} must find its way back from an embedding: it takes no model.attention and no "
            "model.mode head; set attention to none and mode to finetune or frozen"
        )
    heads = last_layers(net)
    placement.insert(name, net, attention, [layer for _, layer in heads], channels, size)
    hidden.insert(name, net, hidden_units, heads)
    if state is not None and attention != placement.NONE:
        placement.load(net, {k: v for k, v in state.items() if k.startswith(placement.PREFIX)}, source)
    hidden.load(net, state or {}, [key for key, _ in heads])
    return net.train()


def normalisation(name: str, weights: str, channels: int) -> Normalisation | None:
    """Mean and standard deviation per channel that the weights expect of input in 0..1.

    Args:
        name: the backbone.
        weights: none, pretrained or a local file, taken to follow its architecture's habit. (A registered model's
            own description tells its values: do not ask here.)
        channels: C; for another number than the weights' own, their values are repeated in turn, for one averaged.

    Returns:
        Two tuples of C values, or None where there are no earlier weights: measure the training rows.

    Raises:
        UserError: an unknown backbone.
    """
    check(name, {})
    if weights == "none" or name in own.OWN:
        return None
    known = zoo.normalisation(name) if name.startswith(zoo.PREFIX) else hub.normalisation(name)
    mean, std = known or zoo.IMAGENET
    if channels == 1:
        return (sum(mean) / len(mean),), (sum(std) / len(std),)
    turn = [k % len(mean) for k in range(channels)]
    return tuple(mean[k] for k in turn), tuple(std[k] for k in turn)


def last_layers(net: nn.Module) -> list[tuple[str, nn.Linear | nn.Conv2d]]:
    """The layers that give the logits, with their dotted names: one, or several where a family averages heads.

    Each is a linear layer (N, D) -> (N, K), or a 1 x 1 convolution that does the same.
    """
    key = zoo.head(net)
    if key is not None:
        within: Any = (net.get_submodule(key),)
    else:
        within = net.get_classifier()  # type: ignore[operator]  # timm's
        within = within if isinstance(within, tuple) else (within,)
    inner = {id(module) for head in within for module in head.modules()}
    return [
        (key, module)
        for key, module in net.named_modules()
        if id(module) in inner and isinstance(module, nn.Linear | nn.Conv2d) and len(module.weight) == net.num_classes
    ]


def embed(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What the last layer sees, (N, D) of normalised images (N, C, S, S); several heads' inputs side by side.

    Hooks are set for the call: not for use in an exported program.
    """
    layers = [layer for _, layer in last_layers(net)]
    seen: dict[int, torch.Tensor] = {}
    handles = [
        layer.register_forward_pre_hook(lambda _, inputs, k=k: seen.__setitem__(k, inputs[0].flatten(1)))
        for k, layer in enumerate(layers)
    ]
    try:
        net(x)
    finally:
        for handle in handles:
            handle.remove()
    return torch.cat([seen[k] for k in range(len(layers))], dim=1)


def check(name: str, options: Mapping[str, Any]) -> None:
    """Check a name and its options without building anything.

    Raises:
        UserError: an unknown name, with near ones, or an option that another key of the experiment file sets.
    """
    if name.startswith(zoo.PREFIX):
        zoo.check(name)
    elif name not in own.OWN:
        hub.check(name, [*zoo.names(), *own.OWN])
    for key in options:
        if key in _RESERVED:
            raise UserError(f"model.options cannot hold {key!r}: {_RESERVED[key]}; remove it")


def _build(
    name: str, channels: int, num_classes: int, *, size: int, dropout: float, options: dict[str, Any], download: bool
) -> tuple[nn.Module, files.State | None]:
    """The network, and published weights that it does not hold yet."""
    given: dict[str, Any] = {"size": size, "dropout": dropout, "options": options}
    if name.startswith(zoo.PREFIX):
        return zoo.build(name, channels, num_classes, **given), zoo.pretrained(name) if download else None
    if name not in own.OWN:
        return hub.build(name, channels, num_classes, **given, pretrained=download), None
    if download:
        raise UserError(f"The backbone {name!r} has no pretrained weights; set model.weights to none or a local file")
    return own.build(name, channels, num_classes, **given), None


def _no_download(name: str, error: OSError) -> UserError:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return UserError(
        f"The pretrained weights of {name!r} could not be downloaded ({_line(reason)}): connect, or set model.weights "
        "to a local .safetensors, .npz or .pth file, or to none"
    )


def _load(name: str, net: nn.Module, state: files.State, source: str) -> None:
    heads = [key for key, _ in last_layers(net)]
    try:
        state = _converted(name, net, state)
    except (*_FAULTS, KeyError) as error:
        raise UserError(
            f"The weights {source} do not fit the backbone {name!r} ({_line(error)}); set model.weights to a file of "
            "this architecture, or model.backbone to the file's"
        ) from error
    files.fit_into(net, state, heads, source)


def _converted(name: str, net: nn.Module, state: files.State) -> files.State:
    if name.startswith(zoo.PREFIX):
        return zoo.without_side_heads(state)
    convert = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)  # timm's habit
    now = net.state_dict()
    if convert is None or (set(state) == set(now) and all(state[k].shape == v.shape for k, v in now.items())):
        return state
    return dict(convert(state, net))


def _probe(name: str, net: nn.Module, channels: int, num_classes: int, size: int) -> None:
    net.eval()
    try:
        with torch.no_grad():
            logits = net(torch.zeros(1, channels, size, size))
    except _FAULTS as error:
        config = getattr(net, "pretrained_cfg", None) or {}
        own = f"; it was designed for {config['input_size'][-1]}" if config.get("input_size") else ""
        raise UserError(
            f"The backbone {name!r} cannot take {channels}-channel images of {size} x {size} pixels{own}: "
            f"set input.size to a side that it takes ({_line(error)})"
        ) from error
    if logits.shape != (1, num_classes):
        raise UserError(f"The backbone {name!r} is no classifier: expected {num_classes} logits, got {logits.shape}")


def _line(error: object) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0][:200]
