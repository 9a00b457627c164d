"""How sequence models are named: resnet18 frame by frame, resnet18+gru behind it a temporal part, or tracker."""

from collections.abc import Mapping
from typing import Any

from cellml.errors import UserError
from cellml.models import backbones
from cellml.models.temporal import tracker  # noqa: F401 (it registers itself)
from cellml.models.temporal.base import WHOLE
from cellml.models.temporal.parts import PARTS


def split(name: str) -> tuple[str, str]:
    """The image backbone and the temporal part of a name, "" where there is none; ("tracker", "") for the tracker."""
    image, _, part = name.partition("+")
    return image, part


def temporal(name: str) -> bool:
    """Whether a name asks for frames of movies: it has a temporal part, or is a network on sequences."""
    return "+" in name or name in WHOLE


def describe() -> list[tuple[str, str]]:
    """Names of sequence models, and one line about each."""
    return [*WHOLE.describe(), *((f"BACKBONE+{name}", f"any backbone + {line}") for name, line in PARTS.describe())]


def check(name: str, options: Mapping[str, Any]) -> None:
    """Check the name of a backbone or sequence model and its options without building anything.

    Raises:
        UserError: an unknown name or temporal part, with near ones, or an option that another key sets.
    """
    image, part = split(name)
    if image in WHOLE:
        if part or options:
            raise UserError(
                f"Expected {image!r} alone, got {name!r} with model.options {dict(options)}; leave them out"
            )
        return
    if "+" in name:
        PARTS[part]
    backbones.check(image, options)
