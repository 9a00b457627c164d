"""Sheets, raw maps and scores of every method, into a run."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from cellml.config import Explain
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.evaluation.predictions import Predictions
from cellml.explain import faithfulness_figures, maps, means, page
from cellml.explain.base import EXPLAINERS, Attribution
from cellml.heatmaps import measures, pictures
from cellml.heatmaps.measures import Measured, Sample
from cellml.heatmaps.pictures import Chosen
from cellml.heatmaps.subject import Subject
from cellml.models.classifier import Classifier
from cellml.models.ensemble import Ensemble
from cellml.tracking import names
from cellml.tracking.run import Run

Say = Callable[[str], None]


def check(settings: Explain) -> None:
    """Refuse misspelt methods and options before any data are read.

    Raises:
        UserError: names the near ones.
    """
    for method in settings.methods:
        EXPLAINERS.options(method, settings.options.get(method, {}))
    if unused := sorted(set(settings.options) - set(settings.methods)):
        EXPLAINERS.options(unused[0], settings.options[unused[0]])


@dataclass(frozen=True)
class Done:
    """What one method said: maps of each class's images, and of the sample that it was scored on."""

    maps: Mapping[int, Attribution]
    measured: Measured | None


def log(
    model: Classifier | Ensemble,
    dataset: Dataset,
    manifest: Manifest,
    predictions: Predictions,
    tracked: Run,
    settings: Explain,
    *,
    model_name: str = "",
    thorough: bool = False,
    say: Say | None = None,
) -> dict[str, Done]:
    """Explain a model by every method asked for, and log what comes of it.

    Logs `heatmaps/<method>/<class>.png` with the raw maps in `heatmaps/<method>.npz`, class means, maps by channel of
    images that are not RGB, superpixels of the methods that work on them, `explain/<method>/<figure>` as metrics,
    `figures/faithfulness.png`, and with a name `explain.html`. A method that fails, or that another stood in for,
    becomes the tag `cellml.heatmaps.<method>`, a warning of its maps `cellml.heatmaps.<method>.warning`; neither stops
    the others.

    Args:
        model: what is explained.
        dataset: the images behind the manifest.
        manifest: N rows.
        predictions: what the model said of them, in the same order.
        tracked: the run that receives it.
        settings: methods, and how many images.
        model_name: what the page calls the model; "" for no page.
        thorough: unless the settings say it, also sensitivity to noise and the check by random weights.
        say: prints a line a method.

    Returns:
        What was made, by method; those that failed are missing.
    """
    note = say or _print
    subject = Subject(model, dataset)
    chosen = [
        pictures.choose(subject, manifest, predictions, k, settings.count) for k in range(len(predictions.classes))
    ]
    chosen = [some for some in chosen if len(some.ids)]
    thorough = thorough if settings.thorough is None else settings.thorough
    picked = measures.rows(predictions, settings.measured)
    sample = None
    if len(picked):
        with _recorded("scores", tracked, note):
            sample = Sample(subject, subject.see(manifest.where(picked)), predictions.predicted[picked])
            if sample.note:
                note(f"warning: {sample.note}")
    done: dict[str, Done] = {}
    for method in dict.fromkeys(settings.methods):
        start = time.perf_counter()
        with _recorded(method, tracked, note):
            done[method] = _one(subject, chosen, sample, tracked, settings, method, thorough)
            _note(method, done[method], tracked, time.perf_counter() - start, say)
    if done:
        with _recorded("together", tracked, note):
            _together(done, chosen, sample if thorough else None, tracked, model_name)
    return done


@contextmanager
def _recorded(what: str, tracked: Run, note: Say) -> Iterator[None]:
    """The figures of a model are not worth losing the model for: whatever goes wrong is a tag and a line."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:400] or type(error).__name__
        tracked.tags({f"cellml.heatmaps.{what}": f"failed: {reason}"})
        note(f"{what} failed: {reason}")


def _one(
    subject: Subject,
    chosen: list[Chosen],
    sample: Sample | None,
    tracked: Run,
    settings: Explain,
    method: str,
    thorough: bool,
) -> Done:
    options = settings.options.get(method, {})
    found = {some.index: some.seen.explain(method, np.full(len(some.ids), some.index), **options) for some in chosen}
    measured = sample.measure(method, options, thorough) if sample else None
    with tracked.artifacts() as folder:
        target = folder / "heatmaps" / method
        target.mkdir(parents=True)
        for some in chosen:
            attribution = found[some.index]
            path = target / f"{names.slug(some.name)}.png"
            pictures.contact_sheet(some, method, attribution).savefig(path)
            tracked.image(path, f"{method} {some.index} {some.name}")
            pictures.write_further(subject, some, method, attribution, target, options)
        if measured and sample:
            said = measured.attribution
            title = f"{pictures.title(method, said)} · {len(sample.classes)} images"
            arguments = (said.maps, said.classes, sample.classes, subject.spec.classes)
            means.sheet(sample.seen.images, *arguments, title=title).savefig(target.parent / f"{method}_means.png")
        if chosen:
            ids = np.concatenate([some.ids for some in chosen])
            kept = [found[some.index] for some in chosen]
            maps.save_maps(
                target.parent / f"{method}.npz", ids, _joined(kept, channels=pictures.by_channel(subject.spec))
            )
    return Done(found, measured)


def _print(line: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"note: {line}", markup=False, highlight=False)


def _note(method: str, done: Done, tracked: Run, seconds: float, say: Say | None) -> None:
    """The method's figures as metrics, what stood in for it and what to beware of as tags, all of it as lines."""
    some = next(iter(done.maps.values()), None) or (done.measured.attribution if done.measured else None)
    if some and some.fallback:
        tracked.tags({f"cellml.heatmaps.{method}": f"{some.method} instead: {some.fallback}"})
    values = done.measured.summary() if done.measured else {}
    tracked.metrics({f"explain/{method}/{name}": value for name, value in values.items()})
    warnings = done.measured.warnings(method) if done.measured else []
    if warnings:
        tracked.tags({f"cellml.heatmaps.{method}.warning": "; ".join(warnings)})
    if say:
        figures = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in values.items())
        say(f"{method}{': ' if figures else ''}{figures}  [{seconds:.0f} s]")
        for line in [some.fallback] if some and some.fallback else []:
            say(f"note: {line}; {some.method} stands in" if some else line)
        for line in warnings:
            say(f"warning: {line}")


def _together(
    done: Mapping[str, Done], chosen: list[Chosen], sample: Sample | None, tracked: Run, model_name: str
) -> None:
    measured = {method: one.measured for method, one in done.items() if one.measured}
    measured |= sample.baselines() if sample else {}
    for name in sorted(set(measured) - set(done)):
        tracked.metrics({f"explain/{name}/{key}": value for key, value in measured[name].summary().items()})
    figures = {method: one.figures for method, one in measured.items() if one.figures}
    with tracked.artifacts() as folder:
        (folder / "figures").mkdir()
        (folder / "heatmaps").mkdir()
        if figures:
            faithfulness_figures.compare_methods(figures).savefig(folder / "figures" / "faithfulness.png")
        if len(done) > 1:
            for some in chosen:
                sheet = pictures.side_by_side(_of(done, some), some)
                sheet.savefig(folder / "heatmaps" / f"methods_{names.slug(some.name)}.png")
        shown = [one for some in chosen for one in pictures.shown(_of(done, some), some)]
        if model_name and shown:
            found = {method: next(iter(one.maps.values())) for method, one in done.items() if one.maps}
            page.write(
                folder / "explain.html",
                shown,
                model=model_name,
                description=f"{len(shown)} images" + (f", scored on {len(sample.classes)}" if sample else ""),
                faithfulness={method: one.summary() for method, one in measured.items()},
                fallbacks={method: one.fallback for method, one in found.items() if one.fallback},
                warnings=[line for name, one in measured.items() if name in done for line in one.warnings(name)],
            )


def _joined(parts: list[Attribution], channels: bool) -> Attribution:
    first = parts[0]

    def all_of(name: str) -> npt.NDArray[Any] | None:
        values = [getattr(part, name) for part in parts]
        return None if any(value is None for value in values) else np.concatenate(values)

    return Attribution(
        maps=np.concatenate([part.maps for part in parts]),
        classes=np.concatenate([part.classes for part in parts]),
        method=first.method,
        fallback=first.fallback,
        convergence=all_of("convergence"),
        layer=first.layer,
        channels=all_of("channels") if channels else None,
    )


def _of(done: Mapping[str, Done], some: Chosen) -> dict[str, Attribution]:
    return {method: one.maps[some.index] for method, one in done.items()}
