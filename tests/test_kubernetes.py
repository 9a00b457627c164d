"""docker/kubernetes.yaml against Kubernetes' own schemas, and against the command that it runs."""

import copy

import kubernetes_validate
import pytest
import yaml

from cellml.cli import cli
from tests.conftest import ROOT

TEXT = (ROOT / "docker" / "kubernetes.yaml").read_text()
SERVED = ("1.29", "1.37")  # the oldest and the newest version whose schemas are at hand and in use


@pytest.fixture
def job():
    return yaml.safe_load(TEXT)


@pytest.fixture
def worker(job):
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.parametrize("version", SERVED)
def test_it_is_a_job_of_kubernetes(job, version):
    kubernetes_validate.validate(job, version, strict=True)


def test_the_schema_notices_a_field_that_is_none(job):
    wrong = copy.deepcopy(job)
    wrong["spec"]["template"]["spec"]["restartPolicies"] = "OnFailure"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, SERVED[-1], strict=True)


def test_workers_end_by_themselves_and_are_begun_again_where_they_die(job):
    spec = job["spec"]
    assert spec["parallelism"] > 1
    assert "completions" not in spec  # a queue: done when a worker has found no trial left
    assert spec["backoffLimit"] >= 100
    assert spec["template"]["spec"]["restartPolicy"] == "OnFailure"


def test_it_runs_a_command_that_there_is(worker):
    *python, command = worker["command"]
    assert python == ["python", "-m", "cellml"]
    options = {word for option in cli.commands[command].params for word in option.opts}
    assert {"--study", "--storage"} <= options


def test_addresses_and_passwords_come_from_a_secret_alone(job, worker):
    assert worker["envFrom"] == [{"secretRef": {"name": "cellml"}}]
    plain = {variable["name"] for variable in worker["env"]}
    assert plain == {"CELLML_CACHE", "OMP_NUM_THREADS"}
    assert "://" not in yaml.safe_dump(job)


def test_it_runs_without_privileges_in_a_cache_that_it_may_write(job, worker):
    pod = job["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not worker["securityContext"]["allowPrivilegeEscalation"]
    (mount,) = worker["volumeMounts"]
    assert mount == {"name": pod["volumes"][0]["name"], "mountPath": worker["env"][0]["value"]}


def test_the_commented_gpu_is_a_valid_limit_too(job):
    line = next(line for line in TEXT.splitlines() if "nvidia.com/gpu" in line)
    limits = yaml.safe_load(line.strip().removeprefix("# "))["limits"]
    job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] = limits
    kubernetes_validate.validate(job, SERVED[-1], strict=True)
