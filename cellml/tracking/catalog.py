"""Finding registered models: by experiment, or by URI."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.models import get_model_info

from cellml.errors import UserError, near
from cellml.tracking import courier, patience
from cellml.tracking.names import model_name

CHAMPION = "champion"
EXPERIMENT, BACKBONE, STRATEGY = "cellml.experiment", "cellml.backbone", "cellml.strategy"
PRETRAINED = "cellml.pretrained"  # tag of weights to start from, with the method that they come from
PAGE = 1000
SHOWN = 20  # versions that an error names, the newest


@dataclass(frozen=True)
class Entry:
    """A version of a registered model.

    Attributes:
        name: registered name.
        version: as text, counted from "1".
        uri: `models:/name/version`.
        run_id: of the run that trained it.
        source: `models:/m-...`, the same for one model registered under several names.
        tags: of the version.
        aliases: that point to the version.
    """

    name: str
    version: str
    uri: str
    run_id: str
    source: str
    tags: dict[str, str]
    aliases: tuple[str, ...]

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What was logged with the model: classes, dtype, channels, size, backbone, strategy, ..."""
        return patience.patiently(lambda: get_model_info(self.uri)).metadata or {}

    @property
    def backbone(self) -> str:
        """True name of the backbone."""
        return self.tags.get(BACKBONE) or self.metadata.get("backbone", "")

    @property
    def strategy(self) -> str:
        """Name of the sampling strategy."""
        return self.tags.get(STRATEGY) or self.metadata.get("strategy", "")


def entries(experiment_name: str, which: str) -> list[Entry]:
    """Registered models to compare, by name and version.

    Args:
        experiment_name: the experiment file's `name`.
        which: `champions` (the champion of each backbone), `cells` (the newest version of each backbone x strategy),
            `all` (every version of every backbone), or `models:/` URIs separated by commas. Pretrained weights are
            among them only by their URIs.

    Raises:
        UserError: nothing matches, or a URI that names no model.
    """
    if "models:/" in which:
        return [resolve(uri.strip()) for uri in which.split(",") if uri.strip()]
    if which not in ("champions", "cells", "all"):
        raise UserError(
            f"Expected compare.entries to be champions, cells, all or models:/ URIs separated by commas, got {which!r}"
        )
    found = _of_backbones(experiment_name)
    found = [entry for entry in found if entry.tags.get(EXPERIMENT, experiment_name) == experiment_name]
    found = [entry for entry in found if PRETRAINED not in entry.tags]
    if which == "champions":
        champions = [entry for entry in found if CHAMPION in entry.aliases]
        if found and not champions:
            raise UserError(
                f"Expected champions of the experiment {experiment_name!r}, got {len(found)} versions without "
                "that alias, which a sweep gives to its best; compare them with -P entries=all"
            )
        found = champions
    if which == "cells":
        newest = {(entry.name, entry.strategy): entry for entry in found}  # versions rise
        found = [entry for entry in found if newest[entry.name, entry.strategy] is entry]
    if not found:
        raise UserError(
            f"Expected registered models of the experiment {experiment_name!r}, found none; run the sweep or train "
            "entry point first, which register them, or give models:/ URIs with -P entries=..."
        )
    return found


def resolve(uri: str) -> Entry:
    """The version behind `models:/name@alias` or `models:/name/version`.

    Raises:
        UserError: not such a URI, or no such model, version or alias.
    """
    name, alias, version = _parse(uri)
    client = courier.client()
    try:
        found = client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, version)
        model = client.get_registered_model(name)
    except MlflowException as error:
        raise _missing(uri, name, error) from None
    return _entry(found, model)


def versions(name: str, tags: Mapping[str, str] | None = None) -> list[Entry]:
    """Versions of a registered model that carry the given tags, oldest first; none where there is no such model."""
    try:
        model = courier.client().get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return []
    wanted = tags or {}
    found = (_entry(version, model) for version in _versions(_carrying(name, wanted)))
    return [entry for entry in found if all(entry.tags.get(key) == value for key, value in wanted.items())]


def _parse(uri: str) -> tuple[str, str, str]:
    path = uri.removeprefix("models:/").strip("/")
    name, _, alias = path.partition("@")
    if not alias:
        name, _, version = path.partition("/")
        if uri.startswith("models:/") and name and version.isdigit():
            return name, "", version
    elif uri.startswith("models:/") and name and "/" not in path:
        return name, alias, ""
    raise UserError(f"Expected a model as models:/NAME@ALIAS or models:/NAME/VERSION, got {uri!r}")


def _missing(uri: str, name: str, error: MlflowException) -> UserError:
    if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
        return UserError(f"The model {uri} cannot be read from the registry: {' '.join(str(error).split())[:300]}")
    known = {model.name: model for model in _models(None)}
    if name not in known:
        hint = near(name, known) if known else "nothing is registered here; check MLFLOW_TRACKING_URI"
        return UserError(f"Expected a registered model, found none named {name!r}: {hint}")
    have = [str(version.version) for version in _versions(f"name = '{name}'")][-SHOWN:]
    have += ["@" + alias for alias in known[name].aliases]
    return UserError(f"The registered model {name!r} has no such version or alias: {uri}; it has {', '.join(have)}")


def _of_backbones(experiment_name: str) -> list[Entry]:
    prefix = model_name(experiment_name) + "."
    condition = f"name LIKE '{prefix}%'"  # `_` stands for any character there, and case may be ignored
    models = {model.name: model for model in _models(condition) if model.name.startswith(prefix)}
    return [_entry(version, models[version.name]) for version in _versions(condition) if version.name in models]


def _models(condition: str | None) -> Iterator[RegisteredModel]:
    token = None
    while True:
        page = courier.client().search_registered_models(condition, PAGE, ["name ASC"], token)
        yield from page
        token = page.token
        if not token:
            return


def _versions(condition: str) -> Iterator[ModelVersion]:
    token = None
    while True:
        order = ["name ASC", "version_number ASC"]
        page = courier.client().search_model_versions(condition, PAGE, order, token)
        yield from page
        token = page.token
        if not token:
            return


def _carrying(name: str, tags: Mapping[str, str]) -> str:
    """The condition that versions of a model carry tags; a value that cannot be quoted is left to the caller."""
    found = [f"name = '{name}'"]
    for key, value in tags.items():
        quote = "'" if "'" not in value else '"'
        if quote not in value:
            found.append(f"tags.`{key}` = {quote}{value}{quote}")
    return " AND ".join(found)


def _entry(version: ModelVersion, model: RegisteredModel) -> Entry:
    number = str(version.version)
    return Entry(
        name=version.name,
        version=number,
        uri=f"models:/{version.name}/{number}",
        run_id=version.run_id or "",
        source=version.source or "",
        tags=dict(version.tags),
        aliases=tuple(sorted(alias for alias, at in model.aliases.items() if str(at) == number)),
    )
