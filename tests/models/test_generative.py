import pytest
import torch

from cellml.errors import UserError
from cellml.models import backbones
from cellml.models.generative import Generative


class Doubling(Generative):
    """z = 2 x, and a way back that forgets a share of the image."""

    def encode(self, x):
        return 2 * x

    def decode(self, z):
        return z / 2 * torch.tensor([1.0, 0.75])[:, None, None, None]

    def logits(self, z):
        return z.flatten(1)[:, :3]

    def learn(self, x, targets, weights):
        return self(x), (weights * x.flatten(1).sum(1)).mean()

    def log_likelihood(self, x):
        return x.flatten(1).sum(1)


def test_the_error_of_a_round_trip_is_relative_to_each_image():
    x = torch.randn(2, 3, 4, 4) * torch.tensor([1.0, 100.0])[:, None, None, None]
    torch.testing.assert_close(Doubling().round_trip(x), torch.tensor([0.0, 0.25]))
    assert Doubling().round_trip(torch.zeros(2, 3, 4, 4)).tolist() == [0, 0]


def test_forward_and_loss_follow_from_the_rest():
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(Doubling()(x), 2 * x.flatten(1)[:, :3])
    expected = (3 * x[0].sum() + x[1].sum()) / 2
    torch.testing.assert_close(Doubling().loss(x, torch.eye(3)[:2], torch.tensor([3.0, 1.0])), expected)


@pytest.mark.parametrize("inserted", [{"attention": "se@1"}, {"attention": "se1d@pool"}, {"hidden_units": 8}])
@pytest.mark.parametrize("name", ["iresnet", "coupling", "autoencoder"])
def test_nothing_may_stand_in_the_way_back(name, inserted):
    with pytest.raises(UserError, match=f"{name!r} must find its way back.*set attention to none and mode to finetune"):
        backbones.create(name, channels=3, num_classes=2, size=16, **inserted)
