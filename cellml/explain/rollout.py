"""Attention rollout: where the tokens that the head reads have looked."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from cellml.explain.base import EXPLAINERS, Attribution, array
from cellml.explain.occlusion import stand_in
from cellml.models.classifier import Classifier


@dataclass(frozen=True)
class Tokens:
    """Of a ViT: its attention modules from first to last, the grid of its patches and the tokens before these."""

    attentions: list[Any]
    height: int
    width: int
    prefix: int
    pooled: bool


@EXPLAINERS.register("attention_rollout", "classless")
def attention_rollout(
    classifier: Classifier, prepared: torch.Tensor, classes: torch.Tensor, *, batch_size: int = 32
) -> Attribution:
    """Attention rollout: attention followed through all blocks to the image; plain ViTs of timm, whatever the class.

    The product over the blocks of (A + I) / 2, A a block's attention averaged over heads (Abnar & Zuidema 2020,
    arXiv 2005.00928): the row of the class token, or the mean row of the patches where the head reads their mean,
    enlarged bilinearly. Values are shares of attention: they are never negative and do not depend on the class. Where
    the attention of the whole image cannot be read, occlusion stands in.

    Args:
        classifier: what is explained, in eval mode.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) class index, kept on record only.
        batch_size: images a pass.

    Returns:
        Maps of (N, H, W).
    """
    found = _tokens(classifier, tuple(prepared.shape[2:]))
    if isinstance(found, Tokens):
        batches = (_rolled(classifier, found, images) for images in prepared.split(batch_size))
        rows = [row for row in batches if row is not None]
        if rows:
            grid = torch.cat(rows)[:, found.prefix :].reshape(len(prepared), 1, found.height, found.width)
            maps = F.interpolate(grid, size=prepared.shape[2:], mode="bilinear", align_corners=False)[:, 0]
            return Attribution(array(maps), classes.cpu().numpy(), "attention_rollout")
        found = "its attention is not one matrix of all tokens a block"
    return stand_in("attention_rollout", classifier, prepared, classes, found)


def _tokens(classifier: Classifier, size: tuple[int, ...]) -> Tokens | str:
    """The network's description of its tokens, or why attention cannot be read."""
    net: Any = classifier.net
    blocks: Any = getattr(net, "blocks", None)
    embed: Any = getattr(net, "patch_embed", None)
    if not (hasattr(net, "num_prefix_tokens") and blocks and hasattr(embed, "dynamic_feat_size")):
        return "it is no ViT of timm's"
    attentions = [getattr(block, "attn", None) for block in blocks]
    if not all(isinstance(getattr(a, "attn_drop", None), nn.Dropout) and hasattr(a, "fused_attn") for a in attentions):
        return "its blocks do not tell their attention"
    height, width = embed.dynamic_feat_size(size)
    prefix = int(net.num_prefix_tokens)
    return Tokens(attentions, height, width, prefix, getattr(net, "global_pool", "") != "token" or not prefix)


@torch.no_grad()
def _rolled(classifier: Classifier, tokens: Tokens, images: torch.Tensor) -> torch.Tensor | None:
    """(n, T) share of each token in what the head reads; None where a block has other matrices."""
    count = tokens.prefix + tokens.height * tokens.width
    with _weights(tokens.attentions) as taken:
        classifier.logits(images)
    if len(taken) != len(tokens.attentions) or any(a.shape != (len(images), count, count) for a in taken):
        return None
    first = tokens.prefix if tokens.pooled else 0
    start = torch.zeros(count, device=images.device)
    start[first : count if tokens.pooled else 1] = 1
    row = (start / start.sum()).expand(len(images), -1)
    for attention in reversed(taken):
        row = (row + torch.einsum("nt,nts->ns", row, attention)) / 2
    return row


@contextmanager
def _weights(attentions: list[Any]) -> Iterator[list[torch.Tensor]]:
    """Collect the head-averaged attention of each module; the fused kernel, which forms none, is off inside."""
    taken: list[torch.Tensor] = []

    def take(_: nn.Module, __: Any, output: torch.Tensor) -> None:
        taken.append(output.float().mean(dim=1))

    fused = [attention.fused_attn for attention in attentions]
    with ExitStack() as stack:
        for attention, flag in zip(attentions, fused, strict=True):
            stack.callback(setattr, attention, "fused_attn", flag)
            attention.fused_attn = False
            stack.callback(attention.attn_drop.register_forward_hook(take).remove)
        yield taken
