"""Sequence models from a sweep to the benchmark table, and the champion at several lengths."""

import json
import shutil

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from cellml import commands
from cellml.movies.settings import Settings
from cellml.sequences.decode import Decoder, decode
from cellml.sequences.decode import __file__ as decode_file
from cellml.tracking import registry
from tests.e2e.conftest import Project
from tests.training import movies
from tests.training.helpers import experiment

pytestmark = pytest.mark.slow
CONSUMER = """
sys.path.insert(0, {folder!r})
from decode import Decoder, decode
model = mlflow.pyfunc.load_model("models:/discs.test_resnet-0x2B-gru@champion")
shapes = []
for shape in ((1, 1), (2, 7), (1, 33)):
    p = model.predict(rng.integers(0, 256, (*shape, 24, 24, 1), dtype=np.uint8))
    assert abs(p.sum(2) - 1).max() < 1e-5
    shapes.append(list(p.shape))
frames = rng.integers(0, 256, (1, 9, 24, 24, 1), dtype=np.uint8)
stages = decode(np.log(model.predict(frames)[0]), Decoder.from_dict(model.metadata.metadata["decoder"]))
print(json.dumps([shapes, len(stages), sorted(set(sys.modules) & Refuse.names)]))
"""


def test_sequence_models_sweep_register_and_rank(workspace, capsys):
    (workspace / "discs").mkdir()
    chosen = {"sweep.backbones": ["test_resnet", "test_resnet+gru"], "sweep.trials": 4, "explain.count": 2}
    chosen |= {"sweep.versions": "all", "compare.entries": "all"}
    data = {"name": "discs", "data.path": str(workspace / "discs"), "data.source": movies.SOURCE}
    own = experiment(**data, **chosen, **{"train.batch_size": 2, "train.epochs": 6, "sequence.units": 8})
    commands.main(own)
    said = capsys.readouterr().out
    assert "no heatmaps of discs.test_resnet-0x2B-gru v1: Expected a model that judges images by themselves" in said
    gru = registry.predictor("models:/discs.test_resnet-0x2B-gru@champion")
    assert (gru.sequential, gru.metadata["sequence"]) == (True, {"units": 8, "layers": 1})
    over_time = pd.read_csv(next(workspace.rglob("benchmark/sequences.csv")))
    assert over_time["reading"].tolist() == ["frames", "decoded"] * 4
    assert (over_time.loc[1::2, "illegal_transitions"] == 0).all()
    seeds = pd.read_csv(next(workspace.rglob("benchmark/cells.csv")))
    assert seeds["n"].tolist() == [2, 2]
    own = over_time[over_time["reading"] == "decoded"].groupby("backbone")["transition_error"].mean()
    np.testing.assert_allclose(seeds["decoded_transition_error"], own[seeds["backbone"]])
    champion = mlflow.pyfunc.load_model("models:/discs@champion")
    for shape in ((1, 1, 24, 24), (3, 5, 24, 24), (1, 40, 30, 28)):
        clip = np.random.default_rng(0).integers(0, 256, (*shape, gru.channels), dtype=np.uint8)
        assert champion.predict(clip).shape == (*shape[:2], 3)
    cells = of_a_movie(workspace)
    assert gru.metadata["decoder"]["grammar"]["states"]
    assert cells["decoded"].isin(movies.STAGES).all()
    own = Decoder.from_dict(gru.metadata["decoder"])
    best = decode(np.log(cells[[f"p_{stage}" for stage in movies.STAGES]]), own)
    assert cells["decoded"].tolist() == [movies.STAGES[stage] for stage in best]
    shutil.copy(decode_file, workspace / "decode.py")
    *_, told = Project(workspace).consume(CONSUMER.format(folder=str(workspace))).splitlines()
    assert json.loads(told) == [[[1, 1, 3], [2, 7, 3], [1, 33, 3]], 9, []]
    entry = registry.resolve("models:/discs.test_resnet@champion")
    run = mlflow.MlflowClient().list_artifacts(entry.run_id, "heatmaps/gradcam")
    assert {item.path.rpartition("/")[2] for item in run} >= {"before.png", "during.png", "after.png"}


def of_a_movie(workspace):
    """What the registered recurrent model says of one of the cells as a movie, decoded."""
    rows = movies.write(workspace / "discs")
    rows = rows[rows["sequence"] == "cell03"]
    frames = np.stack([np.asarray(Image.open(workspace / "discs" / file)) for file in rows["file"]])
    tifffile.imwrite(workspace / "cell.tif", frames, imagej=True, metadata={"axes": "TYX"})
    tracks = rows[["frame"]].assign(track=1, x=12, y=12, parent=0, stage=rows["label"])
    tracks.to_csv(workspace / "tracks.csv", index=False)
    chosen = Settings(str(workspace / "cell.tif"), tracks=str(workspace / "tracks.csv"), window=24, rate=4.0)
    commands.movie("models:/discs.test_resnet-0x2B-gru@champion", chosen)
    (table,) = workspace.rglob("movie/cells.csv")
    return pd.read_csv(table)


def test_transcripts_alone_are_enough_to_train_on(workspace):
    rows = movies.write(workspace / "discs", count=16)
    lines = []
    for name, own in rows.groupby("sequence"):
        if own["split"].iloc[0] == "train":
            order = own["label"][own["label"] != own["label"].shift()]
            lines.append((name, "", "", ">".join(order), "train"))
        else:
            lines += [
                (name, frame, label, "", split) for frame, label, split in own[["frame", "label", "split"]].values
            ]
    table = pd.DataFrame(lines, columns=["sequence", "frame", "label", "transcript", "split"])
    table.to_csv(workspace / "discs" / "stages.csv", index=False)
    for mask in (workspace / "discs").rglob("*_mask.png"):
        mask.unlink()
    data = {"data.source": "sequences", "data.path": str(workspace / "discs"), "data.table": "stages.csv"}
    data |= {"data.classes": list(movies.STAGES), "data.split": "split", "model.backbone": "test_resnet+gru"}
    weak = {"sequence.supervision": "transcripts", "sequence.transcripts.aligner": "test_resnet", "sequence.units": 8}
    commands.train(experiment(**data, **weak, **{"name": "weak", "train.epochs": 6, "train.batch_size": 2}))
    run = mlflow.MlflowClient().get_run(registry.resolve("models:/weak.test_resnet-0x2B-gru/1").run_id)
    metrics = run.data.metrics
    assert metrics["test_decoded/balanced_accuracy"] > 0.5
    assert metrics["test/majority_balanced_accuracy"] == pytest.approx(1 / 3)
