"""What a cross-validation says of test rows: its folds' networks one by one, and what putting them together gains."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cellml.evaluation import intervals, metrics
from cellml.evaluation.predictions import Predictions
from cellml.tracking.run import Run

COMPARED = ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "rmse", "composition_rmse")


def log_test(singles: Sequence[Predictions], best: int, together: Predictions, tracked: Run) -> pd.DataFrame:
    """Judge each network on the test rows, and the ensemble against the one that did best on its own fold.

    Logs `crossval/test.csv` and, as metrics, `test_single/<metric>` (mean over the networks) and its `_sd`.

    Args:
        singles: what each of the M folds' networks says of the test rows.
        best: which of them was best on its own fold.
        together: what the ensemble says.
        tracked: the run that receives it.

    Returns:
        The table, see `table`.
    """
    result = table(singles, best, together)
    record = {f"test_single/{name}": value for name, value in zip(result["metric"], result["single_mean"], strict=True)}
    record |= {
        f"test_single/{name}_sd": value for name, value in zip(result["metric"], result["single_sd"], strict=True)
    }
    tracked.metrics({key: value for key, value in record.items() if np.isfinite(value)})
    with tracked.artifacts() as folder:
        (folder / "crossval").mkdir()
        result.to_csv(folder / "crossval" / "test.csv", index=False)
    return result


def table(singles: Sequence[Predictions], best: int, together: Predictions, resamples: int = 2000) -> pd.DataFrame:
    """Scores of M networks and of their ensemble on the same rows; one row a metric that has a value here.

    Columns: `metric`, `single_mean`, `single_sd` (over the M networks), `best_single`, `ensemble`, `gain` (how much
    better than `best_single` the ensemble is, above 0 is better), and `gain_low`, `gain_high`, its 95 % interval over
    resampled groups, the same resamples for both.

    Args:
        singles: M predictions.
        best: the network to beat, chosen on validation.
        together: the ensemble's predictions.
        resamples: of the groups.
    """
    rows = []
    for name in COMPARED:
        scores = np.array([metrics.value(name, one) for one in singles])
        score = metrics.value(name, together)
        if not np.isfinite([*scores, score]).all():
            continue
        sign = 1 if metrics.higher_is_better(name) else -1
        paired = intervals.paired([together, singles[best]], name, resamples)
        gains = sign * (paired[:, 0] - paired[:, 1])
        low, high = np.nanpercentile(gains, [2.5, 97.5]) if np.isfinite(gains).any() else (np.nan, np.nan)
        rows.append(
            {
                "metric": name,
                "single_mean": scores.mean(),
                "single_sd": scores.std(ddof=1) if len(scores) > 1 else np.nan,
                "best_single": scores[best],
                "ensemble": score,
                "gain": sign * (score - scores[best]),
                "gain_low": low,
                "gain_high": high,
            }
        )
    return pd.DataFrame(rows)
