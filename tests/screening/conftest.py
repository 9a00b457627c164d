import pytest

from cellml.config import Screen as Settings
from cellml.evaluation import controls, treatments
from cellml.evaluation.screens import Screen
from cellml.screening.report import Report
from tests.evaluation.screens import cells


def reported(table, notes=(), **settings) -> Report:
    given = Settings(**{"negative": "WT", "positive": "DS", "resamples": 100, **settings})
    table = table.assign(id=[f"cell{n}" for n in range(len(table))])
    screen = Screen(table, given.negative, given.positive, given.bootstrap, given.resamples)
    return Report(
        given,
        "cultures/1",
        screen,
        controls.table(screen),
        treatments.table(screen, given.against),
        controls.plates(screen),
        controls.edge(screen),
        notes,
    )


@pytest.fixture(scope="session")
def made() -> Report:
    return reported(cells(), ("one thing to know",))
