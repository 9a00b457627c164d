"""Training images/s of an i-ResNet over a plain ResNet of the same blocks, and the time of its inverse.

python benchmarks/invertible.py [--size 64] [--batch 32] [--steps 10] [--device cpu] [--out invertible.json]
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellml.models import backbones
from cellml.models.invertible.layers import Squeeze

CHANNELS, CLASSES, INVERTED = 3, 3, 64
BLOCKS, WIDTHS = (3, 3, 3), (32, 64, 128)


class Block(nn.Module):
    """The i-ResNet's residual block as it is usually made: batch normalisation and ReLU, nothing held down."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def plain() -> nn.Module:
    layers: list[nn.Module] = []
    for k, (depth, width) in enumerate(zip(BLOCKS, WIDTHS, strict=True), start=1):
        layers += [Squeeze(), *(Block(CHANNELS * 4**k, width) for _ in range(depth))]
    last = CHANNELS * 4 ** len(BLOCKS)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, CLASSES))


def main() -> None:
    parser = argparse.ArgumentParser(description="Images/s of an i-ResNet over a plain ResNet of the same blocks.")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10, help="of each network, taking turns")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("build/invertible.json"))
    given = parser.parse_args()
    result = measure(given.size, given.batch, given.steps, torch.device(given.device))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2))
    for name, value in result.items():
        print(f"{name:<48} {value:10.3g}")


def measure(size: int, batch: int, steps: int, device: torch.device) -> dict[str, float]:
    torch.manual_seed(0)
    sizes = {"blocks": BLOCKS, "widths": WIDTHS}
    given = {"channels": CHANNELS, "num_classes": CLASSES, "size": size}
    nets = {
        "plain ResNet": plain(),
        "i-ResNet": backbones.create("iresnet", **given, options=sizes),
        "i-ResNet, jointly with likelihood": backbones.create("iresnet", **given, options=sizes | {"likelihood": 0.1}),
        "coupling flow": backbones.create("coupling", **given, options={"steps": BLOCKS, "widths": WIDTHS}),
    }
    optimizers = {name: torch.optim.AdamW(net.to(device).parameters(), lr=1e-3) for name, net in nets.items()}
    images = torch.randn(batch, CHANNELS, size, size, device=device)
    labels = torch.arange(batch, device=device) % CLASSES
    seconds: dict[str, list[float]] = {name: [] for name in nets}
    for _ in range(steps + 1):  # the first warms up
        for name, net in nets.items():
            seconds[name].append(_timed(lambda n=net, o=optimizers[name]: _step(n, o, images, labels), device))
    speed = {f"{name}: training images/s": batch / statistics.median(s[1:]) for name, s in seconds.items()}
    inverted = nets["i-ResNet"].eval()
    many = torch.randn(INVERTED, CHANNELS, size, size, device=device)
    with torch.no_grad():
        z = inverted.encode(many)
    ratio = statistics.median(seconds["plain ResNet"][1:]) / statistics.median(seconds["i-ResNet"][1:])
    return speed | {
        "i-ResNet over plain ResNet": ratio,
        f"seconds to invert {INVERTED} images": _timed(lambda: inverted.decode(z), device),
        "relative error of the round trip": float(inverted.round_trip(many).max()),
    }


def _step(net: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    beside: Tensor | float = 0.0
    if hasattr(net, "learn"):
        targets = F.one_hot(labels, CLASSES).float()
        logits, beside = net.learn(images, targets, torch.ones(len(images), device=images.device))
    else:
        logits = net(images)
    (F.cross_entropy(logits, labels) + beside).backward()
    optimizer.step()


def _timed(step, device: torch.device) -> float:
    start = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
