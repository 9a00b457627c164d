"""A figure on its way into files and pages."""

import base64
import io
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure

DPI = 160  # of the figures as PNG


@dataclass(frozen=True)
class Picture:
    """A figure of the benchmark: its kind, file stem, the model or external set it is of ("" of all) and its PNG."""

    kind: Literal["bars", "roc", "ranks", "pareto", "sets", "confusion", "heatmaps", "external"]
    stem: str
    name: str
    png: bytes

    @property
    def width(self) -> int:
        """Width in CSS pixels, 96 an inch, from the PNG's header."""
        return round(int.from_bytes(self.png[16:20]) * 96 / DPI)

    @property
    def src(self) -> str:
        """The picture as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def png(figure: Figure) -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()
