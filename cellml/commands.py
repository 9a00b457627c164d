"""What each entry point does: load, run, print. The command line calls these, and so may other code."""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from cellml import crossval as cross_validation
from cellml import ensemble as ensembles
from cellml import heatmaps, pretraining, records, vision
from cellml import trial as trials
from cellml.compare import benchmark
from cellml.config import Experiment
from cellml.counterfactuals import run as changed
from cellml.counterfactuals import settings as changing
from cellml.data import images as files
from cellml.data import store
from cellml.data.cache import folder as cache_folder
from cellml.data.prepare import Dataset, prepare
from cellml.errors import UserError
from cellml.evaluation import combine, intervals, metrics
from cellml.explain import base
from cellml.models import ensemble as models
from cellml.movies import registered
from cellml.movies import run as movies
from cellml.movies.settings import Settings
from cellml.screening import registered as screened
from cellml.screening import run as screens
from cellml.secrets import hidden
from cellml.sweep import driver, register, space
from cellml.sweep import join as joining
from cellml.sweep import reconcile as reconciling
from cellml.sweep import storage as storages
from cellml.tracking import environment, names, registry, runs
from cellml.tracking.run import Run
from cellml.training.predict import predict as predict_split

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)
FOLDS = 5  # of a cross-validation that does not say
SHOWN = 24  # treatments that `screen` prints
BATCH = 64  # images of one shape that `predict` gives the model at once


def main(experiment: Experiment, storage: str = "") -> None:
    """Sweep, register and compare in one parent run, then say how to look at the result and use it."""
    with runs.parent("main", experiment) as parent:
        url = _database(storage)
        dataset = _prepared(experiment, parent, storage=url)
        externals = benchmark.externals(experiment, dataset, _say)
        registered = _sweep(experiment, dataset, parent, url)
        console.print(benchmark.run(experiment, dataset, externals, parent, _say))
        _farewell(parent, registered.champion)


def sweep(experiment: Experiment, storage: str = "") -> None:
    """Run or continue a sweep and register the best trial of every cell."""
    with runs.parent("sweep", experiment) as parent:
        url = _database(storage)
        dataset = _prepared(experiment, parent, storage=url)
        registered = _sweep(experiment, dataset, parent, url)
        _farewell(parent, registered.champion)


def worker(storage: str, study: str, data: str, wait: bool) -> None:
    """Join sweeps that were begun elsewhere."""
    with runs.own("worker"):
        joining.join(_database(storage), study, data, wait, _say)


def reconcile(storage: str) -> None:
    """Close runs whose process is gone, and let Optuna and MLflow tell the same again."""
    with runs.own("reconcile"):
        url = _database(storage)
        for line in reconciling.everything(url) or [f"nothing to put right in {hidden(url)} and its runs"]:
            _say(line)


def train(experiment: Experiment) -> None:
    """Fit one model, evaluate it on validation and test rows, register it as a version of `<experiment>.<backbone>`.

    With `train.refit` the model is fitted once more on training and validation rows together, and that one is
    evaluated on the test rows and registered. With `train.folds` it is `crossval`.
    """
    with runs.parent("train", experiment) as tracked:
        _train(experiment, tracked)


def crossval(experiment: Experiment) -> None:
    """Cross-validate on training and validation rows; evaluate and register the ensemble of the folds' networks."""
    own = experiment if experiment.train.folds else experiment.replace({"train.folds": FOLDS})
    with runs.parent("crossval", own) as tracked:
        _train(own, tracked)


def _train(experiment: Experiment, tracked: Run) -> None:
    dataset = _prepared(experiment, tracked)
    splits, settings = ["test"] if len(dataset.manifest.split("test")) else [], experiment.train
    outcome = trials.run(experiment, dataset, tracked, splits=[] if settings.refit else splits)
    classifier, judged = outcome.classifier, outcome.predictions[outcome.judged]
    spread = f" +- {outcome.deviation:.4f} over {settings.folds} folds" if settings.folds else ""
    _say(f"validation {settings.monitor} {outcome.score:.4f}{spread}")
    if settings.refit:
        _say("refitting on training and validation rows together")
        classifier = register.refit(experiment, dataset, tracked, progress=True).classifier
        rest = {name: predict_split(classifier, dataset, dataset.manifest.split(name)) for name in splits}
        records.log_predictions(dataset, tracked, rest)
    elif "test" in outcome.singles:
        found = cross_validation.log_test(outcome.singles["test"], outcome.best, outcome.predictions["test"], tracked)
        _table("test rows: the folds' networks, and what their ensemble gains over the best of them", found)
        if caution := intervals.caution(outcome.predictions["test"].groups):
            _say(f"warning: {caution}")
    uri = register.log_model(experiment, dataset, classifier, judged, tracked)
    name = names.model_name(experiment.name, experiment.model.backbone)
    tags = {
        registry.EXPERIMENT: experiment.name,
        registry.BACKBONE: experiment.model.backbone,
        registry.STRATEGY: experiment.sampling.strategy,
        "cellml.monitor": settings.monitor,
        "cellml.validation_score": f"{outcome.score:.6f}",
        "cellml.run_id": tracked.id,
    }
    version = registry.register(uri, name, tags)
    _farewell(tracked, f"models:/{name}/{version}")


def pretrain(experiment: Experiment) -> None:
    """Train the backbone on the training images alone, and register it as `<experiment>.<backbone>.pretrained`."""
    with runs.parent("pretrain", experiment) as tracked:
        dataset = _prepared(experiment, tracked)
        uri = pretraining.run(experiment, dataset, tracked, _say)
        _say(f"its weights in another experiment: model.weights: {uri}")
        _farewell(tracked)


def compare(experiment: Experiment) -> None:
    """Evaluate registered models on the pinned test set and on external ones, and write the benchmark table."""
    with runs.parent("compare", experiment) as parent:
        dataset = _prepared(experiment, parent, contact_sheets=False)
        externals = benchmark.externals(experiment, dataset, _say)
        console.print(benchmark.run(experiment, dataset, externals, parent, _say))
        _farewell(parent)


def ensemble(experiment: Experiment, uris: str = "", rule: str = "mean") -> None:
    """Make one model of registered ones, weighed by their validation predictions; a version of `<experiment>.ensemble`.

    Raises:
        UserError: an unknown rule, fewer than two models, or models that do not go together or do not fit the data.
    """
    tags = {registry.BACKBONE: models.BACKBONE, registry.STRATEGY: rule}
    with runs.parent("ensemble", experiment, tags=tags) as tracked:
        combine.RULES[rule]
        chosen = ensembles.entries(experiment, uris)
        dataset = _prepared(experiment, tracked, contact_sheets=False)
        _farewell(tracked, ensembles.run(experiment, dataset, tracked, chosen, rule, _say))


def explain(model: str, experiment: Experiment) -> None:
    """Explain a registered model on the test images, or the validation images where there is no test set.

    Raises:
        UserError: no such model, one without `weights/`, other images than it was trained on, or no method that works.
    """
    with runs.parent("explain", experiment, tags={"cellml.model": model}) as tracked:
        if not experiment.explain.methods:
            raise UserError("Expected methods to explain by, got none; name some of `cellml list explainers`")
        classifier = models.of_images(models.load(registry.weights_folder(model)))
        base.check_finite(classifier)
        _check_channels(model, experiment)
        dataset = _prepared(experiment, tracked, contact_sheets=False)
        rows = dataset.manifest.split("test")
        rows = rows if len(rows) else dataset.manifest.split("val")
        predictions = predict_split(classifier, dataset, rows, progress=True)
        done = heatmaps.log(
            classifier,
            dataset,
            rows,
            predictions,
            tracked,
            experiment.explain,
            model_name=model,
            thorough=True,
            say=_say,
        )
        if not done:
            raise UserError(f"Expected heatmaps of {model}, every method failed: see above; choose other methods")
        _say(f"explain.html, and sheets and raw maps in heatmaps/: {tracked.artifact_uri}")
        _farewell(tracked)


def _check_channels(model: str, experiment: Experiment) -> None:
    """Refuse to explain a model on other channels than it was trained on, or in another order."""
    trained = experiment_of(model).data.channels
    if trained is not None and experiment.data.channels != trained:
        raise UserError(
            f"Expected data.channels {trained} as {model} was trained on, got {experiment.data.channels}; leave it out"
        )


def counterfactual(model: str, judge: str, experiment: Experiment, settings: changing.Settings) -> None:
    """Change test cells until a registered model says another class, and have another model judge them.

    Raises:
        UserError: no such model, one without `weights/`, models that do not go together, or nothing to change.
    """
    with runs.parent("counterfactual", experiment, tags={"cellml.model": model, "cellml.judge": judge}) as tracked:
        _check_channels(model, experiment)
        if registry.resolve(model).source == registry.resolve(judge).source:
            raise UserError(f"Expected a judge other than the model itself, got {judge}; name another model")
        own, other = (changed.network(models.load(registry.weights_folder(uri)), uri) for uri in (model, judge))
        dataset = _prepared(experiment, tracked, contact_sheets=False)
        changed.run(own, other, dataset, settings, tracked, model, _say)
        _say(f"counterfactuals/: summary.csv, changes.csv, sheets and walks a pair of classes: {tracked.artifact_uri}")
        _farewell(tracked)


def predict(model: str, images: str, out: str) -> None:
    """Write a CSV file with the predicted class and the class probabilities of every image of a folder.

    Raises:
        UserError: no images, or images that the model does not take.
    """
    target = _writable(Path(out))
    with runs.parent("predict", None, tags={"cellml.model": model}) as tracked:
        predictor = registry.predictor(model)
        root = store.fetch(images, cache_folder(None), what="images")
        predicted, skipped = _predicted(predictor, root)
        predicted.to_csv(target, index=False)
        tracked.file(target)
        tracked.metrics({"images": len(predicted), "skipped": skipped})
        _say(f"{len(predicted)} images predicted, {skipped} skipped: {target}")


def movie(model: str, settings: Settings) -> None:
    """Ask a registered model about every cell of a movie: overlay, table of cells, population curves.

    Raises:
        UserError: a movie, tracks, outlines or masks that cannot be read, or that the model does not take.
    """
    with runs.parent("movie", None, tags={"cellml.model": model}) as tracked:
        movies.run(settings, registered.model(model), tracked, _shown, _say)
        _say(f"movie/overlay.mp4, overlay.gif, cells.csv and population.csv: {tracked.artifact_uri}")
        _farewell(tracked)


def screen(model: str, experiment: Experiment) -> None:
    """Score the cells of a screen by a registered model: what tells the controls apart, what treatments do.

    Raises:
        UserError: no such model, controls or columns, or images that the model does not take.
    """
    with runs.parent("screen", experiment, tags={"cellml.model": model}) as tracked:
        screens.check(experiment.screen)
        _check_channels(model, experiment)
        made = screens.run(experiment.screen, experiment.data, screened.model(model, _shown), tracked, _say)
        _table("treatments, those nearest to the negative control first", made.shown().head(SHOWN))
        tracked.description(made.markdown())
        _say(f"screen/report.md, tables and figures: {tracked.artifact_uri}")
        _farewell(tracked)


def _shown(items: Iterable[int], what: str) -> Iterable[int]:
    return track(list(items), what, console=Console(stderr=True), transient=True)


def data(experiment: Experiment) -> None:
    """Check a data set; print and log the report with a contact sheet a class."""
    with runs.parent("data", experiment) as tracked:
        _dataset(experiment, tracked)
        _farewell(tracked)


def experiment_of(model: str) -> Experiment:
    """The experiment that a registered model was trained with.

    Raises:
        UserError: no such model, or one whose run has no config.yaml.
    """
    return runs.experiment_of(registry.resolve(model).run_id)


def _prepared(experiment: Experiment, tracked: Run, *, storage: str = "", contact_sheets: bool = True) -> Dataset:
    """The data of an experiment, or of a sweep in a storage; what can be checked is checked before they are read."""
    if storage:
        trials.check(
            experiment, space.backbones(experiment), space.strategies(experiment), space.placements(experiment)
        )
    else:
        trials.check(experiment)
    for uri in (experiment.model.weights, experiment.sampling.embeddings):
        if uri.startswith("models:/"):
            registry.resolve(uri)
    if storage:
        storages.open_storage(storage)
    dataset = _dataset(experiment, tracked, contact_sheets)
    trials.check_classes(experiment, dataset.manifest.classes, dataset.manifest.sequences is not None)
    return dataset


def _dataset(experiment: Experiment, tracked: Run, contact_sheets: bool = True) -> Dataset:
    dataset = prepare(experiment, progress=True)
    metrics.names(dataset.manifest.classes)
    lines = dataset.report.lines()
    counts = len(dataset.report.counts)
    for line in lines if contact_sheets else lines[:counts]:
        _say(line)
    if not contact_sheets and len(lines) > counts:
        _say(f"{len(lines) - counts} lines of warnings: the data entry point prints them")
    source = experiment.data.path or ""
    records.log_dataset(dataset, tracked, experiment.name, source, contact_sheets=contact_sheets)
    return dataset


def _database(given: str) -> str:
    return given or storages.default_url(environment.tracking_uri())


def _sweep(experiment: Experiment, dataset: Dataset, parent: Run, url: str) -> register.Registered:
    swept = driver.run(experiment, dataset, parent, url, _say)
    return register.register(experiment, dataset, swept.study, parent, _say)


def _predicted(predictor: registry.Predictor, root: Path) -> tuple[pd.DataFrame, int]:
    paths = files.list_images(root) if root.is_dir() else [root]
    rows: dict[int, list[object]] = {}
    waiting: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = {}  # by shape
    skipped, reason = 0, ""

    def flush(batch: list[tuple[int, np.ndarray]]) -> None:
        probabilities = predictor.predict(np.stack([image for _, image in batch]))
        for (place, _), p in zip(batch, probabilities, strict=True):
            path = paths[place]
            name = path.relative_to(root).as_posix() if path != root else path.name
            rows[place] = [name, predictor.classes[int(p.argmax())], *p.tolist()]
        batch.clear()

    for place, path in enumerate(track(paths, "predicting", console=Console(stderr=True), transient=True)):
        try:
            image = files.read_image(path)
            predictor.check(image, path.name)
        except UserError as error:
            _say(f"skipped: {error}")
            skipped, reason = skipped + 1, str(error)
            continue
        batch = waiting.setdefault(image.shape, [])
        batch.append((place, image))
        if len(batch) == BATCH:
            flush(batch)
    for batch in waiting.values():
        if batch:
            flush(batch)
    if not rows:
        raise UserError(
            f"Expected images that the model takes in {root}, found none among {len(paths)} files: {reason}"
        )
    columns = ["file", "predicted", *(f"p_{name}" for name in predictor.classes)]
    return pd.DataFrame([rows[place] for place in sorted(rows)], columns=columns), skipped


def _farewell(tracked: Run, model: str | None = None) -> None:
    _say("")
    for line in environment.ui_hint(tracked.experiment_id):
        _say(line)
    if model:
        # Where torchvision does not fit torch, MLflow's import of lightning needs the remedy of `cellml.vision`.
        imports = "cellml.vision, mlflow" if vision.define_missing_operators() else "mlflow"
        _say(f"python -c 'import {imports}; model = mlflow.pyfunc.load_model(\"{model}\")'")


def _writable(target: Path) -> Path:
    if not target.parent.is_dir():
        raise UserError(f"Expected a folder to write {target.name} into, found none at {target.parent}; create it")
    try:
        with target.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise UserError(f"Expected a file that can be written at {target}, got: {error.strerror}; change out") from None
    return target


def _table(title: str, frame: pd.DataFrame) -> None:
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in frame:
        shown.add_column(str(name), justify="left" if name == frame.columns[0] else "right")
    for row in frame.itertuples(index=False):
        shown.add_row(*(f"{value:.3f}" if isinstance(value, float) else escape(str(value)) for value in row))
    console.print(shown)


def _say(line: str) -> None:
    console.print(line, markup=False)
