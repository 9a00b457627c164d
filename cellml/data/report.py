"""The report on a data set: counts, and what was found wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from cellml.data.problems import Problem

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITY = {
    "class absent from training": ERROR,
    "contradictory labels": WARNING,
    "identical across splits": WARNING,
    "near-duplicates across splits": WARNING,
    "group across splits": WARNING,
    "family across splits": WARNING,
    "class absent": WARNING,
    "few images": WARNING,
    "constant image": WARNING,
    "nearly empty image": NOTE,
    "identical images": NOTE,
    "unused split row": NOTE,
    "short track": NOTE,
}  # most important first; kinds that stand elsewhere are warnings
SHOWN_OF_A_KIND = 5  # problems of one kind that `lines` spells out


@dataclass(frozen=True)
class Report:
    """What was found in a data set.

    Attributes:
        problems: findings, of reading and of checking alike.
        digest: of the manifest that was checked.
        counts: split -> class -> images; splits without images are left out.
        groups: split -> groups.
        grouped: whether any group has more than one image.
        unit: what an image is called, see `Manifest.unit`.
        identical: ids of images with the same pixels, a tuple for each such set.
        similar: ids of two near-duplicates in different splits and the correlation of their thumbnails.
    """

    problems: list[Problem] = field(default_factory=list)
    digest: str = ""
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    grouped: bool = False
    unit: str = "image"
    identical: list[tuple[str, ...]] = field(default_factory=list)
    similar: list[tuple[str, str, float]] = field(default_factory=list)

    @property
    def errors(self) -> list[Problem]:
        """Problems that make a result meaningless."""
        return self._of(ERROR)

    @property
    def warnings(self) -> list[Problem]:
        """Problems that can make a score wrong."""
        return self._of(WARNING)

    @property
    def notes(self) -> list[Problem]:
        """What is worth knowing."""
        return self._of(NOTE)

    def to_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON knows."""
        return {
            "digest": self.digest,
            "images": sum(sum(c.values()) for c in self.counts.values()),
            "splits": {s: {"groups": self.groups[s], "classes": c} for s, c in self.counts.items()},
            "problems": [
                {"kind": p.kind, "severity": severity(p), "message": p.message, "ids": list(p.ids)}
                for p in (*self.errors, *self.warnings, *self.notes)
            ],
            "identical": [list(ids) for ids in self.identical],
            "near_duplicates": [{"ids": [a, b], "correlation": round(c, 4)} for a, b, c in self.similar],
        }

    def lines(self) -> list[str]:
        """The report as text, one line a fact: the counts, then the problems, the worst first."""
        return [*self._count_lines(), *self._problem_lines()]

    def _of(self, wanted: str) -> list[Problem]:
        order = list(SEVERITY)
        mine = [p for p in self.problems if severity(p) == wanted]
        return sorted(mine, key=lambda p: order.index(p.kind) if p.kind in order else len(order))

    def _count_lines(self) -> Iterator[str]:
        for split, counts in self.counts.items():
            groups = f" in {many(self.groups[split], 'group')}" if self.grouped else ""
            each = ", ".join(f"{name} {n:,}" for name, n in counts.items())
            yield f"{split or 'not split'}: {many(sum(counts.values()), self.unit)}{groups} ({each})"

    def _problem_lines(self) -> Iterator[str]:
        seen: dict[str, int] = {}
        ordered = [*self.errors, *self.warnings, *self.notes]
        for problem, following in pairwise([*ordered, None]):
            assert problem is not None
            number = seen[problem.kind] = seen.get(problem.kind, 0) + 1
            if number <= SHOWN_OF_A_KIND:
                yield f"{severity(problem)}: {problem.message}"
            elif following is None or following.kind != problem.kind:
                yield f"{severity(problem)}: {number - SHOWN_OF_A_KIND:,} more of the kind '{problem.kind}'"


def severity(problem: Problem) -> str:
    """How bad a problem is: "error", "warning" or "note"."""
    return SEVERITY.get(problem.kind, WARNING)


def many(count: int, noun: str) -> str:
    """A count with its noun: "1 image", "1,200 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
