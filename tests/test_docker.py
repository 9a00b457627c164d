"""docker/ as far as it can be judged without a container engine: the compose file, its variables, the image."""

import re
import subprocess
import sys

import pytest
import yaml

from tests.conftest import ROOT

FOLDER = ROOT / "docker"
VARIABLE = re.compile(r"\$\{(\w+)(?::?([-?+])([^}]*))?\}")


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def variables():
    """Name -> (operator, what follows it) of everything that compose.yaml takes from .env."""
    found = {}
    for name, operator, rest in VARIABLE.findall((FOLDER / "compose.yaml").read_text()):
        found.setdefault(name, set()).add((operator, rest))
    return found


@pytest.fixture(scope="module")
def example():
    lines = (FOLDER / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_compose_file_fits_its_schema():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, FOLDER / "compose.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_stands_in_the_example_and_the_other_way_round(variables, example):
    assert set(variables) == set(example)


def test_defaults_are_those_of_the_example_and_the_same_everywhere(variables, example):
    for name, uses in variables.items():
        for operator, rest in uses:
            if operator == "-" and rest:
                assert example[name] == rest, name


def test_nothing_starts_without_passwords_and_none_is_given_away(variables, example):
    secret = [n for n in example if re.search("PASSWORD|SECRET|KEY", n)]
    assert all(example[name] == "" for name in secret)
    asked = {name for name, uses in variables.items() if {operator for operator, _ in uses} == {"?"}}
    assert asked == {"POSTGRES_PASSWORD", "MLFLOW_DB_PASSWORD", "OPTUNA_DB_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"}
    assert all(f"set {name} in docker/.env" == rest for name in asked for _, rest in variables[name])


def test_a_filled_in_env_file_stays_out_of_git_and_of_the_image():
    assert "docker/.env" in (ROOT / ".gitignore").read_text().splitlines()
    assert "docker/.env" in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()


def test_servers_are_watched_restarted_and_keep_their_data(compose):
    for name in ("postgres", "store", "server"):
        assert {"test", "interval", "retries"} <= set(compose["services"][name]["healthcheck"]), name
    for name, service in compose["services"].items():
        assert service["restart"] in ("unless-stopped", "on-failure:3"), name
        for needed, condition in service.get("depends_on", {}).items():
            other = compose["services"][needed]
            watched = condition["condition"] == "service_healthy" and "healthcheck" in other
            assert watched or (
                condition["condition"] == "service_completed_successfully" and "databases bucket".count(needed)
            )
    kept = {mount.split(":")[0] for s in compose["services"].values() for mount in s.get("volumes", [])}
    assert {name for name in kept if re.fullmatch(r"\w+", name)} == set(compose["volumes"])


def test_ports_are_published_to_one_address_alone(compose):
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 6
    assert all(port.startswith("${BIND:-127.0.0.1}:") for port in ports)


def test_optional_services_are_profiles(compose):
    profiles = {name: s["profiles"] for name, s in compose["services"].items() if "profiles" in s}
    assert profiles == {"gpu-worker": ["gpu"], "backup": ["backup"], "proxy": ["tls"]}


def test_commands_are_scripts_that_are_there_and_may_be_run(compose):
    named = re.findall(r"docker/[\w.]+\.(?:sh|py)", str([s.get("command") for s in compose["services"].values()]))
    assert set(named) == {
        f"docker/{name}" for name in ("databases.sh", "bucket.py", "server.sh", "worker.sh", "backup.sh")
    }
    for path in FOLDER.glob("*.sh"):
        assert path.stat().st_mode & 0o111, path
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
        assert "set -euo pipefail" in path.read_text()


def test_the_image_copies_what_is_there_and_does_not_run_as_root():
    text = (FOLDER / "Dockerfile").read_text()
    kept = [line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [name.strip("./") for line in re.findall(r"^COPY (.*) \S+$", text, re.M) for name in line.split()]
    assert sorted(copied) == sorted(kept)
    assert all((ROOT / name).exists() for name in copied)
    assert re.findall(r"^USER (\w+)$", text, re.M) == ["cellml"]


def test_the_image_leaves_out_what_only_tests_need():
    text = (FOLDER / "Dockerfile").read_text()
    (expression,) = re.findall(r"sed '(.*?)' requirements.txt", text)
    done = subprocess.run(["sed", expression, ROOT / "requirements.txt"], capture_output=True, text=True, check=True)
    kept = {line.split("==")[0].lower() for line in done.stdout.splitlines() if "==" in line}
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"][-1]["pip"]
    assert kept == {line.split("==")[0].lower() for line in conda}


def test_the_image_has_the_postgresql_tools_of_the_server(compose):
    (client,) = re.findall(r"postgresql-client-(\d+)", (FOLDER / "Dockerfile").read_text())
    assert compose["services"]["postgres"]["image"] == f"postgres:{client}"
