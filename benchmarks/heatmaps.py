"""Grad-CAM images per second beside a bare forward and backward pass, and beside the public grad-cam package.

All three work on the same network, layer and batch, and take turns in one process, so that whatever else the machine
does meets them alike; a ratio is the median over the turns. The bare pass is what a training step does without its
optimiser: forward, and backward to every parameter. Each call of ours finds and proves its layer anew, as users' calls
do. The package (`pip install grad-cam`) is used as its documentation shows; the maps are compared as well.

    python benchmarks/heatmaps.py [--turns 5] [--images 128] [--batch-size 32] [--threads 2] [--out build/heatmaps.json]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import cellml.vision  # noqa: F401  # before grad-cam, which imports torchvision

# isort: split
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from cellml.explain import base, hooks
from cellml.models.classifier import Classifier, Spec, build

CASES = (
    ("resnet18", 96, "layer4"),
    ("resnet18", 96, None),
    ("vit_tiny_patch16_224", 224, None),
)  # None: what we choose


def main() -> None:
    parser = argparse.ArgumentParser(description="Grad-CAM's speed beside a bare pass and the grad-cam package.")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--images", type=int, default=128, help="images a call")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path, default=Path("build/heatmaps.json"))
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    found = [measure(*case, given.images, given.batch_size, given.turns) for case in CASES]
    for row in found:
        print(
            f"{row['backbone']} at {row['size']} px, layer {row['layer']}: {row['ours']:.1f} images/s; "
            f"bare forward and backward {row['bare']:.1f}: ratio {row['over_bare']:.2f}; "
            f"grad-cam {row['package']:.1f}: ratio {row['over_package']:.2f} "
            f"(maps differ by {row['difference']:.1e})"
        )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measure(name: str, size: int, layer: str | None, count: int, batch_size: int, turns: int) -> dict[str, Any]:
    classifier = _classifier(name, size)
    images = torch.randint(0, 256, (count, 3, size, size)).float()
    classes = torch.arange(count) % 2
    batches = list(zip(images.split(batch_size), classes.split(batch_size), strict=True))
    with base.undisturbed(classifier):
        target = hooks.resolve(classifier.net, classifier.logits, images[:2], layer=layer, grid=7)
    assert isinstance(target, hooks.Target)
    package = _package(classifier, target)
    ways: dict[str, Callable[[], Any]] = {
        "ours": lambda: base.explain(
            "gradcam", classifier, images, classes, score="logit", layer=layer, batch_size=batch_size
        ),
        "bare": lambda: [_bare(classifier, some, wanted) for some, wanted in batches],
        "package": lambda: np.concatenate([package(some, _targets(wanted)) for some, wanted in batches]),
    }
    difference = _difference(ways["ours"](), ways["package"]())
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(turns):
        for way, step in ways.items():
            seconds[way].append(_timed(step))
    speed = {way: count / statistics.median(values) for way, values in seconds.items()}
    over = {
        f"over_{way}": statistics.median(b / a for a, b in zip(seconds["ours"], seconds[way], strict=True))
        for way in ("bare", "package")
    }
    settings = {"backbone": name, "size": size, "layer": target.name, "batch_size": batch_size, "images": count}
    return settings | {"threads": torch.get_num_threads()} | speed | over | {"difference": difference}


def _targets(classes: torch.Tensor) -> list[ClassifierOutputTarget]:
    return [ClassifierOutputTarget(k) for k in classes.tolist()]


def _classifier(name: str, size: int) -> Classifier:
    torch.manual_seed(0)
    half = {"low": (0.0,) * 3, "high": (255.0,) * 3, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return build(Spec(name, ("a", "b"), channels=3, dtype="uint8", size=size, crop=None, **half)).eval()


def _bare(classifier: Classifier, images: torch.Tensor, classes: torch.Tensor) -> None:
    classifier.zero_grad()
    classifier.logits(images).gather(1, classes[:, None]).sum().backward()


class _Logits(nn.Module):
    """Raw pixels to logits, for a package that calls a module."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier.logits(images)


def _package(classifier: Classifier, target: hooks.Target) -> GradCAM:
    tokens = None if target.layout.kind == "NCHW" else lambda output: target.to_maps(output).permute(0, 3, 1, 2)
    return GradCAM(model=_Logits(classifier), target_layers=[target.module], reshape_transform=tokens)


def _timed(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _difference(ours: base.Attribution, theirs: npt.NDArray[np.float32]) -> float:
    """1 minus the median correlation of ours, cut at zero, with theirs, which are cut before they are enlarged."""
    pairs = [(np.maximum(a, 0).ravel(), b.ravel()) for a, b in zip(ours.maps, theirs, strict=True)]
    return 1 - float(np.median([np.corrcoef(a, b)[0, 1] for a, b in pairs if a.any() and b.any()]))


if __name__ == "__main__":
    main()
