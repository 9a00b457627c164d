"""requirements.txt, conda.yaml, pyproject.toml and MLproject say the same."""

import tomllib

import yaml
from packaging.requirements import Requirement

from tests.conftest import ROOT


def pins(lines):
    found = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    return {r.name.lower(): r for r in found}


def pinned():
    return pins((ROOT / "requirements.txt").read_text().splitlines())


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def conda():
    tree = yaml.safe_load((ROOT / "conda.yaml").read_text())
    (listed,) = [entry["pip"] for entry in tree["dependencies"] if isinstance(entry, dict)]
    return tree, pins(listed)


def test_conda_holds_the_runtime_pins():
    dev = {Requirement(r).name.lower() for r in project()["optional-dependencies"]["dev"]}
    runtime = {name: str(r) for name, r in pinned().items() if name not in dev}
    assert {name: str(r) for name, r in conda()[1].items()} == runtime


def test_conda_is_python_pip_and_the_pip_list():
    plain = [entry for entry in conda()[0]["dependencies"] if isinstance(entry, str)]
    assert [entry.split("=")[0] for entry in plain] == ["python", "pip"]


def test_every_dependency_is_ranged_and_pinned_inside_its_range():
    extras = project()["optional-dependencies"].values()
    ranges = pins([*project()["dependencies"], *(line for extra in extras for line in extra)])
    assert set(ranges) == set(pinned())
    for name, requirement in ranges.items():
        (pin,) = pinned()[name].specifier
        assert pin.operator == "==", name
        assert pin.version in requirement.specifier, name


def test_entry_points_are_commands_with_the_same_options():
    from cellml.cli import cli

    tree = yaml.safe_load((ROOT / "MLproject").read_text())
    for name, entry in tree["entry_points"].items():
        words = entry["command"].split()
        assert words[:4] == ["python", "-m", "cellml", name]
        options = {option.name for option in cli.commands[name].params}
        assert set(entry["parameters"]) == options, name
        assert set(words[4::2]) == {f"--{option}" for option in options}, name
        assert set(words[5::2]) == {f"{{{option}}}" for option in options}, name
