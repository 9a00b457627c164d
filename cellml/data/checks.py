"""Checks of a split manifest: what would make its scores wrong, in plain words with a remedy each."""

from collections.abc import Iterable, Iterator, Sized
from typing import Any

import numpy as np
import numpy.typing as npt

from cellml.data import duplicates
from cellml.data.duplicates import Pair
from cellml.data.manifest import PARENT, SEQUENCE, SPLITS, Manifest
from cellml.data.problems import Problem
from cellml.data.report import Report, many

__all__ = ["Report", "check"]

FEW = 10  # images of a class in a split below which its scores say little
NEARLY_EMPTY = 0.05  # contrast below this share of the usual one, in every channel
SHOWN = 3  # examples named in a message


def check(manifest: Manifest, pixels: Any) -> Report:
    """Look for what would make scores on this data wrong.

    Identical images (by the hash of their decoded pixels; of movies, across groups alone) and near-duplicates across
    splits (see `duplicates`), groups and families of cells that stand in several splits, classes with too few images in
    a split, and images without content.

    Args:
        manifest: split rows with `pixels` and `row` filled.
        pixels: the pixel cache; `pixels[row]` is an (H, W, C) image.
    """
    table = manifest.table
    splits = [s for s in (*SPLITS, "") if (table["split"] == s).any()]
    parts = {s: manifest.split(s) for s in splits}
    copies = _identical(manifest)
    problems = [*_absent(parts), *_few(parts), *_straddling(manifest), *_parted(manifest), *_copies(manifest, copies)]
    similar: list[Pair] = []
    if len(manifest):
        rows = manifest.rows
        gray, contrast = duplicates.summarise(lambda i: pixels[int(rows[i])], len(rows))
        problems += _empty(manifest, contrast)
        similar = _similar(manifest, gray)
        problems += _similar_problem(manifest, similar)
    ids = manifest.ids
    return Report(
        problems=problems,
        digest=manifest.digest,
        counts={s: part.counts | _others(part) for s, part in parts.items()},
        groups={s: int(part.table["group"].nunique()) for s, part in parts.items()},
        grouped=bool(table["group"].nunique() < len(table)),
        unit=manifest.unit,
        identical=[tuple(ids[rows]) for rows in copies],
        similar=[(ids[p.first], ids[p.second], p.correlation) for p in similar],
    )


def _others(part: Manifest) -> dict[str, int]:
    """Images of no known class, by why."""
    unlabelled = (part.table["label"] == "").to_numpy() & ~part.mixed
    found = {"in mixtures": int(part.mixed.sum()), "without a label": int(unlabelled.sum())}
    return {name: count for name, count in found.items() if count}


def _identical(manifest: Manifest) -> list[npt.NDArray[np.int64]]:
    table = manifest.table.reset_index(drop=True)
    hashed = table[table["pixels"] != ""]
    repeated = hashed[hashed["pixels"].duplicated(keep=False)]
    sets = [rows.index.to_numpy(dtype=np.int64) for _, rows in repeated.groupby("pixels", sort=False)]
    if SEQUENCE not in table:
        return sets
    groups = table["group"].to_numpy(dtype=object)  # frames of one cell may well be alike
    return [rows for rows in sets if len(set(groups[rows])) > 1]


def _absent(parts: dict[str, Manifest]) -> Iterator[Problem]:
    for split, part in parts.items():
        passed = {part.classes[k] for stages in part.transcripts.values() for k in stages}
        for name, count in part.counts.items():
            if count or name in passed:
                continue
            if split == "train":
                yield Problem(
                    "class absent from training",
                    f"Class {name!r} has no training image, so it cannot be learned: add images or change the split",
                )
            elif split:
                yield Problem(
                    "class absent",
                    f"Class {name!r} has no image in {split}, so nothing is known of it there: add images or groups of "
                    "it, or change the split",
                )


def _few(parts: dict[str, Manifest]) -> Iterator[Problem]:
    for split, part in parts.items():
        for name, count in part.counts.items():
            if 0 < count < FEW:
                members = part.ids[(part.table["label"] == name).to_numpy()]
                yield Problem(
                    "few images",
                    f"Class {name!r} has only {many(count, 'image')} in {split or 'the data'}: one image moves its "
                    f"recall by {1 / count:.0%}; add images"
                    + (f" or a larger share of the split {split}" if split else ""),
                    tuple(members),
                )


def _straddling(manifest: Manifest) -> Iterator[Problem]:
    table = manifest.table[manifest.table["split"] != ""]
    where: dict[str, list[str]] = {}
    for split in SPLITS:
        for group in table.loc[table["split"] == split, "group"].unique():
            where.setdefault(group, []).append(split)
    bad = {group: splits for group, splits in where.items() if len(splits) > 1}
    if bad:
        shown = _examples(f"{group!r} in {' and '.join(splits)}" for group, splits in bad.items())
        yield Problem(
            "group across splits",
            f"{many(len(bad), 'group')} stand{_s(bad)} in several splits ({shown}): scores will be too "
            "good; keep each group in one split, or remove data.split to have the groups divided whole",
            tuple(table.loc[table["group"].isin(list(bad)), "id"]),
        )


def _parted(manifest: Manifest) -> Iterator[Problem]:
    """Mothers and daughters, or frames of one cell, in different splits."""
    table = manifest.table
    if SEQUENCE not in table or PARENT not in table:
        return
    split = dict(zip(table[SEQUENCE], table["split"], strict=True))
    one = table.drop_duplicates(SEQUENCE)
    bad = [
        (name, mother)
        for name, mother in zip(one[SEQUENCE], one[PARENT], strict=True)
        if mother in split and split[mother] != split[name]
    ]
    if bad:
        shown = _examples(f"{mother} in {split[mother]} and {name} in {split[name]}" for name, mother in bad)
        yield Problem(
            "family across splits",
            f"{many(len(bad), 'daughter')} and their mothers stand in different splits ({shown}): scores will be too "
            "good; keep each family in one split, or remove data.split to have families divided whole",
            tuple(table.loc[table[SEQUENCE].isin([name for name, _ in bad]), "id"]),
        )


def _copies(manifest: Manifest, copies: list[npt.NDArray[np.int64]]) -> Iterator[Problem]:
    ids = manifest.ids
    labels = manifest.table["label"].to_numpy(dtype=object)
    splits = manifest.table["split"].to_numpy(dtype=object)
    nothing = np.full(len(ids), "")
    torn = [rows for rows in copies if len(set(labels[rows])) > 1]
    across = [rows for rows in copies if len(set(splits[rows])) > 1]
    plain = [rows for rows in copies if len(set(splits[rows])) == len(set(labels[rows])) == 1]
    for kind, sets, aspect, word, text in (
        (
            "contradictory labels",
            torn,
            labels,
            " as ",
            "with different labels ({}): decide which is right and delete the other copies",
        ),
        (
            "identical across splits",
            across,
            splits,
            " in ",
            "in different splits ({}): scores will be too good; delete the copies or give them one group",
        ),
        ("identical images", plain, nothing, "", "in one split and class ({}): they count double; delete the copies"),
    ):
        if sets:
            shown = _examples(
                " = ".join(f"{ids[row]}{word}{aspect[row]}" for row in _unlike(rows, aspect)) for rows in sets
            )
            head = f"{many(len(sets), 'image')} stand{_s(sets)} more than once "
            yield Problem(kind, head + text.format(shown), tuple(ids[np.concatenate(sets)]))


def _similar(manifest: Manifest, gray: npt.NDArray[np.float32]) -> list[Pair]:
    splits = manifest.table["split"].to_numpy(dtype=object)
    digests = manifest.table["pixels"].to_numpy(dtype=object)
    pairs = duplicates.near_duplicates(gray, splits)
    unlike = [p for p in pairs if not (digests[p.first] and digests[p.first] == digests[p.second])]
    if (sequences := manifest.sequences) is None:
        return unlike
    best: dict[tuple[str, str], Pair] = {}  # of two cells that look alike in many frames, one pair
    for pair in unlike:
        key = (sequences[pair.first], sequences[pair.second])
        best[key] = max(best.get(key, pair), pair, key=lambda p: p.correlation)
    return sorted(best.values())


def _similar_problem(manifest: Manifest, pairs: list[Pair]) -> Iterator[Problem]:
    if not pairs:
        return
    ids, splits = manifest.ids, manifest.table["split"].to_numpy(dtype=object)
    shown = _examples(f"{ids[a]} in {splits[a]} ~ {ids[b]} in {splits[b]}" for a, b, _ in pairs)
    rows = sorted({row for pair in pairs for row in pair[:2]})
    yield Problem(
        "near-duplicates across splits",
        f"{many(len(pairs), 'pair')} of images in different splits show{_s(pairs)} the same picture, turned, "
        f"flipped or re-encoded ({shown}): scores will be too good; delete one of each or give them one group",
        tuple(ids[rows]),
    )


def _empty(manifest: Manifest, contrast: npt.NDArray) -> Iterator[Problem]:
    constant = (contrast == 0).all(axis=1)
    usual = np.median(contrast, axis=0)
    dull = (contrast < NEARLY_EMPTY * usual).all(axis=1) & ~constant
    for kind, found, what in (
        ("constant image", constant, "of one single value"),
        ("nearly empty image", dull, f"with less than {NEARLY_EMPTY:.0%} of the usual contrast"),
    ):
        if found.any():
            ids = tuple(manifest.ids[found])
            head = f"{many(len(ids), 'image')} {what} ({_examples(ids)})"
            yield Problem(kind, f"{head}: look at them and delete those that show no cell", ids)


def _unlike(rows: npt.NDArray[np.int64], aspect: npt.NDArray) -> tuple[int, int]:
    others = rows[aspect[rows] != aspect[rows[0]]]
    return int(rows[0]), int(others[0] if len(others) else rows[1])


def _examples(examples: Iterable[str]) -> str:
    texts = [str(text) for text in examples]
    more = len(texts) - SHOWN
    return "; ".join(texts[:SHOWN]) + (f"; and {more:,} more" if more > 0 else "")


def _s(things: Sized) -> str:
    return "s" if len(things) == 1 else ""
