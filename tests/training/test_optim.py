"""Parameter groups, schedules and averaged weights."""

import pytest
import torch
from torch import nn

from cellml.config import Train
from cellml.training import optim
from cellml.vision import timm


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def test_norms_and_biases_do_not_decay():
    decayed, kept = optim.groups(net(), Train(weight_decay=0.05))
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.05, 0.0)
    assert sorted(p.ndim for p in decayed["params"]) == [2, 4]
    assert [p.ndim for p in kept["params"]] == [1, 1, 1, 1]


def test_what_the_network_exempts_does_not_decay():
    vit = timm.create_model("test_vit", num_classes=2)
    _, kept = optim.groups(vit, Train(weight_decay=0.05))
    assert any(p is vit.pos_embed for p in kept["params"])
    assert vit.pos_embed.ndim == 3


def test_frozen_parameters_are_left_out():
    model = net()
    model[0].weight.requires_grad_(False)
    assert sum(len(g["params"]) for g in optim.groups(model, Train())) == 5


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("adamw", torch.optim.AdamW),
        ("adam", torch.optim.Adam),
        ("sgd", torch.optim.SGD),
        ("adagrad", torch.optim.Adagrad),
    ],
)
def test_one_step_equals_torchs_own(name, theirs):
    ours_net, their_net = (nn.Sequential(nn.Flatten(), net()[3], nn.Tanh()) for _ in range(2))
    ours = optim.optimizer(ours_net, Train(optimizer=name, lr=0.1, weight_decay=0.0))
    extra = {"momentum": 0.9, "nesterov": True} if name == "sgd" else {}
    other = theirs(their_net.parameters(), lr=0.1, weight_decay=0.0, **extra)
    x = torch.rand(5, 16)
    for _ in range(3):
        for model, step in ((ours_net, ours), (their_net, other)):
            step.zero_grad()
            model(x).square().mean().backward()
            step.step()
    for mine, its in zip(ours_net.parameters(), their_net.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 7, 40])
@pytest.mark.parametrize("name", ["onecycle", "cosine", "constant"])
def test_schedules_start_peak_and_end_as_they_should(name, steps):
    over = torch.optim.SGD(net().parameters(), lr=0.1)
    schedule = optim.schedule(over, Train(schedule=name, lr=0.1), steps)
    seen = []
    for _ in range(steps):
        seen.append(over.param_groups[0]["lr"])
        over.step()
        schedule.step()
    last = over.param_groups[0]["lr"]
    assert max(seen) <= 0.1 + 1e-12
    if name == "constant":
        assert {*seen, last} == {0.1}
    elif name == "cosine":
        assert seen[0] == pytest.approx(0.1)
        assert last == pytest.approx(0, abs=1e-9)
    elif steps == 40:
        assert seen[0] == pytest.approx(0.1 / 25)
        assert max(range(steps), key=seen.__getitem__) == 11  # 0.3 of the steps
        assert seen[11] == pytest.approx(0.1)
        assert seen[-1] < 1e-5


def test_a_cycle_leaves_an_optimiser_without_momentum_its_own():
    over = optim.optimizer(net(), Train(optimizer="adagrad"))
    assert optim.schedule(over, Train(optimizer="adagrad"), 5).get_last_lr()[0] < 1e-3


def test_average_follows_the_formula_buffers_too():
    model = net()
    average = optim.Average(model, 0.8)
    expected = {k: v.clone() for k, v in model.state_dict().items()}
    for step in range(12):
        model.train()(torch.rand(4, 3, 4, 4))  # changes the buffers
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        average.update()
        decay = min(0.8, (1 + step) / (10 + step))
        for key, value in model.state_dict().items():
            expected[key] = decay * expected[key] + (1 - decay) * value if value.is_floating_point() else value.clone()
    found = average.model.state_dict()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, msg=key)
    assert found["1.num_batches_tracked"] == 12
    assert not average.model.training
    assert not any(p.requires_grad for p in average.model.parameters())


def test_a_constant_rate_changes_after_the_epochs_that_say_so():
    over = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=7e-5)
    schedule = optim.schedule(over, Train(schedule="constant", lr=7e-5, epochs=10, lr_after={5: 3e-5, 8: 1e-5}), 40)
    seen = []
    for _ in range(40):
        seen.append(over.param_groups[0]["lr"])
        over.step()
        schedule.step()
    assert seen == pytest.approx([7e-5] * 20 + [3e-5] * 12 + [1e-5] * 8)


def test_stages_that_cannot_be_meant():
    with pytest.raises(ValueError, match="lr_after needs schedule: constant, got onecycle"):
        Train(lr_after={5: 1e-5})
    with pytest.raises(ValueError, match="epochs from 1 on and rates above 0"):
        Train(schedule="constant", lr_after={0: 1e-5})


def layers_of_vit(name):
    """BEiT's depth of a parameter in a plain transformer: the embedding first, block after block, the head last."""
    if name.startswith("blocks."):
        return 1 + int(name.split(".")[1])
    return 7 if name.startswith("head.") else 6 if name.startswith("norm.") else 0


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_layer_decay_multiplies_the_rate_once_a_layer(decay):
    vit = timm.create_model("test_vit", num_classes=2)
    over = optim.optimizer(vit, Train(lr=0.01, weight_decay=0.05, layer_decay=decay))
    found = {id(p): group for group in over.param_groups for p in group["params"]}
    exempt = vit.no_weight_decay()
    assert len(found) == len(list(vit.parameters()))
    for name, parameter in vit.named_parameters():
        assert found[id(parameter)]["lr"] == pytest.approx(0.01 * decay ** (7 - layers_of_vit(name))), name
        plain = parameter.ndim <= 1 or name in exempt
        assert found[id(parameter)]["weight_decay"] == (0.0 if plain else 0.05), name


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "swin_tiny_patch4_window7_224", "densenet121"])
def test_layer_rates_are_timms(name):
    net = timm.create_model(name, num_classes=2)
    theirs = timm.optim.param_groups_layer_decay(net, 0.05, layer_decay=0.75)
    ours = optim.groups(net, Train(lr=0.2, weight_decay=0.05, layer_decay=0.75))
    rates = {id(p): group["lr"] for group in ours for p in group["params"]}
    for group in theirs:
        assert all(rates[id(p)] == pytest.approx(0.2 * group["lr_scale"]) for p in group["params"])
    assert len(set(rates.values())) > 4


@pytest.mark.parametrize("settings", [{}, {"schedule": "cosine"}, {"schedule": "constant", "lr_after": {2: 1e-3}}])
def test_schedules_keep_the_ratio_of_the_layers_rates(settings):
    train = Train(lr=0.01, layer_decay=0.7, epochs=4, **settings)
    over = optim.optimizer(timm.create_model("test_vit", num_classes=2), train)
    schedule, steps = optim.schedule(over, train, 20), []
    start = [group["lr_scale"] for group in over.param_groups]
    for _ in range(20):
        rates = [group["lr"] for group in over.param_groups]
        steps.append(max(rates))
        assert [rate / max(rates) for rate in rates] == pytest.approx(start, rel=1e-3)
        over.step()
        schedule.step()
    plain = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    single, expected = optim.schedule(plain, Train(lr=0.01, epochs=4, **settings), 20), []
    for _ in range(20):
        expected.append(plain.param_groups[0]["lr"])
        plain.step()
        single.step()
    assert steps == pytest.approx(expected)
