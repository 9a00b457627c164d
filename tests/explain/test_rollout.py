import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cellml.explain.base import explain
from tests.explain.helpers import built, noise

VITS = {
    "test_vit": {},
    "vit_tiny_patch16_224": {"depth": 3},
    "vit_wee_patch16_reg1_gap_256": {"depth": 3},
    "vit_small_patch14_reg4_dinov2": {"depth": 2, "embed_dim": 96, "num_heads": 3, "patch_size": 16},
}


def by_hand(classifier, images):
    """Attention from each block's own queries and keys; T x T matrices multiplied from the first block on."""
    net, matrices, inputs = classifier.net, [], []
    handles = [b.attn.register_forward_pre_hook(lambda _, given: inputs.append(given[0])) for b in net.blocks]
    with torch.no_grad():
        classifier.logits(images)
        for block, x in zip(net.blocks, inputs, strict=True):
            n, t, _ = x.shape
            attn = block.attn
            q, k, _ = attn.qkv(x).reshape(n, t, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
            weights = ((attn.q_norm(q) @ attn.k_norm(k).transpose(-2, -1)) * attn.scale).softmax(dim=-1)
            matrices.append(0.5 * weights.mean(dim=1) + 0.5 * torch.eye(t))
    for handle in handles:
        handle.remove()
    rolled = matrices[0]
    for matrix in matrices[1:]:
        rolled = matrix @ rolled
    return rolled


@pytest.mark.parametrize("backbone", VITS)
def test_agrees_with_the_product_of_all_attention(backbone):
    classifier = built(backbone, options=VITS[backbone]).eval()
    images, net = noise(), classifier.net
    rolled, prefix = by_hand(classifier, images), net.num_prefix_tokens
    row = rolled[:, 0] if net.global_pool == "token" else rolled[:, prefix:].mean(dim=1)
    np.testing.assert_allclose(row.sum(dim=1).numpy(), 1, atol=1e-5)
    side = round((row.shape[1] - prefix) ** 0.5)
    wanted = F.interpolate(row[:, prefix:].reshape(2, 1, side, side), size=(64, 64), mode="bilinear")[:, 0].numpy()
    got = explain("attention_rollout", classifier, images, [0, 2])
    assert (got.method, got.fallback) == ("attention_rollout", None)
    np.testing.assert_allclose(got.maps, wanted, rtol=1e-4, atol=1e-7)
    assert wanted.std() > 0


def test_the_four_kinds_of_tokens_are_all_here():
    nets = [built(name, options=options).net for name, options in VITS.items()]
    assert {(net.global_pool, net.num_prefix_tokens) for net in nets} >= {("token", 1), ("avg", 1), ("token", 5)}


def test_fused_attention_is_on_again_also_after_an_error():
    classifier = built("test_vit")
    flags = [block.attn.fused_attn for block in classifier.net.blocks]
    assert any(flags)
    explain("attention_rollout", classifier, noise(), [0, 1])
    assert [block.attn.fused_attn for block in classifier.net.blocks] == flags
    forward = classifier.net.forward

    def broken(x):
        forward(x)
        raise RuntimeError("stop")

    classifier.net.forward = broken
    with pytest.raises(RuntimeError, match="stop"):
        explain("attention_rollout", classifier, noise(), [0, 1])
    assert [block.attn.fused_attn for block in classifier.net.blocks] == flags
    assert not any(block.attn.attn_drop._forward_hooks for block in classifier.net.blocks)


@pytest.mark.parametrize(
    ("backbone", "options", "reason"),
    [
        ("test_resnet", {}, "it is no ViT of timm's"),
        (
            "swin_tiny_patch4_window7_224",
            {"embed_dim": 24, "depths": (1, 1), "num_heads": (1, 2)},
            "it is no ViT of timm's",
        ),
        ("test_vit", None, "its blocks do not tell their attention"),
    ],
)
def test_other_networks_fall_back_on_record(backbone, options, reason):
    classifier = built(backbone, options=options or {})
    if options is None:
        classifier.net.blocks[0].attn.attn_drop = nn.Identity()
    got = explain("attention_rollout", classifier, noise(1), [0])
    assert (got.method, got.fallback) == ("occlusion", f"attention_rollout cannot serve {backbone}: {reason}")


def test_attention_within_windows_is_not_rolled_out():
    classifier = built("test_vit")
    attention = classifier.net.blocks[0].attn
    whole = attention.forward
    attention.forward = lambda x, **options: torch.cat([whole(part, **options) for part in x.split(5, dim=1)], dim=1)
    got = explain("attention_rollout", classifier, noise(2), [0, 1])
    assert got.fallback.endswith("its attention is not one matrix of all tokens a block")
