"""What the `movie` entry point takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cellml.errors import UserError, near
from cellml.sequences.tracked import Link

RATE = 10.0  # frames a second


@dataclass(frozen=True)
class Settings:
    """A movie, where its cells are, and how it is shown.

    Attributes:
        movie: folder of frames, TIFF of several pages, or .npy.
        tracks, outlines, masks, link, distance, columns, first: as `cellml.sequences.tracked.read` takes them.
        channels: of the movie that the model sees, in its order; None: all.
        window: side in pixels of the square around a cell that the model sees; None: the model's crop, else twice the
            median size of the cells.
        track: name of a track that gets a movie of its own, "" for none.
        attribution: name of an explainer whose maps are laid over the cells, "" for none.
        mitotic: stages that count for the mitotic index; empty: those that are called so.
        interval: minutes between frames, None where unknown.
        rate: frames a second of the movies made.
        caption: a warning that stands in every movie and figure, "" for none.
    """

    movie: str
    tracks: str = ""
    outlines: str = ""
    masks: str = ""
    link: Link = "auto"
    distance: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    first: int | None = None
    channels: tuple[int, ...] | None = None
    window: int | None = None
    track: str = ""
    attribution: str = ""
    mitotic: tuple[str, ...] = ()
    interval: float | None = None
    rate: float = RATE
    caption: str = ""

    @classmethod
    def parsed(cls, given: Mapping[str, str]) -> "Settings":
        """From the texts of a command line, "" standing for the default.

        Args:
            given: option -> text; channels and mitotic as lists with commas, columns as `track=ID,frame=t`.

        Raises:
            UserError: a text that is no such value; names the option.
        """
        values: dict[str, Any] = {}
        for name, text in given.items():
            if name not in cls.__dataclass_fields__:
                raise UserError(f"Unknown option {name!r} of movie: {near(name, cls.__dataclass_fields__)}")
            if text.strip():
                values[name] = _READERS.get(name, _text)(name, text.strip())
        return cls(**values)


def _text(name: str, text: str) -> str:
    return text


def _names(name: str, text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _columns(name: str, text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in _names(name, text)]
    if any(not equals or not value for _, equals, value in pairs):
        raise UserError(f"Expected {name} as track=ID,frame=t, got {text!r}")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _whole(name: str, text: str) -> int:
    if not text.isdigit():
        raise UserError(f"Expected a whole number as {name}, got {text!r}")
    return int(text)


def _window(name: str, text: str) -> int:
    if (value := _whole(name, text)) < 4:
        raise UserError(f"Expected a {name} of at least 4 pixels, got {text}")
    return value


def _numbers(name: str, text: str) -> tuple[int, ...]:
    return tuple(_whole(name, part) for part in _names(name, text))


def _positive(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise UserError(f"Expected a number above 0 as {name}, got {text!r}")
    return value


_READERS = {
    "distance": _positive,
    "interval": _positive,
    "rate": _positive,
    "window": _window,
    "first": _whole,
    "channels": _numbers,
    "mitotic": _names,
    "columns": _columns,
}
