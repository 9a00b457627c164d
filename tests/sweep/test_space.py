from collections import Counter

import optuna
import pytest

from cellml import config
from cellml.errors import UserError
from cellml.sweep import space


def experiment(**sweep):
    sweep = {"backbones": ["a", "b"], "strategies": ["none", "balanced"]} | sweep
    return config.parse({"name": "x", "train": {"lr": 0.003}, "sweep": sweep})


def test_rank_gives_every_cell_the_same_budget_and_the_same_candidates():
    plan = space.plan(experiment(space={"train.lr": {"low": 1e-4, "high": 1e-2, "log": True}}), 12)
    cells = Counter((p.params["model.backbone"], p.params["sampling.strategy"]) for p in plan)
    assert set(cells.values()) == {3}
    assert len({p.key for p in plan}) == 12
    rounds = [{p.params["train.lr"] for p in plan[i : i + 4]} for i in (0, 4, 8)]
    assert [len(r) for r in rounds] == [1, 1, 1]
    assert rounds[0] == {0.003}  # the file's own value comes first
    assert rounds[1] != rounds[2]
    assert all(1e-4 <= lr <= 1e-2 for r in rounds for lr in r)


def test_the_plan_grows_without_changing():
    assert space.plan(experiment(), 3) == space.plan(experiment(), 9)[:3]


def test_a_backbones_own_axis_replaces_the_shared_one():
    swept = experiment(space={"train.lr": [1.0, 2.0]}, per_backbone={"b": {"train.lr": [7.0]}})
    by_backbone = {p.params["model.backbone"]: p.params for p in space.plan(swept, 4)}
    assert by_backbone["a"]["train.lr"] in (1.0, 2.0)
    assert by_backbone["b"]["b|train.lr"] == 7.0
    assert "train.lr" not in by_backbone["b"]


@pytest.mark.parametrize(
    ("path", "axis", "fits"),
    [
        ("train.batch_size", {"low": 2, "high": 9, "integer": True}, lambda v: isinstance(v, int) and 2 <= v <= 9),
        ("train.weight_decay", {"low": 0.0, "high": 1.0, "step": 0.25}, lambda v: v in (0, 0.25, 0.5, 0.75, 1.0)),
        ("train.batch_size", [16, 32], lambda v: v in (16, 32)),
    ],
)
def test_fixed_candidates_lie_on_the_axis(path, axis, fits):
    swept = experiment(space={path: axis})
    for planned in space.plan(swept, 24):
        assert fits(space.suggest(optuna.trial.FixedTrial(planned.params), swept).flat()[path])


def test_suggest_sets_backbone_strategy_axis_and_the_rounds_seed():
    swept = experiment(space={"train.lr": {"low": 1e-4, "high": 1e-2, "log": True}})
    planned = space.plan(swept, 8)[5]
    trial = optuna.trial.FixedTrial(planned.params)
    trial.set_user_attr("repeat", 1)
    own = space.suggest(trial, swept)
    assert (own.model.backbone, own.sampling.strategy) == ("a", "balanced")
    assert own.train.lr == planned.params["train.lr"]
    assert own.train.seed == 1


def test_best_leaves_everything_to_the_sampler_and_explores_all_axes():
    swept = experiment(
        mode="best",
        space={"train.lr": {"low": 1e-4, "high": 1e-2, "log": True}},
        per_backbone={"b": {"input.size": [32, 64]}},
    )
    assert all(p.params == {} for p in space.plan(swept, 5))
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, group=True))
    seen = set()
    for _ in range(20):
        trial = study.ask()
        own = space.suggest(trial, swept)
        seen.add((own.model.backbone, own.input.size))
        assert ("b|input.size" in trial.params) == (own.model.backbone == "b")
        study.tell(trial, own.train.lr)
    assert {b for b, _ in seen} == {"a", "b"}
    assert ("b", 32) in seen


def test_an_axis_of_mappings_is_refused():
    swept = experiment(space={"train.loss_options": [{"gamma": 1}, {"gamma": 2}]})
    with pytest.raises(UserError, match="plain values"):
        space.suggest(optuna.trial.FixedTrial({"model.backbone": "a", "sampling.strategy": "none"}), swept)


def test_one_mapping_is_a_setting_and_no_axis():
    swept = experiment(per_backbone={"b": {"model.options": [{"stem_size": 32}]}})
    by_backbone = {p.params["model.backbone"]: p.params for p in space.plan(swept, 4)}
    assert all("model.options" not in name for params in by_backbone.values() for name in params)
    own = {b: space.suggest(optuna.trial.FixedTrial(params), swept) for b, params in by_backbone.items()}
    assert {b: e.model.options for b, e in own.items()} == {"a": {}, "b": {"stem_size": 32}}


def test_strategies_of_a_sweep_share_the_options_that_each_takes():
    experiment = config.parse(
        {
            "name": "x",
            "sampling": {"options": {"space": "pixels", "ratio": 0.5}, "recipes": {"r": [{"method": "smote"}]}},
            "sweep": {"strategies": ["none", "random_over", "smote", "r"]},
        }
    )
    given = {}
    for strategy in experiment.sweep.strategies:
        trial = optuna.trial.FixedTrial({space.BACKBONE: experiment.model.backbone, space.STRATEGY: strategy})
        given[strategy] = space.suggest(trial, experiment).sampling.options
    assert given == {
        "none": {}, "random_over": {"ratio": 0.5}, "smote": {"space": "pixels", "ratio": 0.5}, "r": {}
    }  # fmt: skip


PLACED = ["none", "se@1", {"block": "cbam", "stage": 3}, ["se@2", "se1d@pool"]]


def test_placements_of_attention_are_an_axis_of_texts():
    swept = experiment(space={"model.attention": PLACED}, per_backbone={"b": {"model.attention": ["eca@1"]}})
    assert space.placements(swept) == ["none", "se@1", "cbam@3", "se@2+se1d@pool", "eca@1"]
    assert space.placements(experiment()) == ["none"]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    asked = [space.suggest(study.ask(), experiment(mode="best", space={"model.attention": PLACED})) for _ in range(20)]
    assert {own.model.attention for own in asked} == {"none", "se@1", "cbam@3", "se@2+se1d@pool"}


def test_rank_takes_every_choice_once_before_one_twice():
    swept = experiment(space={"model.attention": PLACED, "train.batch_size": [16, 32]})
    plan = space.plan(swept, 8 * 4)
    seen = [p.params["model.attention"] for p in plan if p.params["model.backbone"] == "a"][::2]
    assert seen[0] == "none"  # the file's own value
    assert sorted(seen[:4]) == sorted(seen[4:]) == ["cbam@3", "none", "se@1", "se@2+se1d@pool"]
    sizes = [p.params["train.batch_size"] for p in plan]
    assert Counter(sizes) == {16: 16, 32: 16}
    for i in range(0, len(plan), 4):  # every cell of a round the same
        assert len({tuple(list(p.params.items())[2:]) for p in plan[i : i + 4]}) == 1


def test_a_trial_is_told_by_what_was_chosen_for_it():
    params = {
        "model.backbone": "a",
        "sampling.strategy": "none",
        "train.lr": 0.1,
        "a|model.mode": "lora",
        "x.y": "se@2",
    }
    assert space.spoken(params) == "a x none, mode lora, y se@2"
    assert space.spoken({"model.backbone": "a", "sampling.strategy": "none"}) == "a x none"
