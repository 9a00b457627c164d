"""Timm's models: names, construction, and whether their pretrained weights can be had."""

import socket
import urllib.parse
import urllib.request
from typing import Any

import huggingface_hub
import huggingface_hub.constants
from torch import nn

from cellml.errors import UserError, near
from cellml.vision import timm

_FILES = ("model.safetensors", "pytorch_model.bin")


def names() -> list[str]:
    """Every timm model, without the tags of its pretrained weights."""
    return timm.list_models()


def describe(name: str) -> str:
    """One line about a timm model."""
    family = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
    config = timm.models.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        return f"timm {family}, no pretrained weights"
    return f"timm {family}, trained at {config.input_size[-1]} px"


def check(name: str, others: list[str]) -> None:
    """Check a name and its optional `.tag`.

    Raises:
        UserError: unknown; near names are looked for among timm's and the others.
    """
    if not timm.is_model(name):
        raise UserError(f"Unknown backbone {name!r}: {near(name, [*names(), *others])}")
    bare, _, tag = name.partition(".")
    known = timm.list_models(f"{bare}.*", pretrained=True)
    if tag and name not in known:
        raise UserError(f"Unknown pretrained tag of backbone {name!r}: {near(name, known) if known else 'it has none'}")


def build(
    name: str,
    channels: int,
    num_classes: int,
    *,
    size: int,
    dropout: float,
    options: dict[str, Any],
    pretrained: bool,
) -> nn.Module:
    """A timm model, fresh or with its pretrained trunk (its own adaptation of the first layer and the positions).

    Args:
        name: checked before.
        channels: of the input.
        num_classes: K.
        size: side of the input in pixels, passed on to families that must know it.
        dropout: before the last layer.
        options: further keyword options of the family's constructor.
        pretrained: load the published weights.

    Raises:
        UserError: there are no published weights.
        OSError: they cannot be downloaded.
        TypeError: an option that the family does not take.
    """
    if pretrained:
        _check_download(name)
    given = {"img_size": size, "in_chans": channels, "num_classes": num_classes, "drop_rate": dropout, **options}
    while True:
        try:
            return timm.create_model(name, pretrained=pretrained, **given)
        except TypeError as error:
            spare = ["img_size"] if dropout else ["img_size", "drop_rate"]  # what some families do not know
            refused = [key for key in spare if key in given and key not in options and key in str(error)]
            if not refused:
                raise
            del given[refused[0]]


def normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation per channel that the published weights expect; None where timm knows none."""
    config = timm.models.get_pretrained_cfg(name)
    return None if config is None else (tuple(config.mean), tuple(config.std))


def _check_download(name: str) -> None:
    config = timm.models.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise UserError(f"The backbone {name!r} has no pretrained weights; set model.weights to none or a local file")
    hub = config.hf_hub_id
    if not hub or urllib.request.getproxies():
        return
    if not any(isinstance(huggingface_hub.try_to_load_from_cache(hub, file), str) for file in _FILES):
        # huggingface_hub retries an unknown host for most of a minute; this fails at once
        socket.getaddrinfo(urllib.parse.urlparse(huggingface_hub.constants.ENDPOINT).hostname, 443)
