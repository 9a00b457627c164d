"""From a registered model and the images of a screen to tables, figures and a report in one run."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellml.config import Data
from cellml.config import Screen as Settings
from cellml.data.prepare import Dataset
from cellml.errors import UserError
from cellml.evaluation import controls, intervals, treatments
from cellml.evaluation.screens import Screen
from cellml.screening import cells as images
from cellml.screening import figures, report, scores
from cellml.tracking.run import Run

FOLDER = "screen"
Say = Callable[[str], None]
Show = Callable[[Iterable[int], str], Iterable[int]]  # a progress bar around something that is counted through
Asked = Callable[[Dataset, npt.NDArray[np.int64]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Model:
    """What a screen needs of a model.

    Attributes:
        name: what the report calls it.
        classes: K names.
        check: refuses images that it does not take.
        probabilities: of the images in rows (N,) of a data set's pixels, (N, K).
        embed: their embeddings, (N, D).
        learned: hashes of the images that it was trained on or chosen by, None where they are not known.
    """

    name: str
    classes: tuple[str, ...]
    check: Callable[[Dataset], None]
    probabilities: Asked
    embed: Asked
    learned: Callable[[], frozenset[str] | None]


def run(settings: Settings, data: Data, model: Model, tracked: Run, say: Say) -> report.Report:
    """Score the cells of a screen and log what they tell.

    Logs `screen/report.md`, the tables `controls.csv`, `treatments.csv`, `plates.csv`, `wells.csv` and `cells.csv`
    there, the figures `controls.png`, `treatments.png` and `plates.png`, and the controls' figures as metrics.

    Args:
        settings: controls, columns and score.
        data: the experiment's data section.
        model: what is asked.
        tracked: the run that receives it all.
        say: prints a line.

    Raises:
        UserError: controls that are not there, a score that the model does not have, images that it does not take.
    """
    check(settings)
    scores.check(settings.score, model.classes, settings.negative, settings.positive)
    found = images.read(data, settings)
    model.check(found.dataset)
    found = images.unseen(found, model.learned(), settings)
    table = found.table.assign(score=_scores(settings, found, model))
    if settings.normalise == "plate":
        table["score"] = images.by_plate(table["score"].to_numpy(), table, settings)
    screen = Screen(
        table[["id", "plate", "well", "treatment", "score"]],
        settings.negative,
        settings.positive,
        settings.bootstrap,
        settings.resamples,
        settings.seed,
    )
    made = report.Report(
        settings=settings,
        model=model.name,
        screen=screen,
        controls=controls.table(screen),
        treatments=treatments.table(screen, settings.against),
        plates=controls.plates(screen),
        edge=controls.edge(screen),
        notes=(*found.notes, *_cautions(screen)),
    )
    _log(made, tracked)
    for line in made.lines():
        say(line)
    return made


def check(settings: Settings) -> None:
    """Refuse a screen without two different controls.

    Raises:
        UserError: one is missing, or both are the same.
    """
    for which in ("negative", "positive"):
        if not getattr(settings, which):
            raise UserError(f"Expected the {which} control's name, got none; give {which}=NAME, or set screen.{which}")
    if settings.negative == settings.positive:
        raise UserError(f"Expected two controls, got {settings.negative!r} as both; name another one")


def _scores(settings: Settings, found: images.Cells, model: Model) -> npt.NDArray[np.float64]:
    rows, ends = found.table["row"].to_numpy(dtype=np.int64), (settings.negative, settings.positive)
    if settings.score != scores.DISCRIMINANT:
        said = model.probabilities(found.dataset, rows)
        return scores.of_probabilities(settings.score, said, model.classes, *ends)
    wells = (found.table["plate"] + "/" + found.table["well"]).to_numpy(dtype=object)
    treatment = found.table["treatment"].to_numpy(dtype=object)
    return scores.discriminant(model.embed(found.dataset, rows), treatment, wells, *ends, settings.seed)


def _cautions(screen: Screen) -> list[str]:
    wells = screen.wells[screen.wells["treatment"].isin([screen.negative, screen.positive])]
    drawn = wells["plate"] if screen.by == "plates" else wells["plate"] + "/" + wells["well"]
    said = []
    for name in (screen.negative, screen.positive):
        line = intervals.caution(drawn[wells["treatment"] == name], f"the control {name} comes")
        said += [line.replace("group", screen.by.removesuffix("s"))] if line else []
    return said


def _log(made: report.Report, tracked: Run) -> None:
    with tracked.artifacts() as top:
        folder = top / FOLDER
        folder.mkdir()
        made.write(folder)
        for name, draw in figures.FIGURES.items():
            draw(made).savefig(folder / f"{name}.png")
    metrics = {"screen/cells_scored": float(len(made.screen.cells))}
    for row in made.controls.to_dict("records"):
        for key, end in (("value", ""), ("low", "_low"), ("high", "_high")):
            if row[key] is not None:
                metrics[f"screen/{row['level']}/{row['statistic']}{end}"] = float(row[key])
    tracked.metrics(metrics)
