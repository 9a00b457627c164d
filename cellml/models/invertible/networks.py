"""The invertible backbones: residual (i-ResNet) and coupling (Glow)."""

from collections.abc import Iterator, Sequence

from torch import nn

from cellml.models.generative import checked
from cellml.models.invertible.flow import Flow
from cellml.models.invertible.layers import ActNorm, Coupling, Mix, Squeeze
from cellml.models.invertible.residual import NoContraction, Residual
from cellml.models.invertible.spectral import spectral


class IResNet(Flow):
    """Invertible residual network: spectrally normalised blocks, a linear or Gaussian head.

    Behrmann et al. 2019, arXiv 1811.00995, with ActNorm before each block.

    Args:
        channels: C of the input.
        num_classes: K.
        size: side of the input in pixels.
        dropout: before the last layer.
        blocks: residual blocks of each stage; a stage halves the side.
        widths: channels between the convolutions of a block, for each stage.
        coefficient: the largest norm of a convolution, below 1.
        head: linear or gaussian.
        likelihood: weight of the negative log-likelihood in nats a dimension beside the class loss.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        size: int,
        *,
        dropout: float = 0.0,
        blocks: Sequence[int] = (3, 3, 3),
        widths: Sequence[int] = (32, 64, 128),
        coefficient: float = 0.9,
        head: str = "linear",
        likelihood: float = 0.0,
    ) -> None:
        if not 0 < coefficient < 1:
            raise ValueError(f"expected coefficient above 0 and below 1, got {coefficient}")

        def stages() -> Iterator[list[nn.Module]]:
            for c, side, depth, width in _shapes(channels, size, blocks, widths):
                pairs = [(ActNorm(c), Residual(c, width, side, coefficient)) for _ in range(depth)]
                yield [Squeeze(), *(layer for pair in pairs for layer in pair)]

        super().__init__(channels, num_classes, size, stages(), dropout=dropout, head=head, likelihood=likelihood)
        self.register_load_state_dict_post_hook(_check)

    def settle(self) -> None:
        """Derive the factors of all convolutions from the present weights."""
        for convolution in spectral(self):
            convolution.settle()


class CouplingFlow(Flow):
    """Coupling flow: ActNorm, invertible 1 x 1 convolutions and affine couplings, a linear or Gaussian head.

    Kingma and Dhariwal 2018, Glow, arXiv 1807.03039, without splitting parts of the embedding off.

    Args:
        channels: C of the input.
        num_classes: K.
        size: side of the input in pixels.
        dropout: before the last layer.
        steps: of each stage; a stage halves the side.
        widths: channels between the convolutions of a coupling, for each stage.
        head: linear or gaussian.
        likelihood: weight of the negative log-likelihood in nats a dimension beside the class loss.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        size: int,
        *,
        dropout: float = 0.0,
        steps: Sequence[int] = (4, 4, 4),
        widths: Sequence[int] = (32, 64, 128),
        head: str = "linear",
        likelihood: float = 0.0,
    ) -> None:
        def stages() -> Iterator[list[nn.Module]]:
            for c, _, depth, width in _shapes(channels, size, steps, widths):
                triples = [(ActNorm(c), Mix(c), Coupling(c, width)) for _ in range(depth)]
                yield [Squeeze(), *(layer for triple in triples for layer in triple)]

        super().__init__(channels, num_classes, size, stages(), dropout=dropout, head=head, likelihood=likelihood)

    def no_weight_decay(self) -> set[str]:
        """The matrices that mix channels: decay would make them singular."""
        return {f"{name}.weight" for name, module in self.named_modules() if isinstance(module, Mix)}


def _shapes(
    channels: int, size: int, depths: Sequence[int], widths: Sequence[int]
) -> Iterator[tuple[int, int, int, int]]:
    """Channels, side, depth and width of each stage."""
    counts, between = checked("blocks or steps", depths, 1), checked("widths", widths, 1)
    if len(counts) != len(between):
        raise ValueError(f"expected as many widths as stages, got {counts} and {between}")
    side = size + -size % 2 ** len(counts)
    for k, (depth, width) in enumerate(zip(counts, between, strict=True), start=1):
        yield channels * 4**k, side // 2**k, depth, width


def _check(net: nn.Module, _: object) -> None:
    """Refuse loaded weights whose blocks have no inverse."""
    for name, block in net.named_modules():
        if isinstance(block, Residual) and not (bound := block.bound()) < 1:
            raise NoContraction(
                f"Expected residual blocks that contract, {name} has a branch of norm {bound:.3g} (below 1 wanted) "
                "after loading: the weights were changed since they were trained; load the original ones"
            )
