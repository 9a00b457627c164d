"""The way our rooms import torchvision and timm.

A torchvision built for another torch (a CUDA build beside a CPU torch, say) cannot load its C extension, and
`import torchvision`, with it timm, torchmetrics and lightning, dies with "operator torchvision::nms does not
exist". Only the operators' schemas are missed at import: they are defined here before the first import, and only
when the extension cannot load. With matching builds this module does nothing. The operators themselves
(`torchvision.ops.nms`, `torchvision.io.decode_*`) stay unusable without the extension; nothing here needs them.

Import as `from cellml.vision import timm, torchvision` or `import cellml.vision` before lightning and torchmetrics.
"""

import ctypes
import importlib.util
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_keep: list[torch.library.Library] = []  # a Library's definitions live as long as the object


def _extension_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True
    for extension in Path(spec.origin).parent.glob("_C*.so"):
        try:
            ctypes.CDLL(str(extension))
        except OSError:
            return False
    return True


def define_missing_operators() -> bool:
    """Define torchvision's operator schemas where its extension cannot load; returns whether it did."""
    if _keep or hasattr(torch.ops.torchvision, "nms") or _extension_loads():
        return bool(_keep)
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _keep.append(library)
    return True


define_missing_operators()

import timm  # noqa: E402
import torchvision  # noqa: E402

__all__ = ["define_missing_operators", "timm", "torchvision"]
