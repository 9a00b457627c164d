import pytest

from cellml.secrets import hidden


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql+psycopg://lab:p4ss@db:5432/x?a=b", "postgresql+psycopg://lab:***@db:5432/x?a=b"),
        ("no answer from https://me:a:b%40c@host/mlflow, see", "no answer from https://me:***@host/mlflow, see"),
        ("two: http://a:bb@h and http://c:dd@h", "two: http://a:***@h and http://c:***@h"),
        ("http://:token@host/", "http://:***@host/"),
        ("sqlite:///mlflow.db and http://host:5000/a@b and s3://bucket/key@v:1", None),
        ("models:/cells@champion at 10:30@noon", None),
        ("", None),
    ],
)
def test_passwords_in_urls(text, expected):
    assert hidden(text) == (text if expected is None else expected)


def test_values_of_secret_variables(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct horse")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "correct horse battery")
    monkeypatch.setenv("POSTGRES_PASSWORD", "cell")  # too short to be told from a word
    monkeypatch.setenv("CELLML_CACHE", "/cache/of/ours")
    text = "wJalrXUtnFEMI/K7MDENG by AKIAIOSFODNN7; correct horse, correct horse battery; cell in /cache/of/ours"
    assert hidden(text) == "*** by ***; ***, ***; cell in /cache/of/ours"
