"""A hidden layer in the head: the formula, and that the model saves, exports, explains and passes its weights on."""

import pytest
import torch
from torch.nn import functional

from cellml.errors import UserError
from cellml.explain.base import explain
from cellml.models import backbones, classifier, hidden
from tests.models.test_classifier import exported


def create(name="test_resnet", units=0, weights="none", classes=3):
    return backbones.create(name, channels=3, num_classes=classes, size=64, weights=weights, hidden_units=units)


def settled(net):
    """In evaluation mode, with batch statistics that do something."""
    net.hidden[0].running_mean.normal_()
    net.hidden[0].running_var.uniform_(0.5, 2)
    return net.eval()


@pytest.mark.parametrize("name", ["test_resnet", "resnetv2_18", "test_vit", "torchvision/squeezenet1_0"])
def test_logits_are_those_of_two_layers_on_normalised_vectors(name):
    torch.manual_seed(1)
    plain = create(name).eval()
    torch.manual_seed(1)
    net = settled(create(name, 20))
    x = torch.randn(4, 3, 64, 64)
    ((_, last),) = backbones.last_layers(net)
    with torch.no_grad():
        pooled = backbones.embed(plain, x)
        norm, inner, _ = net.hidden
        z = (pooled - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps)
        units = functional.gelu(z @ inner.weight.T + inner.bias)
        expected = units @ last.weight.flatten(1).T + last.bias
        torch.testing.assert_close(net(x).flatten(1), expected)
        torch.testing.assert_close(backbones.embed(net, x), units)
    assert units.shape == (4, 20)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "resnetv2_18"])
def test_a_model_with_one_saves_exports_and_explains(name, make_spec, make_images, tmp_path):
    model = classifier.build(make_spec(name, hidden=12))
    settled(model.net)
    images = make_images(3, 70, 90)
    with torch.no_grad():
        expected = model(images)
        torch.testing.assert_close(exported(model, images)(images[:2]), expected[:2], rtol=0, atol=1e-5)
        classifier.save(model, tmp_path)
        again = classifier.load(tmp_path)
        assert torch.equal(again(images), expected)
    assert again.spec.hidden == 12
    found = explain("gradcam", again, again.prepare(images), [0, 1, 2])
    assert found.method == "gradcam"
    assert found.maps.std() > 0


def test_weights_bring_their_hidden_layer_where_it_fits_and_the_trunk_anyway():
    source = settled(create(units=16))
    state = source.state_dict()
    same, wider, none, other = (
        create(units=u, weights=state, classes=k) for u, k in ((16, 3), (17, 3), (0, 3), (16, 5))
    )
    ((head, _),) = backbones.last_layers(source)
    for net in (same, wider, none, other):
        assert torch.equal(net.layer1[0].conv1.weight, source.layer1[0].conv1.weight)
    for key in (f"{head}.weight", f"{head}.bias", "hidden.1.weight", "hidden.0.running_var"):
        assert torch.equal(same.state_dict()[key], state[key])
    assert not hasattr(none, "hidden")
    assert wider.hidden[1].weight.shape[0] == 17
    assert torch.equal(other.hidden[1].weight, source.hidden[1].weight)
    assert other(torch.randn(2, 3, 64, 64)).shape == (2, 5)


def test_a_plain_networks_weights_leave_it_fresh():
    plain = create()
    net = create(units=8, weights=plain.state_dict())
    assert torch.equal(net.layer2[0].conv1.weight, plain.layer2[0].conv1.weight)
    assert hidden.PREFIX + "1.weight" in net.state_dict()


def test_several_heads_have_no_place_for_one():
    with pytest.raises(UserError, match=r"one last layer for model\.mode head, 'levit_128s' averages 2"):
        create("levit_128s", 8)
