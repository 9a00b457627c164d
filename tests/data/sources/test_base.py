import inspect

import pytest

from cellml.config import Data
from cellml.data import simulate, simulate_cultures, simulate_movies
from cellml.data.sources import SOURCES
from cellml.errors import UserError

NAMES = [
    *("folders", "onsets", "points", "pseudo_movies", "sequences", "simulated", "simulated_cultures"),
    *("simulated_movies", "table", "tracks", "voc", "wells"),
]
SIMULATORS = {
    "simulated": simulate.write,
    "simulated_cultures": simulate_cultures.write,
    "simulated_movies": simulate_movies.write,
}


def test_the_registry_names_every_source_and_describes_it():
    assert sorted(name for name in SOURCES if not name.startswith("test_")) == NAMES
    assert all(text.endswith(".") for _, text in SOURCES.describe())
    with pytest.raises(UserError, match="did you mean 'folders'"):
        SOURCES["folder"]


@pytest.mark.parametrize("name", NAMES)
def test_a_source_takes_data_root_and_cache_then_options(name):
    parameters = list(inspect.signature(SOURCES[name]).parameters.values())
    assert [p.name for p in parameters[:3]] == ["data", "root", "cache_dir"]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[3:])


@pytest.mark.parametrize("name", SIMULATORS)
def test_the_simulators_options_are_the_sources(name):
    ours, theirs = (
        {n: p.default for n, p in inspect.signature(function).parameters.items() if p.kind == p.KEYWORD_ONLY}
        for function in (SOURCES[name], SIMULATORS[name])
    )
    assert ours == theirs


@pytest.mark.parametrize("name", ["folders", "onsets", "points", "sequences", "table", "tracks", "voc"])
def test_an_empty_folder_is_a_mistake_of_the_user(name, tmp_path):
    with pytest.raises(UserError, match=str(tmp_path)):
        SOURCES[name](Data(source=name), tmp_path, tmp_path / "cache")
