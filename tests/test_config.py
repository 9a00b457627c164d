import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellml import config
from cellml.errors import UserError
from tests.conftest import ROOT


@pytest.mark.parametrize("file", sorted((ROOT / "experiments").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_experiment_file_is_valid_and_survives_yaml(file, tmp_path):
    loaded = config.load(file)
    (tmp_path / "again.yaml").write_text(loaded.yaml())
    assert config.load(tmp_path / "again.yaml") == loaded


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"name": "x", "trian": {}}, "unknown key 'trian': did you mean 'train'"),
        ({"name": "x", "train": {"augment": {"rotat": 1}}}, "'train.augment.rotat': did you mean 'rotate'"),
        ({"name": "x", "train": {"lr": -1}}, "train.lr.*greater than 0, got -1"),
        ({"name": "x", "train": 3}, "train"),
        ({"name": "x", "data": {"split": {"tabel": "a", "match": ["b"]}}}, "'data.split.tab"),
        ({"name": "x", "data": {"split": {"table": "a", "on": ["b"]}}}, "'data.split.match', found none"),
        ({"name": "x", "sweep": {"space": {"train.lr": ["a"]}}}, "train.lr cannot be 'a'"),
        ({"name": "x", "sweep": {"space": {"train.augment.rotate": {"low": 0, "high": 999}}}}, "cannot be 999"),
        ({"name": "x", "sweep": {"space": {"train.lr": {"lo": 1, "high": 2}}}}, "sweep.space.train.lr.lo"),
        ({"name": "x", "sweep": {"space": {"train.lr": []}}}, "choices for 'train.lr', got an empty list"),
        ({"name": "x", "model": {"attention": "cbam"}}, "model.attention: expected none, BLOCK@STAGE .* got 'cbam'"),
        (
            {"name": "x", "model": {"attention": {"block": "se", "stag": 1}}},
            "model.attention: expected none, BLOCK@STAGE",
        ),
        ({"name": "x", "model": {"attention": "se@0"}}, "expected none, BLOCK@STAGE .* got 'se@0'"),
        ({"name": "x", "model": {"attention": ["se@1", "none"]}}, "expected none, BLOCK@STAGE"),
        ({"name": "x", "model": {"attention": "se@1+se@1"}}, "once at a place"),
        ({"name": "x", "sweep": {"space": {"model.attention": ["none", "se@0"]}}}, "model.attention cannot be 'se@0'"),
        ({"name": "x", "compare": {"external": {"a b": {}}}}, "letters, digits, - and _ .* got 'a b'"),
        (
            {"name": "x", "compare": {"external": {"Table": {}}}},
            "other than table, cells, members, sequences, experts, got 'Table'",
        ),
        ({"name": "x", "compare": {"external": {"a": {}, "A": {}}}}, "differ in more than case"),
        ({"name": "x", "compare": {"external": {"a": {"clases": []}}}}, "clases"),
        ({}, "'name', found none"),
        ({"name": " x"}, "surrounding spaces"),
        ({"name": "x", "sweep": {"trials": 0}}, "sweep.trials.*got 0"),
        ({"name": "x", "sweep": {"space": {"train.lrr": [1]}}}, "'train.lrr' cannot be swept: did you mean 'train.lr'"),
        ({"name": "x", "sweep": {"space": {"data.path": ["a"]}}}, "cannot be swept"),
        ({"name": "x", "sweep": {"space": {"train.lr": {"low": 2, "high": 1}}}}, "low <= high"),
        ({"name": "x", "sweep": {"space": {"train.lr": {"low": 0, "high": 1, "log": True}}}}, "low > 0"),
        ({"name": "x", "sweep": {"backbones": ["a"], "per_backbone": {"b": {}}}}, "'b' is not in sweep.backbones"),
    ],
)
def test_a_mistake_is_one_line_with_its_path(tree, said):
    with pytest.raises(UserError, match=said) as caught:
        config.parse(tree, "file.yaml")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("file.yaml: ")


@pytest.mark.parametrize(
    "content", ["a: [", "- 1", "", "\xff\xfe", "name: x\nname: y", "name: x\ntrain: {lr: 1, lr: 2}"]
)
def test_what_is_no_experiment_file_is_refused(tmp_path, content):
    (tmp_path / "x.yaml").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"x\.yaml") as caught:
        config.load(tmp_path / "x.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("none", "none"),
        ({"block": "cbam", "stage": 3}, "cbam@3"),
        (["se@2", {"block": "se1d", "stage": "pool"}], "se@2+se1d@pool"),
        ("se@2 + non_local@4", "se@2+non_local@4"),
    ],
)
def test_attention_is_one_text_whichever_way_it_is_written(written, text):
    experiment = config.parse({"name": "x", "model": {"attention": written}})
    assert experiment.model.attention == experiment.flat()["model.attention"] == text
    assert config.parse({"name": "x"}).replace({"model.attention": written}) == experiment


def test_flat_paths_are_what_replace_takes():
    experiment = config.parse({"name": "x"})
    assert experiment.replace(experiment.flat()) == experiment
    changed = experiment.replace({"train.augment.rotate": 10, "sweep.trials": 3})
    assert (changed.train.augment.rotate, changed.sweep.trials) == (10, 3)
    with pytest.raises(UserError, match=r"train\.augment\.rotate"):
        experiment.replace({"train.augment.rotat": 10})


@given(st.floats(1e-6, 1, allow_nan=False), st.integers(0, 2**31))
def test_the_fingerprint_knows_settings_but_not_budget_or_machine(lr, seed):
    experiment = config.parse({"name": "x"})
    same = experiment.replace(
        {"sweep.trials": 99, "sweep.workers": 4, "train.threads": 1, "data.path": "elsewhere", "description": "y"}
        | {"train.checkpoint": None}
    )
    assert same.fingerprint() == experiment.fingerprint()
    other = experiment.replace({"train.lr": lr, "train.seed": seed})
    assert (other.fingerprint() == experiment.fingerprint()) == (other == experiment)


def test_label_values_that_yaml_reads_as_numbers_or_booleans_become_text():
    experiment = config.parse({"name": "x", "data": {"classes": {0: "Normal", True: "Atypical"}}})
    assert experiment.data.classes == {"0": "Normal", "True": "Atypical"}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"train": [1, 2]}, "train: expected KEY: VALUE lines, got [1, 2]"),
        ({"train": {"epochs": "many"}}, "train.epochs: expected a whole number, got 'many'"),
        ({"sweep": {"backbones": "resnet10t"}}, "sweep.backbones: expected a list such as [a, b], got 'resnet10t'"),
        ({"train": {"refit": "maybe"}}, "train.refit: expected true or false, got 'maybe'"),
        ({"data": {"group": {"a": 1}}}, "data.group: expected a text, got {'a': 1}"),
        ({"train": {"schedule": "poly"}}, "train.schedule: should be 'onecycle', 'cosine' or 'constant', got 'poly'"),
    ],
)
def test_a_value_of_another_type_is_told_in_plain_words(tree, message):
    with pytest.raises(UserError) as error:
        config.parse({"name": "x", **tree})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\ntrain:\n\tepochs: 3\n", "line 3: a tab where YAML takes only spaces; replace it"),
        ("name: x\nname: y\n", "line 2: the key 'name' stands twice"),
        ("name: [x\ndata: {}\n", "line 2: expected ',' or ']', but got ':'"),
    ],
)
def test_a_fault_of_the_yaml_is_told_with_its_line(tmp_path, text, message):
    file = tmp_path / "e.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=re.escape(f"{file} is not valid YAML: {message}")):
        config.load(file)


def test_a_misspelt_key_of_a_step_is_told_with_the_known_ones():
    steps = {"r": [{"method": "smote", "knn": 3}]}
    with pytest.raises(UserError, match=r"unknown key 'sampling\.recipes\.r\.0\.knn': known: between, k, method"):
        config.parse({"name": "x", "sampling": {"recipes": steps}})
    with pytest.raises(UserError, match=r"unknown key 'sweep\.space\.train\.lr\.lgo': did you mean 'low' or 'log'"):
        config.parse({"name": "x", "sweep": {"space": {"train.lr": {"low": 1, "high": 2, "lgo": True}}}})


@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        ({"smoke": {"train.epoch": 1}}, "budgets.smoke: 'train.epoch' is no key of an experiment: did you mean"),
        ({"smoke": {"budgets": {}}}, "'budgets' is no key"),
        ({"smoke": 3}, "budgets.smoke"),
        (
            {"smoke": {"train": {"epochs": 1}}},
            "budgets.smoke: expected dotted paths such as train.KEY, got the section",
        ),
    ],
)
def test_wrong_budgets_are_refused_when_the_file_is_read(budgets, said):
    with pytest.raises(UserError, match=re.escape(said)):
        config.parse({"name": "x", "budgets": budgets})


def test_a_budget_that_is_not_there_or_does_not_fit_is_one_line():
    with pytest.raises(UserError, match="names under budgets, got 'smoke' and none there"):
        config.parse({"name": "x"}).within("smoke")
    with pytest.raises(UserError, match=r"budgets\.b: train\.epochs"):
        config.parse({"name": "x", "budgets": {"b": {"train.epochs": 0}}}).within("b")
    plain, more = ({"name": "x", **extra} for extra in ({}, {"budgets": {"b": {"train.epochs": 2}}}))
    assert config.parse(plain).fingerprint() == config.parse(more).fingerprint()
    assert config.parse(more).within("b").fingerprint() != config.parse(more).fingerprint()


def test_sequences_count_in_the_fingerprint_where_they_are_set():
    experiment = config.parse({"name": "x"})
    assert experiment.replace({"sequence.chunk": 40}).fingerprint() == experiment.fingerprint()
    assert experiment.replace({"sequence.chunk": 20}).fingerprint() != experiment.fingerprint()
    assert config.parse({"name": "x", "sweep": {"space": {"sequence.units": [8, 16]}}}).sweep.space


def test_a_screen_and_columns_that_only_stay_do_not_count_in_the_fingerprint():
    experiment = config.parse({"name": "x"})
    other = experiment.replace({"screen.negative": "WT", "screen.score": "probability:DS", "data.keep": ["plate"]})
    assert other.fingerprint() == experiment.fingerprint()


@pytest.mark.parametrize("score", ["logits", "logit:DS", "probability:", "discriminant:WT", ""])
def test_a_score_of_a_screen_is_one_that_there_is(score):
    with pytest.raises(
        UserError, match=r"screen\.score.*expected logit, probability, probability:CLASS or discriminant"
    ):
        config.parse({"name": "x", "screen": {"score": score}})


def test_early_stopping_and_the_last_epoch_do_not_go_together():
    with pytest.raises(UserError, match="patience stops at the best epoch, keep: last asks for the last one"):
        config.parse({"name": "x", "train": {"patience": 3, "keep": "last"}})
