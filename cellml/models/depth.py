"""How deep in a network its parameters lie: its last stage, and groups for layer-wise learning rates."""

from torch import nn

from cellml.errors import UserError
from cellml.vision import timm


def last_stage(name: str, net: nn.Module) -> set[str]:
    """Names of the parameters of a timm network's last stage and of all that comes after it.

    The stages are those of the family's own `group_matcher(coarse=True)` (single blocks, in plain transformers), what
    it does not match (norms behind the last stage, the head) comes after them; without one, those of `feature_info`.

    Args:
        name: of the network, for errors.
        net: with attention blocks or without.

    Raises:
        UserError: a network that describes no stages.
    """
    groups = _coarse(net)
    if len(groups) > 2:
        return {key for group in groups[-2:] for key in group}
    known = [key for key, _ in net.named_parameters()]
    info = getattr(net, "feature_info", None) or []
    modules = [entry.get("module", "") for entry in getattr(info, "info", info)]
    starts = [place for place, key in enumerate(known) if modules and modules[-1] and key.startswith(f"{modules[-1]}.")]
    if not starts:
        raise UserError(
            f"Expected a backbone that describes its stages for model.mode last_stage, {name!r} does not; set "
            "finetune, lora or head, or choose another backbone"
        )
    return set(known[starts[0] :])


def check_layers(name: str, net: nn.Module) -> None:
    """Refuse layer-wise learning rates where a network does not say which of its layers come first.

    Raises:
        UserError: a network that is no timm one, or whose layers timm puts into one group.
    """
    matcher = getattr(net, "group_matcher", None)
    if matcher is None or len(timm.models.group_parameters(net, matcher(coarse=False))) < 2:
        raise UserError(
            f"Expected a backbone that orders its layers for train.layer_decay, {name!r} does not; set layer_decay "
            "to 1, or choose another backbone"
        )


def _coarse(net: nn.Module) -> list[list[str]]:
    try:
        groups = timm.models.group_parameters(net, net.group_matcher(coarse=True))  # type: ignore[operator]  # timm's
    except (AttributeError, AssertionError):  # none, or none that is coarse
        return []
    return [groups[depth] for depth in sorted(groups)]
