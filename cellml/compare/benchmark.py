"""The whole comparison: external sets read, models run, the benchmark written to a run."""

from collections.abc import Callable, Sequence

from matplotlib.figure import Figure
from rich.table import Table

from cellml import heatmaps
from cellml.compare import baselines, cells, collect, controls, cost, formats, members, report, sequences, table, words
from cellml.config import Experiment
from cellml.data import external
from cellml.data.external import External
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.errors import UserError
from cellml.evaluation import intervals
from cellml.models import ensemble as models
from cellml.tracking import environment, registry
from cellml.tracking.run import Run
from cellml.training import device as devices

Say = Callable[[str], None]


def externals(experiment: Experiment, dataset: Dataset, say: Say) -> list[External]:
    """Read the external test sets of an experiment; one whose folder is not given is left out.

    Raises:
        UserError: see `external.prepare`.
    """
    wanted = experiment.compare.external
    known = external.given(wanted)
    for name in wanted:
        if name not in known:
            say(
                f"external set {name} left out: give its folder with -P data=OWN,FOLDER or compare.external.{name}.path"
            )
    found = []
    for name, data in known.items():
        one = external.prepare(name, data, dataset, progress=True)
        for line in one.lines():
            say(f"{name}: {line}")
        found.append(one)
    return found


def run(experiment: Experiment, dataset: Dataset, sets: Sequence[External], parent: Run, say: Say) -> Table:
    """Evaluate registered models on the pinned test rows and on external sets; log the benchmark.

    Args:
        experiment: whose models are meant, and how they are compared.
        dataset: with test rows.
        sets: of `externals`.
        parent: the run that it is logged to.
        say: prints a line.

    Returns:
        The table for the terminal.

    Raises:
        UserError: no test rows, no models, or models that do not fit the data.
    """
    test, settings = dataset.manifest.split("test"), experiment.compare
    if not len(test):
        raise UserError("Expected test rows to compare models on, found none; set split.test or name a test split")
    if names := controls.absent(test, experiment.screen):
        say(f"no Z': no test {test.unit} of the control {' or '.join(names)}")
    entries = registry.entries(experiment.name, settings.entries)
    say(f"comparing {len(entries)} models on {len(test)} test {test.unit}s, digest {test.digest}")
    device = experiment.train.device
    evaluated = collect.evaluate(entries, dataset, test, sets, device, progress=True)
    known = cells.settings(evaluated)
    evaluated = cells.told_apart(evaluated, known) + baselines.evaluate(settings.baselines, dataset, test, sets)
    counts = dataset.manifest.split("train").counts
    strips, scores = _explained(evaluated, dataset, test, experiment, say)
    frequencies = dataset.manifest.split("train").frequencies
    ranked = table.build(evaluated, test, frequencies, settings, scores, sets, experiment.screen)
    over_time = sequences.table(table.ordered(evaluated, settings), settings)
    scored, further = sequences.beside(ranked, over_time)
    further += ("z_prime",) if "z_prime" in scored else ()
    alone = members.table({(one.entry.name, one.entry.version): one.members for one in evaluated if one.members})
    benchmark = report.Benchmark(
        name=experiment.name,
        table=ranked,
        evaluated=evaluated,
        test=test,
        settings=settings,
        train_counts=counts,
        description=experiment.description,
        heatmaps=strips,
        cells=cells.table(scored, known, further),
        members=alone,
        sequences=over_time,
        externals=sets,
        device=cost.describe(devices.pick(device)),
        ui=environment.server() or environment.LOCAL_UI,
    )
    with parent.artifacts() as folder:
        report.write(folder / "benchmark", benchmark)
    parent.description(formats.to_markdown(ranked, limit=8000))
    short = formats.to_markdown(ranked, limit=formats.DESCRIPTION_LIMIT)
    registry.describe_models({entry.name for entry in entries}, short)
    for row in alone.to_dict("records"):
        say(words.alone(row))
    if caution := intervals.caution(test.groups):
        say(f"warning: {caution}")
    tables = ", ".join(["table.csv", "table.md", "table.tex", *(f"{one.name}.csv" for one in sets)])
    say(f"benchmark: {tables} and report.html in {parent.artifact_uri}/benchmark")
    return formats.render(ranked)


def _explained(
    evaluated: Sequence[collect.Evaluated], dataset: Dataset, test: Manifest, experiment: Experiment, say: Say
) -> tuple[dict[str, Figure], dict[str, dict[str, float]]]:
    """Of every model that can be explained, a strip of heatmaps and the scores of its maps."""
    strips: dict[str, Figure] = {}
    scores: dict[str, dict[str, float]] = {}
    for one in evaluated:
        if not one.entry.uri:
            continue
        try:
            model = models.of_images(models.load(registry.weights_folder(one.entry.uri)))
        except UserError as error:
            say(f"no heatmaps of {one.name}: {error}")
            continue
        strips[one.name] = heatmaps.strip(model, dataset, test, one.predictions)
        if experiment.explain.count:
            scores[one.name] = heatmaps.faithfulness(model, dataset, test, one.predictions, experiment.explain)
    return strips, scores
