"""Each model of the benchmark against the best one: paired p, corrected; places under resampling; secondary tests."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cellml.compare.collect import Evaluated
from cellml.evaluation import comparisons, delong, intervals, mcnemar, metrics
from cellml.evaluation.predictions import Predictions

IGNORING = {
    "p_delong_ungrouped": "p of AUROC (DeLong), groups ignored",
    "p_mcnemar_ungrouped": "p of accuracy (McNemar, exact), groups ignored",
    "p_mcnemar_mid_ungrouped": "p of accuracy (McNemar, mid-p), groups ignored",
}
COLUMNS = ("p_vs_best", "p_holm", "rank_1", "expected_rank", *IGNORING)


def columns(ranking: Sequence[Evaluated], samples: np.ndarray, points: np.ndarray, metric: str) -> pd.DataFrame:
    """What sets each row of the table against the first.

    Args:
        ranking: M models, best first.
        samples: (R, M + 1) resampled scores of the ranking metric, the baseline's last.
        points: (M + 1,) scores on the test rows themselves.
        metric: the ranking metric.

    Returns:
        M + 1 rows, the baseline's last: `p_vs_best`, paired; `p_holm`, corrected for the M - 1 comparisons between
        models (NaN for the best and for the baseline); `rank_1`, the probability to be the best one, and
        `expected_rank`, of models alone; `IGNORING`, of models alone, DeLong's with two classes only. `attrs["ranks"]`
        holds the (M, M) rank probabilities as lists.
    """
    higher = metrics.higher_is_better(metric)
    found = pd.DataFrame({"p_vs_best": _p(samples, points, higher)})
    found["p_holm"] = [*comparisons.holm(found["p_vs_best"][:-1]), np.nan]
    ranks = comparisons.rank_probabilities(samples[:, :-1], higher)
    found["rank_1"] = [*ranks[:, 0], np.nan]
    found["expected_rank"] = [*comparisons.expected_ranks(ranks), np.nan]
    for name, p in _ungrouped([one.predictions for one in ranking]).items():
        found[name] = [*p, np.nan]
    found.attrs["ranks"] = ranks.tolist()
    return found


def _p(samples: np.ndarray, points: np.ndarray, higher: bool) -> np.ndarray:
    """p of each column against the first one, the best; the baseline, last, is never what is compared with."""
    models = points.copy()
    models[-1] = min(points[0], points[-1]) if higher else max(points[0], points[-1])
    p = intervals.p_vs_best(samples, models, higher)
    p[0] = np.nan
    return p


def _ungrouped(predictions: Sequence[Predictions]) -> dict[str, np.ndarray]:
    known = intervals.aligned([one.labelled for one in predictions])
    truth = known[0].targets
    area = np.full(len(known), np.nan)
    if len(known[0].classes) == 2:
        area = delong.p_values(np.stack([one.probabilities[:, 1] for one in known]), truth == 1)
    exact, mid = mcnemar.p_values(np.stack([one.predicted == truth for one in known]))
    return dict(zip(IGNORING, (area, exact, mid), strict=True))
