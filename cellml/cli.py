"""The command line: one command per MLproject entry point; parse, call, print.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

import click

from cellml.errors import UserError, near
from cellml.movies.options import OPTIONS
from cellml.secrets import hidden, traced

LISTS = {
    "sources": "cellml.data.sources:SOURCES",
    "strategies": "cellml.sampling.strategies:STRATEGIES",
    "losses": "cellml.training.losses:LOSSES",
    "metrics": "cellml.evaluation.metrics:METRICS",
    "sequence_metrics": "cellml.evaluation.segments:METRICS",
    "explainers": "cellml.explain.base:EXPLAINERS",
    "counterfactuals": "cellml.explain.counterfactual:METHODS",
    "backbones": "cellml.models.backbones",
    "sequences": "cellml.models.temporal.names",
    "attention": "cellml.models.attention:ATTENTION",
    "baselines": "cellml.compare.baselines:BASELINES",
    "rules": "cellml.evaluation.combine:RULES",
}
OVERRIDES = {"ignore_unknown_options": True, "allow_extra_args": True}


def main() -> None:
    """Run a command; a user's mistake is one line on stderr and exit status 2."""
    sys.excepthook = _masked
    try:
        status = cli(standalone_mode=False)
    except UserError as error:
        _fail(str(error))
    except click.ClickException as error:
        _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "interrupted; the same command continues a sweep or a cross-validation, and starts anything else anew",
            err=True,
        )
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)


@click.group(
    no_args_is_help=False, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="cellml")
def cli() -> None:
    """Classify cell images with tracked experiments: one experiment file in, a ranked benchmark table out.

    Any key of the experiment file can be set on the command line by its dotted path: --train.epochs 5
    """
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        raise UserError(f"Expected a command, got none: {', '.join(cli.commands)}; cellml --help says more")


def _command(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command on one experiment file, with dotted overrides."""
    function = click.pass_context(function)
    function = click.option("--data", default="", help="Folder or s3:// prefix with the images.")(function)
    function = click.option(
        "--budget", default="", expose_value=False, callback=_keep, help="One of the file's budgets, smoke say."
    )(function)
    return click.option("--experiment", required=True, metavar="FILE", help="The experiment file (YAML).")(function)


def _registered(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command on a registered model and the images of an experiment file, the model's own by default."""
    function = click.option("--data", default="", help="Folder or s3:// prefix with the images.")(function)
    function = click.option(
        "--experiment", default="", metavar="FILE", help="The experiment file; the model's own by default."
    )(function)
    return click.option("--model", required=True, help="models:/NAME@champion or models:/NAME/VERSION.")(function)


def _keep(context: click.Context, parameter: click.Parameter, value: str) -> None:
    context.meta[parameter.name] = value


def _sweep_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, text in (
        ("storage", "Optuna database URL; CELLML_STORAGE, else an SQLite file beside the tracking store."),
        ("workers", "Processes here that share the sweep; 0 leaves its trials to `worker`."),
        ("timeout", "Seconds after which no new trial starts."),
        ("trials", "How many finished trials the study shall have."),
    ):
        function = click.option(f"--{name}", default="", help=text)(function)
    return function


@cli.command("main", context_settings=OVERRIDES)
@_command
@_sweep_options
def main_(context: click.Context, experiment: str, data: str, storage: str, **given: str) -> None:
    """Sweep, register and compare in one run."""
    own, others = _folders(data)
    loaded = _with_folders(_experiment(context, experiment, own, given), others)
    from cellml import commands

    commands.main(loaded, storage)


@cli.command(context_settings=OVERRIDES)
@_command
@_sweep_options
def sweep(context: click.Context, experiment: str, data: str, storage: str, **given: str) -> None:
    """Search over backbones, sampling strategies and hyper-parameters; register the best."""
    loaded = _experiment(context, experiment, data, given)
    from cellml import commands

    commands.sweep(loaded, storage)


@cli.command()
@click.option("--storage", default="", help="Optuna database URL of the sweep; CELLML_STORAGE by default.")
@click.option("--study", default="", help="The study's name as its sweep printed it; every open sweep by default.")
@click.option("--data", default="", help="Folder or s3:// prefix of the same images, where they lie elsewhere here.")
@click.option(
    "--wait", default="", is_flag=False, flag_value="yes", metavar="", help="Stay, for sweeps to come or continued."
)
def worker(storage: str, study: str, data: str, wait: str) -> None:
    """Join sweeps that were begun elsewhere: run their trials until none is left."""
    from cellml import commands

    if wait not in ("", "yes", "no"):
        raise UserError(f"Expected yes or no for wait, got {wait!r}")
    commands.worker(storage, study, data, wait == "yes")


@cli.command()
@click.option("--storage", default="", help="Optuna database URL; CELLML_STORAGE by default.")
def reconcile(storage: str) -> None:
    """Close runs whose process is gone, and let Optuna and MLflow tell the same again."""
    from cellml import commands

    commands.reconcile(storage)


@cli.command(context_settings=OVERRIDES)
@_command
def train(context: click.Context, experiment: str, data: str) -> None:
    """Fit, evaluate and register one model."""
    loaded = _experiment(context, experiment, data)
    from cellml import commands

    commands.train(loaded)


@cli.command(context_settings=OVERRIDES)
@_command
def pretrain(context: click.Context, experiment: str, data: str) -> None:
    """Train a backbone on images without their labels; register its weights for model.weights."""
    loaded = _experiment(context, experiment, data)
    from cellml import commands

    commands.pretrain(loaded)


@cli.command(context_settings=OVERRIDES)
@_command
@click.option("--folds", default="", help="Parts that are left out in turn; 5, or train.folds of the file.")
@click.option("--repeats", default="", help="How often, each time with another division and seed.")
def crossval(context: click.Context, experiment: str, data: str, folds: str, repeats: str) -> None:
    """Cross-validate one model; register the ensemble of the folds' networks."""
    loaded = _experiment(context, experiment, data, {"train.folds": folds, "train.repeats": repeats})
    from cellml import commands

    commands.crossval(loaded)


@cli.command(context_settings=OVERRIDES)
@_command
@click.option("--entries", default="", help="champions, cells, all, or models:/ URIs separated by commas.")
def compare(context: click.Context, experiment: str, data: str, entries: str) -> None:
    """Rank registered models on one pinned test set; --data OWN,OTHER adds folders of external test sets."""
    own, others = _folders(data)
    loaded = _with_folders(_experiment(context, experiment, own, {"compare.entries": entries}), others)
    from cellml import commands

    commands.compare(loaded)


@cli.command(context_settings=OVERRIDES)
@_command
@click.option("--models", default="", help="models:/ URIs separated by commas; the backbones' champions by default.")
@click.option("--rule", default="mean", show_default=True, help="Where the weights come from: cellml list rules.")
def ensemble(context: click.Context, experiment: str, data: str, models: str, rule: str) -> None:
    """Weigh registered models by their validation predictions; register them as one model."""
    loaded = _experiment(context, experiment, data)
    from cellml import commands

    commands.ensemble(loaded, models, rule)


@cli.command(context_settings=OVERRIDES)
@_registered
@click.option("--methods", default="", help="Explainers separated by commas.")
@click.option("--count", default="", help="Images a class.")
@click.pass_context
def explain(context: click.Context, model: str, experiment: str, data: str, methods: str, count: str) -> None:
    """Heatmaps of a registered model on the test images."""
    from cellml import commands

    named = [m.strip() for m in methods.split(",") if m.strip()]
    values = {"explain.methods": named if methods else "", "explain.count": count}
    loaded = _experiment(context, experiment or commands.experiment_of(model), data, values)
    commands.explain(model, loaded)


@cli.command(context_settings=OVERRIDES)
@_registered
@click.option("--judge", required=True, help="Another registered model of the same classes.")
@click.option("--method", default="", help="means, boundary or search; of a model without a way back to images search.")
@click.option("--source", default="", help="Class that cells come from; each in turn by default.")
@click.option("--target", default="", help="Class that they go to; each other in turn by default.")
@click.option("--count", default="", help="Cells a pair of classes at most; 200.")
@click.option("--channels", default="", help="Names of the channels separated by commas.")
@click.pass_context
def counterfactual(context: click.Context, model: str, judge: str, experiment: str, data: str, **given: str) -> None:
    """How cells would have to change for a model to say another class, judged by a second model."""
    from cellml import commands
    from cellml.counterfactuals.settings import Settings

    loaded = _experiment(context, experiment or commands.experiment_of(model), data)
    commands.counterfactual(model, judge, loaded, Settings.parsed(given))


@cli.command()
@click.option("--model", required=True, help="models:/NAME@champion or models:/NAME/VERSION.")
@click.option("--images", required=True, help="Folder, s3:// prefix or file with images.")
@click.option("--out", default="predictions.csv", show_default=True, help="CSV file to write.")
def predict(model: str, images: str, out: str) -> None:
    """Class probabilities for a folder of images, as a CSV file."""
    from cellml import commands

    commands.predict(model, images, out)


def _movie_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, text in reversed(OPTIONS.items()):
        function = click.option(f"--{name}", default="", help=text)(function)
    return function


@cli.command()
@click.option("--model", required=True, help="models:/NAME@champion or models:/NAME/VERSION.")
@click.option("--movie", required=True, help="Folder of frames, TIFF of several pages, or .npy.")
@_movie_options
def movie(model: str, **given: str) -> None:
    """What a model says of a movie's cells: overlay, table of cells, population curves."""
    from cellml import commands
    from cellml.movies.settings import Settings

    commands.movie(model, Settings.parsed(given))


@cli.command(context_settings=OVERRIDES)
@_registered
@click.option("--negative", default="", help="Control that others are to look like, the wild type say.")
@click.option("--positive", default="", help="Control at the other end of the score, the disease say.")
@click.option("--plate", default="", help="Column; plate by default, null for none.")
@click.option("--well", default="", help="Column; well by default, null for the experiment's groups.")
@click.option("--treatment", default="", help="Column; the images' classes by default.")
@click.option("--score", default="", help="logit, probability, probability:CLASS or discriminant.")
@click.pass_context
def screen(context: click.Context, model: str, experiment: str, data: str, **given: str) -> None:
    """Z'-factor of two controls, and treatments by their distance, on a registered model's score."""
    from cellml import commands

    values = {f"screen.{key}": value for key, value in given.items()}
    loaded = _experiment(context, experiment or commands.experiment_of(model), data, values)
    commands.screen(model, loaded)


@cli.command(context_settings=OVERRIDES)
@_command
def data(context: click.Context, experiment: str, data: str) -> None:
    """Check a data set: counts, duplicates, leaks between splits, a contact sheet a class."""
    loaded = _experiment(context, experiment, data)
    from cellml import commands

    commands.data(loaded)


@cli.command()
@click.option("--storage", default="", help="Optuna database URL, postgresql://… say; CELLML_STORAGE by default.")
@click.option("--host", default="localhost", show_default=True, help="Address to listen on; 0.0.0.0 for every one.")
@click.option("--port", default=13000, show_default=True, help="Port to listen on.")
def proxy(storage: str, host: str, port: int) -> None:
    """Serve a sweep's database to many workers, which name it --storage grpc://HOST:PORT."""
    from cellml.sweep import proxy as proxies
    from cellml.sweep import storage as storages

    proxies.serve(storages.open_storage(proxies.database(storage)), host, port, click.echo)


@cli.command("list")
@click.argument("what", metavar="|".join(LISTS))
def list_(what: str) -> None:
    """Print what may stand in an experiment file."""
    import importlib

    if what not in LISTS:
        raise UserError(f"Expected one of {', '.join(LISTS)}, got {what!r}: {near(what, LISTS)}")
    path, _, name = LISTS[what].partition(":")
    module = importlib.import_module(path)
    known = getattr(module, name) if name else module
    members = known.describe()
    width = max(len(name) for name, _ in members)
    for name, summary in members:
        options = known.option_names(name) if hasattr(known, "option_names") else []
        taken = f" [options: {', '.join(options)}]" if options else ""
        click.echo(f"{name:<{width}}  {summary}{taken}".rstrip())


def _experiment(context: click.Context, source: Any, data: str, given: dict[str, Any] | None = None) -> Any:
    from cellml import config

    values: dict[str, Any] = {}
    for key, value in (given or {}).items():
        if value != "":
            path = key if "." in key else f"sweep.{key}"
            values[path] = _value(path, value)
    extra = list(context.args)
    while extra:
        flag = extra.pop(0)
        if not flag.startswith("--"):
            raise UserError(f"Expected --KEY VALUE with a key of the experiment file, got {flag!r}")
        key, equals, value = flag.removeprefix("--").partition("=")
        if not equals:
            if not extra:
                raise UserError(f"Expected a value after {flag!r}, found none")
            value = extra.pop(0)
        values[key] = _value(key, value)
    if data:
        values["data.path"] = data
    loaded = config.load(source) if isinstance(source, str) else source
    if context.meta.get("budget"):
        loaded = loaded.within(context.meta["budget"])
    return loaded.replace(values)


def _folders(data: str) -> tuple[str, list[str]]:
    """The experiment's own data folder and those of external test sets, separated by commas."""
    from pathlib import Path

    if "," not in data or Path(data).expanduser().exists():
        return data, []
    own, *others = (part.strip() for part in data.split(","))
    if not all((own, *others)):
        raise UserError(
            f"Expected folders separated by commas in data, got {data!r}; the first is the experiment's own"
        )
    if own in others:
        raise UserError(f"Expected other folders behind the experiment's own in data, got {own!r} twice; leave one out")
    return own, others


def _with_folders(experiment: Any, folders: list[str]) -> Any:
    """The experiment with the given folders as external test sets."""
    if not folders:
        return experiment
    from cellml.data import external

    placed = external.placed(experiment.compare.external, folders)
    return experiment.replace(
        {"compare.external": {name: data.model_dump(mode="json") for name, data in placed.items()}}
    )


def _value(path: str, text: Any) -> Any:
    import yaml

    try:
        return yaml.safe_load(text) if isinstance(text, str) else text
    except yaml.YAMLError:
        raise UserError(f"Expected a YAML value for {path}, got {text!r}") from None


def _masked(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of an error of ours, without secrets."""
    click.echo(traced(error), err=True, nl=False)


def _fail(message: str) -> None:
    click.echo(hidden(f"error: {' '.join(message.split())}"), err=True)
    sys.exit(2)
