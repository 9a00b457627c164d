import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

from cellml import config, heatmaps
from cellml.config import Explain
from cellml.errors import UserError
from cellml.explain import base
from cellml.explain.maps import load_maps
from cellml.heatmaps import pictures
from cellml.tracking import runs
from tests.heatmaps.conftest import EXPERIMENT


@pytest.fixture(scope="module")
def logged(shared_workspace, classifier, dataset, rows, predictions):
    """A run with the heatmaps of three methods, one of which fails; what was printed."""
    said = []
    settings = Explain(
        methods=["gradcam", "attention_rollout", "lime", "occlusion"],
        options={"lime": {"samples": 20, "count": 6}, "occlusion": {"patch": 2.0}},
        count=3,
        measured=6,
    )
    with runs.parent("explain", config.parse(EXPERIMENT)) as run:
        done = heatmaps.log(
            classifier,
            dataset,
            rows,
            predictions,
            run,
            settings,
            model_name="models:/cells/1",
            thorough=True,
            say=said.append,
        )
    return run, done, said, predictions


def entity(run):
    return MlflowClient().get_run(run.id).data


def test_artifacts_by_method(logged):
    run, done, _, predictions = logged
    shown = [name for k, name in enumerate(predictions.classes) if (predictions.targets == k).any()]
    names = set(run.artifact_names("heatmaps"))
    assert {f"heatmaps/{m}{end}" for m in done for end in ("", ".npz", "_means.png")} <= names
    assert {f"heatmaps/methods_{name}.png" for name in shown} <= names
    assert {f"heatmaps/gradcam/{name}.png" for name in shown} <= set(run.artifact_names("heatmaps/gradcam"))
    assert set(run.artifact_names("heatmaps/lime/regions")) >= {f"heatmaps/lime/regions/{name}.png" for name in shown}
    assert {"explain.html", "figures"} <= set(run.artifact_names())


def test_a_failing_method_is_recorded_and_stops_nothing(logged):
    run, done, said, _ = logged
    assert set(done) == {"gradcam", "attention_rollout", "lime"}
    assert entity(run).tags["cellml.heatmaps.occlusion"].startswith("failed: Expected explain option 'patch'")
    assert [line for line in said if line.startswith("occlusion failed: Expected explain option 'patch'")]


def test_a_fallback_is_recorded_and_said(logged):
    run, done, said, _ = logged
    assert done["attention_rollout"].measured.attribution.method == "occlusion"
    assert entity(run).tags["cellml.heatmaps.attention_rollout"].startswith("occlusion instead: attention_rollout")
    assert [line for line in said if line.startswith("note: attention_rollout cannot serve test_resnet")]


def test_metrics_by_method_beside_the_baselines(logged):
    run, done, _, _ = logged
    found = entity(run).metrics
    assert not [name for name in found if name.startswith("explain/attention_rollout/")]  # occlusion stood in
    for method in {*done, "random", "centre"} - {"attention_rollout"}:
        assert 0 <= found[f"explain/{method}/deletion"] <= 1
        assert f"explain/{method}/pointing_game" in found
    assert found["explain/lime/fit_r2"] == pytest.approx(
        float(np.median(done["lime"].measured.attribution.convergence))
    )


def test_raw_maps_are_those_of_the_sheets(logged, classifier, dataset, rows):
    run, _, _, predictions = logged
    ids, attribution = load_maps(run.download("heatmaps/gradcam.npz"))
    position = {name: n for n, name in enumerate(predictions.ids)}
    some = rows.where([position[name] for name in ids[:4]])
    pixels = dataset.pixels.resized(None, 32, some.rows).astype(np.float32)
    again = base.explain("gradcam", classifier, torch.from_numpy(pixels).permute(0, 3, 1, 2), attribution.classes[:4])
    np.testing.assert_allclose(attribution.maps[:4], again.maps, atol=1e-4)


def test_pictures_are_as_wide_as_the_page_shows_them(logged):
    run = logged[0]
    for path in ("heatmaps/gradcam_means.png", "figures/faithfulness.png", *run.artifact_names("heatmaps/lime")):
        if path.endswith(".png"):
            assert Image.open(run.download(path)).width == 900


def test_the_page_has_every_image_and_method(logged):
    run, done, _, _ = logged
    page = run.download("explain.html").read_text()
    assert "models:/cells/1" in page
    assert all(method.replace("_", " ") in page for method in done)
    ids, _ = load_maps(run.download("heatmaps/gradcam.npz"))
    assert all(name in page for name in ids)


def test_a_class_without_images_is_left_out(shared_workspace, classifier, dataset, rows, predictions):
    kept = np.flatnonzero((predictions.targets != 0) & (predictions.predicted != 0))
    with runs.parent("explain", config.parse(EXPERIMENT)) as run:
        settings = Explain(count=2, measured=0)
        heatmaps.log(classifier, dataset, rows.where(kept), predictions.where(kept), run, settings)
    sheets = run.artifact_names("heatmaps/gradcam")
    assert sheets
    assert f"heatmaps/gradcam/{predictions.classes[0]}.png" not in sheets
    assert not [name for name in entity(run).metrics if name.startswith("explain/")]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"methods": ["gradcan"]}, "did you mean 'gradcam'"),
        ({"methods": ["occlusion"], "options": {"occlusion": {"path": 0.1}}}, "did you mean 'patch'"),
        ({"methods": ["occlusion"], "options": {"oclusion": {}}}, "did you mean 'occlusion'"),
    ],
)
def test_misspelt_names_are_refused_before_data_are_read(settings, match):
    with pytest.raises(UserError, match=match):
        heatmaps.check(Explain(**settings))


def test_no_sheets_are_asked_for(shared_workspace, classifier, dataset, rows, predictions):
    with runs.parent("explain", config.parse(EXPERIMENT)) as run:
        heatmaps.log(classifier, dataset, rows, predictions, run, Explain(count=0, measured=3), model_name="m")
    assert "explain.html" not in run.artifact_names()
    assert "explain/gradcam/deletion" in entity(run).metrics


def test_missing_masks_are_said(shared_workspace, classifier, dataset, rows, predictions):
    said = []
    bare = rows.with_column("mask", ["", *rows.table["mask"][1:]])
    with runs.parent("explain", config.parse(EXPERIMENT)) as run:
        settings = Explain(count=0, measured=len(rows))
        heatmaps.log(classifier, dataset, bare, predictions, run, settings, say=said.append)
    assert said[0].startswith(f"warning: {len(rows) - 1} of {len(rows)} scored images have a mask")


def test_what_stands_in_is_said_on_the_sheet(logged):
    _, done, _, _ = logged
    (stood_in, *_) = done["attention_rollout"].maps.values()
    assert pictures.title("attention_rollout", stood_in).startswith("occlusion · in place of attention_rollout")


def test_masks_that_do_not_fit_cost_the_scores_alone(
    shared_workspace, classifier, dataset, rows, predictions, monkeypatch
):
    said = []
    wrong = rows.with_column("mask", rows.table["file"].tolist())
    monkeypatch.setattr("cellml.data.masks.image_size", lambda path: (7, 7))
    with runs.parent("explain", config.parse(EXPERIMENT)) as run:
        heatmaps.log(classifier, dataset, wrong, predictions, run, Explain(count=1, measured=3), say=said.append)
    assert said[0].startswith("scores failed: Expected a mask of 7 x 7 pixels")
    assert entity(run).tags["cellml.heatmaps.scores"].startswith("failed: Expected a mask")
    assert "heatmaps/gradcam.npz" in run.artifact_names("heatmaps")
