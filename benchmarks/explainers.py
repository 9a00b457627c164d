"""What each method of explanation costs: seconds, and images the network sees a second beside a bare forward loop.

Counted are the images that go through the network, forward alone or forward and backward; the bare loop gives the same
network batches of the same size and nothing else. Seconds are the best of the turns.

    python benchmarks/explainers.py [--images 32] [--backbone resnet18] [--size 96] [--threads 2] [--turns 1]
        [--methods rise,lime] [--out build/explainers.json]
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

import cellml.explain  # noqa: F401
from cellml.explain.base import EXPLAINERS, explain
from cellml.models.classifier import Classifier, Spec, build


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds and evaluations per second of every method.")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--methods", default=",".join(EXPLAINERS))
    parser.add_argument("--out", type=Path, default=Path("build/explainers.json"))
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    classifier = model(given.backbone, given.size)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (given.images, 3, given.size, given.size), generator=generator).float()
    bare = forward_rate(classifier, images)
    print(f"bare forward of {given.backbone} at {given.size} px, batches of 32: {bare:.0f} images/s", flush=True)
    rows = []
    for name in given.methods.split(","):
        explain(name, classifier, images[:1], [0])  # imports and compilation
        rows.append(min((measure(name, classifier, images) for _ in range(given.turns)), key=lambda r: r["seconds"]))
        row = rows[-1] | {"over_bare": rows[-1]["rate"] / bare}
        print(
            "{method}: {seconds:.2f} s, {seen} evaluations, {rate:.0f}/s, {over_bare:.2f} of bare".format(**row),
            flush=True,
        )
    total = sum(row["seconds"] for row in rows)
    print(f"all: {total:.1f} s for {given.images} images, {total / given.images:.2f} s an image")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    result = {"images": given.images, "bare": bare, "seconds": total, "methods": rows, **vars(given)}
    given.out.write_text(json.dumps(result, indent=2, default=str) + "\n", encoding="utf-8")


def model(backbone: str, size: int) -> Classifier:
    plain = {"low": (0.0,) * 3, "high": (255.0,) * 3, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    spec = Spec(backbone=backbone, classes=("a", "b", "c"), channels=3, dtype="uint8", size=size, crop=None, **plain)
    return build(spec).eval()


@torch.no_grad()
def forward_rate(classifier: Classifier, images: torch.Tensor, batch: int = 32, seconds: float = 5) -> float:
    given = images[torch.arange(batch) % len(images)]
    classifier.logits(given)
    start, seen = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        classifier.logits(given)
        seen += batch
    return seen / (time.perf_counter() - start)


def measure(name: str, classifier: Classifier, images: torch.Tensor) -> dict[str, Any]:
    seen = 0

    def count(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        nonlocal seen
        seen += len(given[0])

    handle = classifier.net.register_forward_pre_hook(count)
    start = time.perf_counter()
    found = explain(name, classifier, images, [k % 3 for k in range(len(images))])
    seconds = time.perf_counter() - start
    handle.remove()
    return {
        "method": name, "fallback": found.fallback, "seconds": seconds, "seen": seen, "rate": seen / seconds
    }  # fmt: skip


if __name__ == "__main__":
    main()
