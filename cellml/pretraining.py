"""Self-supervised pretraining as one run: curves, probes and, in the registry, weights to start from."""

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from cellml import records
from cellml import trial as trials
from cellml.config import Experiment
from cellml.data.prepare import Dataset
from cellml.evaluation import metrics, progress, thresholds
from cellml.models.classifier import Classifier
from cellml.tracking import export, names, registry
from cellml.tracking.run import Run
from cellml.training import pretrain

Say = Callable[[str], None]


def run(experiment: Experiment, dataset: Dataset, tracked: Run, say: Say) -> str:
    """Pretrain on the training images and register the result as a version of `<experiment>.<backbone>.pretrained`.

    Logs to the run: the loss and its terms an epoch, `probe/<metric>` of a linear probe on the validation rows before
    training and from time to time, `pretraining.csv`, `figures/pretraining.png`, what the last probe says of the
    validation rows, and `weights/`. The registered model is the network with that probe as its last layer.

    Args:
        experiment: its `pretrain` section.
        dataset: prepared data.
        tracked: the run that receives it all.
        say: prints a line.

    Returns:
        `models:/<experiment>.<backbone>.pretrained/VERSION`; the alias `champion` goes to the version with the best
        last probe on the same data.

    Raises:
        UserError: see `cellml.training.pretrain.pretrain`, or a network that cannot be exported.
    """
    start, monitor = trials.starting_point(experiment), f"probe/{experiment.train.monitor}"

    def epoch_done(epoch: int, record: dict[str, float]) -> None:
        tracked.metrics(records.keyed(record), step=epoch)
        if monitor in record:
            when = f"epoch {epoch}" if epoch else "before pretraining"
            say(f"{when}: linear probe on the validation rows, {experiment.train.monitor} {record[monitor]:.4f}")

    done = pretrain.pretrain(experiment, dataset, on_epoch=epoch_done, start=start)
    with tracked.artifacts() as folder:
        (folder / "figures").mkdir()
        progress.pretraining(done.history).savefig(folder / "figures" / "pretraining.png")
        pd.DataFrame(done.history).rename_axis("epoch").to_csv(folder / "pretraining.csv")
    records.log_predictions(dataset, tracked, {"val": done.validation})
    gain = done.history[-1][monitor] - done.history[0][monitor]
    if not (gain > 0 if metrics.higher_is_better(experiment.train.monitor) else gain < 0):
        say(f"warning: by {experiment.train.monitor} the probe is no better than before pretraining; try more epochs")
    spec = replace(done.classifier.spec, thresholds=thresholds.operating_threshold(done.validation))
    known = {"experiment": experiment.name}
    model = Classifier(spec, done.classifier.net)
    uri = export.log_classifier(tracked, model, export.example_of(dataset), known)
    name = names.model_name(experiment.name, f"{experiment.model.backbone}.pretrained")
    score = metrics.value(experiment.train.monitor, done.validation)
    tags = {
        registry.EXPERIMENT: experiment.name,
        registry.BACKBONE: experiment.model.backbone,
        registry.STRATEGY: pretrain.METHOD,
        registry.PRETRAINED: pretrain.METHOD,
        registry.MONITOR: experiment.train.monitor,
        registry.SCORE: f"{score:.6f}",
        registry.DATA: spec.digest,
        "cellml.run_id": tracked.id,
    }
    version = registry.register(uri, name, tags)
    registry.set_alias(name, registry.CHAMPION, best := registry.best(name, tags))
    if best != version:
        say(f"version {version} is registered; version {best} has the better probe and stays {registry.CHAMPION}")
    return f"models:/{name}/{version}"
