"""Further labels of the training images, learnt beside the class from the same embedding and not asked for later.

Multi-task learning: Caruana, "Multitask Learning", Machine Learning 28 (1997).
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellml.data.manifest import Manifest
from cellml.errors import UserError
from cellml.models import backbones


def labels(train: Manifest) -> list[Tensor]:
    """Further labels of the N training rows: for each column (N, V) float32, ones and zeros, all zero for no label.

    Raises:
        UserError: no such columns, one with fewer than two values or a value of its own for most images, or the class.
    """
    if not train.auxiliary:
        raise UserError("Expected columns with further labels in data.auxiliary for train.auxiliary, found none")
    found = []
    for name, texts in train.auxiliary.items():
        values = sorted({str(text) for text in texts} - {""})
        if len(values) < 2:
            raise UserError(
                f"Expected two values or more in the column {name!r} of data.auxiliary, got {values}; leave it out"
            )
        if len(values) > len(texts) / 4:
            raise UserError(
                f"Expected labels that images share in the column {name!r} of data.auxiliary, got {len(values)} values "
                f"in {len(texts)} rows; leave it out"
            )
        if len(set(zip(texts, train.targets, strict=True))) == len(values) == len(set(train.targets)):
            raise UserError(
                f"Expected labels other than the class in data.auxiliary, got {name!r}, which says the same; leave it "
                "out"
            )
        found.append(torch.from_numpy((texts[:, None] == np.array(values, dtype=object)).astype(np.float32)))
    return found


class Heads(nn.Module):
    """A linear layer for each further label, on what the network's last layer sees."""

    def __init__(self, net: nn.Module, values: Sequence[int]) -> None:
        """`values` holds how many values each label has; the network is read through hooks, see `remove`."""
        super().__init__()
        layers = [layer for _, layer in backbones.last_layers(net)]
        width = sum(layer.weight.shape[1] for layer in layers)
        self.values = list(values)
        self.layer = nn.Linear(width, sum(values))
        self._seen: dict[int, Tensor] = {}
        self._hooks = [
            layer.register_forward_pre_hook(lambda _, inputs, k=k: self._seen.__setitem__(k, inputs[0].flatten(1)))
            for k, layer in enumerate(layers)
        ]

    def loss(self, targets: Tensor) -> Tensor:
        """Mean over the labels of the cross-entropy of the images that the network saw last.

        Args:
            targets: (N, sum of values) shares, the labels side by side; those of an image without a label are zero.

        Returns:
            (N,) in nats.
        """
        embedding = torch.cat([self._seen.pop(k) for k in sorted(self._seen)], dim=1)
        logits = self.layer(embedding).float().split(self.values, dim=1)
        wanted = targets.split(self.values, dim=1)
        terms = [-(t * F.log_softmax(z, dim=1)).sum(1) for t, z in zip(wanted, logits, strict=True)]
        return torch.stack(terms).mean(0)

    def remove(self) -> None:
        """Take the hooks off the network."""
        for hook in self._hooks:
            hook.remove()
        self._seen.clear()
