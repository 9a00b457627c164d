import os

import pytest

from cellml.errors import UserError
from cellml.sweep import workers


@pytest.mark.parametrize(
    ("error", "said"),
    [(UserError("Expected images at s3://u:geheim@h"), "error: Expected images"), (OSError("u:geheim@h"), "Traceback")],
)
def test_what_a_worker_process_dies_of_is_said_without_secrets(experiment, url, monkeypatch, error, said):
    def fails(experiment):
        raise error

    monkeypatch.setenv("SOME_PASSWORD", "geheim")
    monkeypatch.setattr(workers, "prepare", fails)
    with pytest.raises(SystemExit) as ended:
        workers._work(experiment.yaml(), "s", url, 1, "r", "0", None, dict(os.environ))
    assert said in ended.value.code
    assert "u:***@h" in ended.value.code
    assert "geheim" not in ended.value.code
