import inspect

import pytest

from cellml.config import Data
from cellml.data import simulate
from cellml.data.sources import SOURCES
from cellml.errors import UserError


def test_the_registry_names_every_source_and_describes_it():
    assert sorted(SOURCES) == ["folders", "points", "simulated", "table", "voc", "wells"]
    assert all(text.endswith(".") for _, text in SOURCES.describe())
    with pytest.raises(UserError, match="did you mean 'folders'"):
        SOURCES["folder"]


@pytest.mark.parametrize("name", ["folders", "points", "simulated", "table", "voc", "wells"])
def test_a_source_takes_data_root_and_cache_then_options(name):
    parameters = list(inspect.signature(SOURCES[name]).parameters.values())
    assert [p.name for p in parameters[:3]] == ["data", "root", "cache_dir"]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[3:])


def test_the_simulators_options_are_the_sources():
    ours = {
        n: p.default for n, p in inspect.signature(SOURCES["simulated"]).parameters.items() if p.kind == p.KEYWORD_ONLY
    }
    theirs = {n: p.default for n, p in inspect.signature(simulate.write).parameters.items() if p.kind == p.KEYWORD_ONLY}
    assert ours == theirs


@pytest.mark.parametrize("name", ["folders", "points", "table", "voc"])
def test_an_empty_folder_is_a_mistake_of_the_user(name, tmp_path):
    with pytest.raises(UserError, match=str(tmp_path)):
        SOURCES[name](Data(source=name), tmp_path, tmp_path / "cache")
