"""Nothing that is loaded may run code: models from a registry, weights from files."""

import ast
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import mlflow
import pytest
import torch
from mlflow.exceptions import MlflowException

import cellml
from cellml.models import classifier as classifiers
from cellml.tracking import export


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.fixture
def attacked(tmp_path):
    return tmp_path / "attacked"


def pickled(attack):
    buffer = io.BytesIO()
    torch.save({"weight": attack}, buffer)
    return buffer.getvalue()


def test_a_program_with_a_pickle_among_its_tensors_is_refused(store, attacked):
    example = torch.zeros(2, 1).numpy()
    mlflow.pytorch.save_model(
        torch.nn.Linear(1, 1), "model", serialization_format="pt2", pip_requirements=[], input_example=example
    )
    assert export.load_program("model").predict(example).shape == (2, 1)
    program = next(Path("model").rglob("*.pt2"))
    with zipfile.ZipFile(program) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    tensors = [name for name, content in records.items() if content.startswith((b"PK", b"\x80"))]
    assert tensors
    with zipfile.ZipFile(program, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, pickled(Attack(attacked)) if name in tensors else content)
    with pytest.raises(MlflowException, match="pickle"):
        export.load_program("model")
    assert not attacked.exists()


@pytest.mark.parametrize("kind", ["pytorch", "cloudpickle"])
def test_a_pickled_model_is_refused(store, attacked, kind):
    if kind == "pytorch":
        mlflow.pytorch.save_model(torch.nn.Linear(1, 1), "model", serialization_format="pickle", pip_requirements=[])
    else:

        class Model(mlflow.pyfunc.PythonModel):
            def predict(self, context, model_input):
                return model_input

            def __reduce__(self):
                return os.mkdir, (str(attacked),)

        mlflow.pyfunc.save_model("model", python_model=Model(), pip_requirements=[])
    for load in (export.load_program, mlflow.pyfunc.load_model):
        with pytest.raises(MlflowException, match=r"(?i)pickle"):
            load("model")
    assert not attacked.exists()


def test_weights_that_are_a_pickle_are_refused(make_classifier, tmp_path, attacked):
    classifiers.save(make_classifier(), tmp_path / "weights")
    (tmp_path / "weights" / "weights.safetensors").write_bytes(pickled(Attack(attacked)))
    with pytest.raises(Exception, match=r"(?i)header"):
        classifiers.load(tmp_path / "weights")
    assert not attacked.exists()


@pytest.mark.parametrize(
    ("given", "expected"), [({}, "false"), ({"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true"}, "true")]
)
def test_mlflow_is_told_unless_the_user_has_told_it(python_path, given, expected):
    script = "import cellml.tracking, os; print(os.environ['MLFLOW_ALLOW_PICKLE_DESERIALIZATION'])"
    known = {name: value for name, value in os.environ.items() if name != "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**known, "PYTHONPATH": python_path, **given},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected


def test_no_module_unpickles():
    root, found = Path(cellml.__file__).parent, []
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _unpickles(node):
                found.append(f"{path.relative_to(root)}:{node.lineno} {ast.unparse(node)}")
    assert found == []


def test_the_search_for_unpickling_finds_it():
    for line in ("torch.load(f)", "torch.load(f, weights_only=False)", "np.load(f, allow_pickle=True)"):
        assert _unpickles(ast.parse(line).body[0].value)
    for line in ("pickle.loads(f)", "joblib.load(f)", "pd.read_pickle(f)", "yaml.unsafe_load(f)"):
        assert _unpickles(ast.parse(line).body[0].value)
    for line in ("torch.load(f, weights_only=True)", "np.load(f)", "json.load(f)", "torch.export.load(f)"):
        assert _unpickles(ast.parse(line).body[0].value) == ("export" in line)


def _unpickles(call):
    name = ast.unparse(call.func)
    options = {option.arg: ast.unparse(option.value) for option in call.keywords}
    if name == "torch.load":
        return options.get("weights_only") != "True"
    if name in ("np.load", "numpy.load"):
        return options.get("allow_pickle", "False") != "False"
    unsafe = ("torch.export.load", "torch.jit.load", "yaml.unsafe_load", "pd.read_pickle", "pandas.read_pickle")
    return name in unsafe or (name.split(".")[0] in ("pickle", "cloudpickle", "joblib", "dill") and "load" in name)
