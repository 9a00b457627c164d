"""What a sweep leaves in its study, so that workers on any machine can join it."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import optuna
import yaml

from cellml import config
from cellml.config import Experiment
from cellml.data.prepare import Dataset
from cellml.errors import UserError
from cellml.revision import revision
from cellml.tracking.run import Run

_KEY = "session"


@dataclass(frozen=True)
class Session:
    """A sweep as its command described it.

    Attributes:
        experiment: the experiment, as YAML.
        trials: how many are asked for.
        parent: the MLflow run above the trials, by its ids.
        digest: of the data.
        revision: of the code.
        until: no trial starts after this, in seconds since 1970; None: no limit.
    """

    experiment: str
    trials: int
    parent: tuple[str, str]
    digest: str
    revision: str
    until: float | None = None

    @property
    def settings(self) -> Experiment:
        """The experiment.

        Raises:
            UserError: this code does not know one of its settings.
        """
        return config.parse(yaml.safe_load(self.experiment))

    @property
    def run(self) -> Run:
        """The MLflow run above the trials."""
        return Run(*self.parent)


def leave(study: optuna.Study, experiment: Experiment, dataset: Dataset, parent: Run, until: float | None) -> None:
    """Store what those who join need to know; replaces what an earlier command left."""
    left = Session(
        experiment.yaml(), experiment.sweep.trials, (parent.id, parent.experiment_id), dataset.manifest.digest,
        revision(), until,
    )  # fmt: skip
    study.set_user_attr(_KEY, dataclasses.asdict(left))


def read(attributes: dict[str, Any]) -> Session | None:
    """What a study's command left in its user attributes; None where that was no sweep of this platform."""
    found = attributes.get(_KEY)
    return Session(**found | {"parent": tuple(found["parent"])}) if found else None


def check_code(name: str, session: Session) -> None:
    """Refuse to join with other code: trials of one sweep are to be comparable.

    Raises:
        UserError: names both revisions.
    """
    if session.revision != revision():
        raise UserError(
            f"Expected the code that sweep {name} was started with, {session.revision}, got {revision()}; "
            "install the same version here, or start the sweep anew with this one"
        )


def check_data(name: str, session: Session, dataset: Dataset) -> None:
    """Refuse to join with other data.

    Raises:
        UserError: names both digests.
    """
    if session.digest != dataset.manifest.digest:
        raise UserError(
            f"Expected the data of sweep {name}, digest {session.digest}, got {dataset.manifest.digest}; "
            "give the same files with data"
        )
