"""What the `counterfactual` entry point takes, and what goes together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.errors import UserError, near
from cellml.explain import counterfactual
from cellml.explain.counterfactual import latent
from cellml.models.classifier import Classifier


@dataclass(frozen=True)
class Settings:
    """What is changed into what.

    Attributes:
        method: a member of `counterfactual.METHODS`, "" for the first one that suits the network.
        source: class that cells come from, "" for each.
        target: class that they go to, "" for each.
        count: cells a pair of classes at most.
        channels: names of the channels for sheets and tables.
        seed: which cells.
    """

    method: str = ""
    source: str = ""
    target: str = ""
    count: int = 200
    channels: tuple[str, ...] = ()
    seed: int = 0

    @classmethod
    def parsed(cls, given: Mapping[str, str]) -> "Settings":
        """From the texts of a command line, "" standing for the default.

        Raises:
            UserError: a count that is no whole number above 0.
        """
        texts = {name: text.strip() for name, text in given.items()}
        count = texts.get("count") or str(cls.count)
        if not count.isdigit() or not int(count):
            raise UserError(f"Expected a whole number above 0 as count, got {count!r}; give count=20, say")
        channels = tuple(name.strip() for name in texts.get("channels", "").split(",") if name.strip())
        method, source, target = (texts.get(name, "") for name in ("method", "source", "target"))
        if source and source == target:
            raise UserError(f"Expected a source and a target class that differ, got {source!r} twice; name another one")
        if method:
            counterfactual.METHODS[method]
        return cls(method, source, target, int(count), channels)


def pairs(classes: Sequence[str], settings: Settings) -> list[tuple[str, str]]:
    """The pairs of classes that are asked for, in their order."""
    chosen = [
        (source, target)
        for source, target in permutations(classes, 2)
        if settings.source in ("", source) and settings.target in ("", target)
    ]
    if not chosen:
        raise UserError(
            f"Expected a source and a target class that differ, got {settings.source!r} and {settings.target!r}; name "
            "other ones"
        )
    return chosen


def check(model: Classifier, judge: Classifier, dataset: Dataset, settings: Settings) -> None:
    """Refuse what does not go together, before anything is computed.

    Raises:
        UserError: see `run`.
    """
    spec, other = model.spec, judge.spec
    for name in (settings.source, settings.target):
        if name and name not in spec.classes:
            raise UserError(
                f"Expected a class of the model, got {name!r}: {near(name, spec.classes)}; name one of them"
            )
    if settings.method in latent.METHODS_OF_EMBEDDINGS:
        latent.generative(model)
    if other.classes != spec.classes or (other.channels, other.dtype) != (spec.channels, spec.dtype):
        raise UserError(
            f"Expected a judge of the classes {list(spec.classes)} on {spec.channels}-channel {spec.dtype} images, got "
            f"{list(other.classes)} on {other.channels}-channel {other.dtype} ones; name another judge"
        )
    if other.crop != spec.crop:
        raise UserError(
            f"Expected a judge that looks at the same part of the image, input.crop {spec.crop}, got {other.crop}; "
            "name another judge"
        )
    if settings.channels and len(settings.channels) != spec.channels:
        raise UserError(f"Expected {spec.channels} names of channels, got {len(settings.channels)}")
    if not len(shown(dataset)):
        raise UserError("Expected test or validation rows to change, found none; set split.test or split.validation")


def shown(dataset: Dataset) -> Manifest:
    """The cells that are changed: test rows, or validation rows where there are none."""
    test = dataset.manifest.split("test")
    return test if len(test) else dataset.manifest.split("val")
