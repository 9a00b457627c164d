import dataclasses

import numpy as np
import pytest
from sklearn import metrics as sk

from cellml.compare import table
from cellml.compare.formats import MAJORITY
from cellml.config import Compare
from cellml.errors import UserError
from tests.compare.conftest import NASTY, evaluated, manifest

SETTINGS = Compare(resamples=300)
HEAD = """
    rank model version backbone strategy settings params_m gmacs ms_batch_1 ms_batch_64 mb_batch_1 mb_batch_64 n
    accuracy loss precision recall f1 precision_weighted recall_weighted f1_weighted balanced_accuracy
    balanced_accuracy_low balanced_accuracy_high auroc mcc p_vs_best p_holm rank_1 expected_rank p_delong_ungrouped
    p_mcnemar_ungrouped p_mcnemar_mid_ungrouped test_digest run_id
"""


def test_columns_stand_in_the_promised_order(models, test_rows, train_counts):
    built = table.build(models, test_rows, train_counts, SETTINGS)
    rarest = NASTY[np.bincount(test_rows.targets).argmin()]
    later = [f"{name}_thresholded" for name in ("accuracy", "f1", "balanced_accuracy", f"recall_{rarest}")]
    assert list(built.columns) == [*HEAD.split(), *(f"recall_{name}" for name in NASTY), "identical_to", *later]
    ranked = table.build(models, soft(test_rows), train_counts, Compare(resamples=100, metric="ece"))
    assert list(ranked.columns) == [*list(built.columns)[:-4], "ece", *later, "rmse", "composition_rmse"]


def soft(rows):
    """The same rows with their labels as probabilities."""
    for k, name in enumerate(rows.classes):
        rows = rows.with_column(f"soft:{name}", (rows.targets == k).astype(float))
    return rows


def test_thresholded_figures_are_scikit_learns_and_missing_without_thresholds(models, test_rows, train_counts):
    cuts = dict(zip(NASTY, (0.5, 0.3, 0.15, 0.05), strict=True))
    tuned = dataclasses.replace(models[0], thresholds=cuts)
    built = table.build([tuned, models[1]], test_rows, train_counts, SETTINGS).set_index("model")
    row, truth = built.loc[tuned.entry.name], test_rows.targets
    said = (tuned.predictions.probabilities / np.array(list(cuts.values()))).argmax(1)
    assert (said != tuned.predictions.predicted).any()
    assert row["accuracy_thresholded"] == pytest.approx(sk.accuracy_score(truth, said))
    assert row["f1_thresholded"] == pytest.approx(sk.f1_score(truth, said, average="macro", zero_division=0))
    assert row["balanced_accuracy_thresholded"] == pytest.approx(sk.balanced_accuracy_score(truth, said))
    recalls = sk.recall_score(truth, said, average=None)
    rarest = np.bincount(truth).argmin()
    assert row[f"recall_{NASTY[rarest]}_thresholded"] == pytest.approx(recalls[rarest])
    assert row["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, tuned.predictions.predicted))
    others = built.drop(tuned.entry.name)
    assert others[[c for c in built.columns if c.endswith("_thresholded")]].isna().all(axis=None)


def test_composition_is_of_groups_against_their_soft_labels(test_rows, train_counts):
    rows = soft(test_rows)
    one = evaluated(rows, "net", 1.0)
    one = dataclasses.replace(one, predictions=dataclasses.replace(one.predictions, soft_targets=rows.soft_targets))
    built = table.build([one], rows, train_counts, SETTINGS)
    groups = [np.flatnonzero(rows.groups == g) for g in np.unique(rows.groups)]
    errors = [
        ((rows.soft_targets[g].mean(0) - one.predictions.probabilities[g].mean(0)) ** 2).sum()
        for g in groups
        if len(g) > 1
    ]
    truth = one.predictions.soft_targets
    errors_of_images = ((truth - one.predictions.probabilities) ** 2).sum(axis=1)
    assert built["rmse"][0] == pytest.approx(np.sqrt(errors_of_images.mean()))
    assert built["composition_rmse"][0] == pytest.approx(np.sqrt(np.mean(errors)))
    assert "composition_rmse" not in table.build([one], test_rows, train_counts, SETTINGS)


def test_figures_are_scikit_learns(models, test_rows, train_counts):
    built = table.build(models, test_rows, train_counts, SETTINGS).set_index("model")
    truth = test_rows.targets
    for model in models:
        row, p = built.loc[model.entry.name], model.predictions.probabilities
        said = p.argmax(axis=1)
        precision, recall, f1, _ = sk.precision_recall_fscore_support(truth, said, average="macro", zero_division=0)
        weighted = sk.precision_recall_fscore_support(truth, said, average="weighted", zero_division=0)
        expected = {
            "accuracy": sk.accuracy_score(truth, said),
            "loss": sk.log_loss(truth, p),
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "precision_weighted": weighted[0],
            "recall_weighted": weighted[1],
            "f1_weighted": weighted[2],
            "balanced_accuracy": sk.balanced_accuracy_score(truth, said),
            "auroc": sk.roc_auc_score(truth, p, multi_class="ovr"),
            "mcc": sk.matthews_corrcoef(truth, said),
        }
        recalls = sk.recall_score(truth, said, average=None)
        expected |= {f"recall_{name}": value for name, value in zip(NASTY, recalls, strict=True)}
        assert {key: row[key] for key in expected} == pytest.approx(expected)
        assert (row["n"], row["test_digest"], row["run_id"]) == (120, test_rows.digest, model.entry.run_id)


def test_ranked_best_first_with_the_baseline_last(models, test_rows, train_counts):
    built = table.build(models, test_rows, train_counts, SETTINGS)
    assert built["model"].tolist() == [
        "cells.vit_tiny",
        "cells.resnet18",
        "cells.torchvision-0x2F-resnet18",
        "cells.convnext",
        MAJORITY,
    ]
    assert built["rank"].tolist()[:4] == [1, 2, 2, 4]
    assert built["rank"].isna().tolist() == [False] * 4 + [True]


def test_majority_row_is_the_training_rows_commonest_class(models, test_rows):
    counts = dict(zip(NASTY, (10, 60, 20, 10), strict=True))
    row = table.build(models, test_rows, counts, SETTINGS).iloc[-1]
    truth, said = test_rows.targets, np.full(120, 1)
    prior = np.tile([0.1, 0.6, 0.2, 0.1], (120, 1))
    assert row["accuracy"] == pytest.approx(sk.accuracy_score(truth, said))
    assert row["balanced_accuracy"] == pytest.approx(0.25)
    assert row["loss"] == pytest.approx(sk.log_loss(truth, prior))
    assert row[f"recall_{NASTY[1]}"] == 1
    assert (row["model"], row["version"], row["run_id"], row["identical_to"]) == (MAJORITY, "", "", "")


@pytest.mark.parametrize("metric", ["log_loss", "average_precision", f"recall_{NASTY[2]}"])
def test_any_metric_ranks_in_its_own_direction(models, test_rows, train_counts, metric):
    built = table.build(models, test_rows, train_counts, Compare(resamples=200, metric=metric))
    column = {"log_loss": "loss"}.get(metric, metric)
    scores = built[column].iloc[:4].to_numpy()
    assert (np.diff(scores) >= 0).all() if metric == "log_loss" else (np.diff(scores) <= 0).all()
    assert ("average_precision" in built.columns) == (metric == "average_precision")
    assert built["p_vs_best"].iloc[1:].between(0, 1).all()


def test_intervals_and_p_are_of_paired_group_resamples(models, test_rows, train_counts):
    """Against a loop over resampled rows: the same quantities up to the noise of the resampling."""
    built = table.build(models, test_rows, train_counts, Compare(resamples=2000)).set_index("model")
    rng = np.random.default_rng(5)
    groups = [np.flatnonzero(test_rows.groups == g) for g in np.unique(test_rows.groups)]
    best, other = (next(m for m in models if m.entry.name == f"cells.{n}") for n in ("vit_tiny", "resnet18"))
    scores = []
    for _ in range(2000):
        rows = np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])
        truth = test_rows.targets[rows]
        recalls = []
        for model in (best, other):
            right = model.predictions.predicted[rows] == truth
            recalls.append(np.mean([right[truth == k].mean() for k in np.unique(truth)]))
        scores.append(recalls)
    sampled = np.array(scores)
    row = built.loc["cells.resnet18"]
    assert row["balanced_accuracy_low"] == pytest.approx(np.percentile(sampled[:, 1], 2.5), abs=0.02)
    assert row["balanced_accuracy_high"] == pytest.approx(np.percentile(sampled[:, 1], 97.5), abs=0.02)
    tail = 2 * (sampled[:, 0] <= sampled[:, 1]).mean()
    assert row["p_vs_best"] == pytest.approx(tail, abs=0.01)
    assert np.isnan(built.loc["cells.vit_tiny", "p_vs_best"])


def test_p_tells_a_clear_difference_from_none(test_rows, train_counts):
    good, bad = evaluated(test_rows, "good", 4), evaluated(test_rows, "bad", 0.0, seed=1)
    as_good = dataclasses.replace(good, entry=dataclasses.replace(good.entry, name="cells.same"))
    p = table.build([bad, good, as_good], test_rows, train_counts, SETTINGS)["p_vs_best"].to_numpy()
    assert np.isnan(p[0])
    assert p[1] == 1
    assert (p[2:] < 0.01).all()


def test_identical_predictions_name_each_other(models, test_rows, train_counts):
    built = table.build(models, test_rows, train_counts, SETTINGS).set_index("model")["identical_to"]
    assert built["cells.resnet18"] == "cells.torchvision-0x2F-resnet18 v12"
    assert built["cells.torchvision-0x2F-resnet18"] == "cells.resnet18 v1"
    assert (built.drop(["cells.resnet18", "cells.torchvision-0x2F-resnet18"]) == "").all()


def test_nearly_identical_predictions_are_not_flagged(models, test_rows, train_counts):
    first = models[0].predictions
    moved = first.probabilities.copy()
    moved[7, 0], moved[7, 1] = moved[7, 0] + 1e-4, moved[7, 1] - 1e-4
    other = dataclasses.replace(models[2], predictions=dataclasses.replace(first, probabilities=moved))
    built = table.build([models[0], other], test_rows, train_counts, SETTINGS)
    assert (built["identical_to"] == "").all()


def test_a_class_without_test_images_is_missing_not_zero(train_counts):
    classes = ("a", "b", "c")
    whole = manifest(classes)
    test = whole.where(whole.targets != 2)
    built = table.build([evaluated(test, "one", 2)], test, {"a": 5, "b": 3, "c": 2}, SETTINGS)
    assert built["recall_c"].isna().all()
    truth, said = test.targets, evaluated(test, "one", 2).predictions.predicted
    assert built["balanced_accuracy"][0] == pytest.approx(sk.recall_score(truth, said, labels=[0, 1], average="macro"))
    assert built.attrs["rarest"] in ("a", "b")


def test_an_unknown_metric_is_named(models, test_rows, train_counts):
    with pytest.raises(UserError, match="balanced_accuracy"):
        table.build(models, test_rows, train_counts, Compare(metric="balanced_acuracy"))


def test_order_does_not_depend_on_how_entries_came(models, test_rows, train_counts):
    one = table.build(models, test_rows, train_counts, SETTINGS)
    other = table.build(models[::-1], test_rows, train_counts, SETTINGS)
    assert one.equals(other)


def test_scores_of_heatmaps_stand_last_and_only_where_there_are_any(models, test_rows, train_counts):
    scores = {models[1].name: {"gradcam_deletion": 0.25, "gradcam_insertion": 0.75}}
    built = table.build(models, test_rows, train_counts, SETTINGS, scores)
    assert list(built.columns[-2:]) == ["gradcam_deletion", "gradcam_insertion"]
    assert built.attrs["explained"] == ["gradcam_deletion", "gradcam_insertion"]
    shown = built[built["model"] + " v" + built["version"] == models[1].name]
    assert shown[["gradcam_deletion", "gradcam_insertion"]].to_numpy().tolist() == [[0.25, 0.75]]
    assert built["gradcam_deletion"].notna().sum() == 1
    assert table.build(models, test_rows, train_counts, SETTINGS).attrs["explained"] == []
