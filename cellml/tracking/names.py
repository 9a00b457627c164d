"""One reversible slug for the names MLflow refuses: `torchvision/resnet18`, the class `CD4+`.

Characters that both a registered model's name and a metric's key may hold stay as they are; every other one becomes
`-0xHEX-`, its code point: `CD4+` is `CD4-0x2B-`. A literal `-` before `0x`, a leading dot and spaces at the ends are
escaped too, and the empty name is `-0x-`.
"""

import re

_KEPT = re.compile(r"[\w.\- ]")
_ESCAPE = re.compile(r"-0x([0-9A-F]*)-")


def slug(name: str) -> str:
    """A name that MLflow takes as a registered model's name, a metric's or param's key and a file's name.

    Example:
        >>> slug("torchvision/resnet18")
        'torchvision-0x2F-resnet18'
    """
    if not name:
        return "-0x-"
    return "".join(char if _stays(name, i) else f"-0x{ord(char):X}-" for i, char in enumerate(name))


def unslug(text: str) -> str:
    """The name that `slug` was given."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else "", text)


def metric_key(prefix: str, name: str) -> str:
    """A metric's key: `val/recall_CD4-0x2B-` of `val` and `recall_CD4+`."""
    return f"{prefix}/{slug(name)}"


def model_name(experiment: str, backbone: str | None = None) -> str:
    """Name of a registered model: `<experiment>`, or `<experiment>.<backbone>`, each as a slug."""
    return slug(experiment) if backbone is None else f"{slug(experiment)}.{slug(backbone)}"


def _stays(name: str, i: int) -> bool:
    char = name[i]
    if char == "-":
        return not name.startswith("0x", i + 1)
    if char == ".":
        return i > 0
    if char == " ":
        return 0 < i < len(name) - 1
    return bool(_KEPT.match(char))
