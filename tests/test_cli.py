import subprocess
import sys

import pytest
from click.testing import CliRunner

from cellml import cli
from cellml.errors import UserError


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from cellml.cli import cli; cli(['sweep', '--help'], standalone_mode=False); "
        "print(sorted({'torch', 'mlflow', 'pandas', 'numpy', 'optuna', 'pydantic', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Search over backbones" in done.stdout


@pytest.mark.parametrize(
    ("what", "member"),
    [
        ("strategies", "balanced"),
        ("losses", "focal"),
        ("backbones", "torchvision/resnet18"),
        ("explainers", "gradcam"),
        ("metrics", "balanced_accuracy"),
        ("sources", "voc"),
        ("rules", "greedy"),
        ("attention", "cbam"),
    ],
)
def test_list_prints_a_name_a_line_with_a_description(what, member):
    done = CliRunner().invoke(cli.cli, ["list", what])
    assert done.exit_code == 0
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in done.output.splitlines()}
    assert member in lines
    assert all(lines.values())


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["cellml", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr().err.strip()

    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--experiment", "absent.yaml"], "absent.yaml"),
        (["train"], "--experiment"),
        (["trian"], "trian"),
        ([], "Expected a command"),
        (["list", "loses"], "did you mean 'losses'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(run, words, said):
    status, message = run(*words)
    assert status == 2
    assert message.startswith("error: ")
    assert "\n" not in message
    assert said in message


def given(monkeypatch, tmp_path, *words):
    from cellml import commands

    seen = {}
    monkeypatch.setattr(commands, "sweep", lambda experiment, storage: seen.update(e=experiment, storage=storage))
    (tmp_path / "x.yaml").write_text("name: x\n")
    cli.cli(["sweep", "--experiment", str(tmp_path / "x.yaml"), *words], standalone_mode=False)
    return seen["e"], seen["storage"]


def test_options_and_dotted_overrides_reach_the_experiment(monkeypatch, tmp_path):
    words = [
        "--data",
        "D",
        "--trials",
        "7",
        "--workers",
        "2",
        "--timeout",
        "60",
        "--train.lr",
        "0.5",
        "--input.crop=80",
    ]
    experiment, storage = given(monkeypatch, tmp_path, *words, "--storage", "sqlite:///o.db")
    assert (experiment.data.path, experiment.sweep.trials, experiment.sweep.workers) == ("D", 7, 2)
    assert (experiment.sweep.timeout, experiment.train.lr, experiment.input.crop) == (60, 0.5, 80)
    assert storage == "sqlite:///o.db"


def test_a_budget_is_set_before_the_overrides_and_may_be_empty(monkeypatch, tmp_path):
    text = "name: x\nbudgets: {smoke: {name: x-smoke, train.epochs: 1, train.lr: 0.25}}\n"
    seen = []
    monkeypatch.setattr("cellml.commands.sweep", lambda experiment, storage: seen.append(experiment))
    (tmp_path / "x.yaml").write_text(text)
    for words in (["--budget", "smoke", "--train.lr", "0.5"], ["--budget", ""], []):
        cli.cli(["sweep", "--experiment", str(tmp_path / "x.yaml"), *words], standalone_mode=False)
    assert (seen[0].name, seen[0].train.epochs, seen[0].train.lr, seen[0].budgets) == ("x-smoke", 1, 0.5, {})
    assert seen[1] == seen[2]
    assert (seen[1].name, seen[1].train.epochs) == ("x", 20)
    with pytest.raises(UserError, match=r"Unknown budget 'smok': did you mean 'smoke'\?"):
        cli.cli(["sweep", "--experiment", str(tmp_path / "x.yaml"), "--budget", "smok"], standalone_mode=False)


def test_an_ensemble_takes_models_and_a_rule(monkeypatch, tmp_path):
    from cellml import commands

    seen = []
    monkeypatch.setattr(commands, "ensemble", lambda experiment, models, rule: seen.append((models, rule)))
    (tmp_path / "x.yaml").write_text("name: x\n")
    words = ["ensemble", "--experiment", str(tmp_path / "x.yaml")]
    for more in (["--models", "models:/a/1,models:/b/2", "--rule", "greedy"], ["--models", ""]):
        cli.cli([*words, *more], standalone_mode=False)
    assert seen == [("models:/a/1,models:/b/2", "greedy"), ("", "mean")]


@pytest.mark.parametrize("command", ["compare", "main"])
def test_folders_after_the_first_are_external_test_sets(monkeypatch, tmp_path, command):
    from cellml import commands

    seen = []
    monkeypatch.setattr(commands, command, lambda experiment, *_: seen.append(experiment))
    (tmp_path / "x.yaml").write_text("name: x\ncompare: {external: {there: {classes: [b, a]}, other: {}}}\n")
    words = [command, "--experiment", str(tmp_path / "x.yaml")]
    (tmp_path / "a, b").mkdir()
    for data in ("own", "own, s3://bucket/there,/x/new", str(tmp_path / "a, b")):
        cli.cli([*words, "--data", data], standalone_mode=False)
    alone, several, odd = seen
    assert alone.data.path == "own"
    assert {name: data.path for name, data in alone.compare.external.items()} == {"there": None, "other": None}
    assert several.data.path == "own"
    paths = {name: data.path for name, data in several.compare.external.items()}
    assert paths == {"there": "s3://bucket/there", "other": None, "new": "/x/new"}
    assert several.compare.external["there"].classes == ["b", "a"]
    assert odd.data.path == str(tmp_path / "a, b")


@pytest.mark.parametrize(
    ("data", "said"),
    [("a,,b", "'a,,b'"), ("a,/x/c,/y/c", "'c' twice"), ("a,/x/b c", "letters, digits"), ("a,b,a", "got 'a' twice")],
)
def test_wrong_folders_are_one_line(run, tmp_path, data, said):
    (tmp_path / "x.yaml").write_text("name: x\n")
    status, message = run("compare", "--experiment", str(tmp_path / "x.yaml"), "--data", data)
    assert status == 2
    assert said in message
    assert "\n" not in message


def test_empty_values_as_mlflow_run_passes_them_change_nothing(monkeypatch, tmp_path):
    plain, _ = given(monkeypatch, tmp_path)
    empty, storage = given(monkeypatch, tmp_path, "--data", "", "--trials", "", "--workers", "", "--storage", "")
    assert (empty, storage) == (plain, "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--train.lrr", "1"], "did you mean 'train.lr'"),
        (["--train.lr"], "a value after '--train.lr'"),
        (["stray"], "--KEY VALUE"),
        (["--trials", "-3"], "sweep.trials"),
        (["--trials", "2.5"], "sweep.trials"),
        (["--train.lr", "[1"], "train.lr"),
    ],
)
def test_wrong_overrides_are_refused(run, tmp_path, words, said):
    (tmp_path / "x.yaml").write_text("name: x\n")
    status, message = run("sweep", "--experiment", str(tmp_path / "x.yaml"), *words)
    assert (status, "\n" in message) == (2, False)
    assert said in message
