"""From what a model says of a cell to one number that rises towards the positive control."""

import numpy as np
import numpy.typing as npt
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedGroupKFold

from cellml.errors import UserError, near

Array = npt.NDArray[np.float64]
FOLDS = 5
DISCRIMINANT = "discriminant"


def check(score: str, classes: tuple[str, ...], negative: str, positive: str) -> None:
    """Refuse a score that the model does not have.

    Args:
        score: as in `screen.score`.
        classes: of the model.
        negative: name of a control.
        positive: name of the other one.

    Raises:
        UserError: a control, or the class of a probability, is none of the classes.
    """
    kind, _, which = score.partition(":")
    if kind == DISCRIMINANT:
        return
    for name in [which or positive] if kind == "probability" else [negative, positive]:
        if name not in classes:
            raise UserError(
                f"Expected a class of the model for score={score}, got {name!r}: {near(name, classes)}; "
                f"choose score={DISCRIMINANT}, which needs no classes, or name the controls as the model does"
            )


def of_probabilities(
    score: str, probabilities: npt.NDArray, classes: tuple[str, ...], negative: str, positive: str
) -> Array:
    """Score of N cells from their class probabilities.

    Args:
        score: "logit": log p(positive) - log p(negative), the margin between the two classes' logits; "probability"
            of the positive control's class, or "probability:CLASS".
        probabilities: (N, K).
        classes: K names.
        negative: one of them.
        positive: another.

    Returns:
        (N,).
    """
    kind, _, which = score.partition(":")
    found = np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny)
    if kind == "probability":
        return probabilities[:, classes.index(which or positive)].astype(np.float64)
    return np.log(found[:, classes.index(positive)]) - np.log(found[:, classes.index(negative)])


def discriminant(
    embeddings: npt.NDArray, treatments: npt.NDArray, wells: npt.NDArray, negative: str, positive: str, seed: int = 0
) -> Array:
    """Fisher's linear discriminant between the controls' embeddings, each cell judged without its own well.

    The covariance is shrunk (Ledoit and Wolf 2004), so that there may be more dimensions than cells. The controls'
    wells are dealt into folds; a control's cell is projected on the discriminant of the other folds, any other cell on
    the mean of all. On each, the controls that it was fitted on have means 0 (negative) and 1 (positive).

    Args:
        embeddings: (N, D).
        treatments: (N,) names.
        wells: (N,) names, each of one treatment.
        negative: a treatment.
        positive: another one.
        seed: of the folds.

    Returns:
        (N,).

    Raises:
        UserError: a control in one well.
    """
    rows = np.flatnonzero(np.isin(treatments, [negative, positive]))
    target = treatments[rows] == positive
    counts = {name: len(set(wells[treatments == name])) for name in (negative, positive)}
    if min(counts.values()) < 2:
        raise UserError(
            f"Expected two wells or more of each control for score={DISCRIMINANT}, got {counts}: cells are judged "
            "without their own well; choose score=logit"
        )
    folds = StratifiedGroupKFold(min(FOLDS, *counts.values()), shuffle=True, random_state=seed)
    others = np.setdiff1d(np.arange(len(treatments)), rows)
    found = np.zeros(len(treatments))
    times = np.zeros(len(treatments))
    for fit, held in folds.split(embeddings[rows], target, wells[rows]):
        given = embeddings[rows[fit]].astype(np.float64)
        if len(set(target[fit])) < 2:
            continue
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5]).fit(given, target[fit])
        ends = [float(model.decision_function(given[target[fit] == end]).mean()) for end in (False, True)]
        judged = np.concatenate([rows[held], others])
        said = model.decision_function(embeddings[judged].astype(np.float64))
        found[judged] += (said - ends[0]) / (ends[1] - ends[0])
        times[judged] += 1
    return found / times
