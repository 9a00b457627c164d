"""Small sequence models of every kind, for the conformance suite and for export."""

import torch

from cellml.models.temporal import networks

TRACKER = {"encoder": [4, 8], "hidden": [4, 6, 8], "decoder": [6, 4], "norm": "group"}
NAMES = ("test_resnet", "mitosis_cnn", "test_resnet+gru", "test_resnet+lstm", "test_resnet+tcn", "tracker")


def small(name, channels=2, size=32, classes=3, layers=1, **options):
    """A network in evaluation mode, its parameters drawn from seed 0."""
    torch.manual_seed(0)
    sizes = networks.sizes_of(name, 6, layers, TRACKER)
    net = networks.create(name, channels=channels, num_classes=classes, size=size, sizes=sizes, probe=False, **options)
    return net.eval()


def clip(count, length, channels=2, size=32, seed=1):
    """Normalised frames (N, T, C, S, S)."""
    return torch.randn(count, length, channels, size, size, generator=torch.Generator().manual_seed(seed))
