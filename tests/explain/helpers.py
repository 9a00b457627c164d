"""Classifiers whose answers are known, and images whose telling part is."""

import io

import numpy as np
import torch
from PIL import Image
from torch import nn

from cellml.models import backbones
from cellml.models.classifier import Classifier, Spec, build


def spec(backbone="hand-built", classes=3, channels=3, size=64, **changes):
    values = {
        "backbone": backbone,
        "classes": tuple("abcdefgh"[:classes]),
        "channels": channels,
        "dtype": "uint8",
        "size": size,
        "crop": None,
        "low": (0.0,) * channels,
        "high": (255.0,) * channels,
        "mean": (0.5,) * channels,
        "std": (0.25,) * channels,
    }
    return Spec(**{**values, **changes})


def built(backbone, size=64, classes=3, **changes):
    return build(spec(backbone, classes, size=size, **changes))


def wrapped(net, classes=3, channels=3, size=16):
    """A network as a classifier that hands it the raw pixels as they are."""
    plain = {"high": (1.0,) * channels, "mean": (0.0,) * channels, "std": (1.0,) * channels}
    return Classifier(spec(classes=classes, channels=channels, size=size, **plain), net)


def noise(n=2, size=64, channels=3, width=None):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, channels, size, width or size), generator=generator).float()


class Linear(nn.Module):
    """Logits linear in the pixels: every contribution is weight times value."""

    def __init__(self, channels, size, classes):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, channels, size, size))

    def forward(self, x):
        return torch.einsum("nchw,kchw->nk", x, self.weight)


class Pooled(nn.Module):
    """Convolution, ReLU, mean over positions, linear: the network whose class activation map is exact.

    `layout` says how the activations leave `body`: NCHW, NHWC, or NLC after two tokens that the head reads as well.
    """

    def __init__(self, layout, features=5, classes=3, stride=2, in_place=False):
        super().__init__()
        self.conv = nn.Conv2d(3, features, 3, stride=stride, padding=1)
        self.body = Shaped(layout)
        self.fc = nn.Linear(features, classes)
        self.layout, self.in_place = layout, in_place
        if layout == "NLC":
            self.num_prefix_tokens = 2

    def activations(self, x):
        return torch.relu(self.conv(x))

    def forward(self, x):
        y = self.body(self.activations(x))
        if self.in_place:
            y.mul_(3.0)
        pool = {"NCHW": (2, 3), "NHWC": (1, 2), "NLC": (1,)}[self.layout]
        return self.fc(y.mean(dim=pool))


class Shaped(nn.Module):
    def __init__(self, layout):
        super().__init__()
        self.layout = layout

    def forward(self, x):
        if self.layout == "NCHW":
            return x.clone()
        if self.layout == "NHWC":
            return x.permute(0, 2, 3, 1).contiguous()
        tokens = x.flatten(2).transpose(1, 2)
        return torch.cat([torch.ones_like(tokens[:, :2]), tokens], dim=1)


def planted(n, size, side, seed):
    """Noise with a red (class 0) or blue (class 1) square anywhere: images, classes, (n, size, size) masks."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(128, 12, (n, 3, size, size))
    classes = np.arange(n) % 2
    masks = np.zeros((n, size, size), dtype=bool)
    for image, mask, wanted, (top, left) in zip(
        pixels, masks, classes, rng.integers(0, size - side + 1, (n, 2)), strict=True
    ):
        where = (slice(top, top + side), slice(left, left + side))
        mask[where] = True
        color = np.array([220, 60, 60] if wanted == 0 else [60, 60, 220])
        image[(slice(None), *where)] = color[:, None, None] + rng.normal(0, 12, (3, side, side))
    return torch.tensor(pixels.clip(0, 255).round(), dtype=torch.float32), classes, masks


@torch.no_grad()
def fit_head(classifier, images, classes):
    """Ridge regression from the embeddings to +-1, put into the last layer."""
    classifier.eval()
    embedded = torch.cat([classifier.embed(part) for part in images.split(64)]).double()
    mean, scale = embedded.mean(dim=0), embedded.std(dim=0) + 1e-8
    design = (embedded - mean) / scale
    targets = 2 * nn.functional.one_hot(torch.as_tensor(classes)).double() - 1
    middle = targets.mean(dim=0)
    gram = design.T @ design + 1e-2 * len(design) * torch.eye(design.shape[1], dtype=torch.float64)
    weight = (torch.linalg.solve(gram, design.T @ (targets - middle)) / scale[:, None]).T
    (_, layer), *_ = backbones.last_layers(classifier.net)
    layer.weight.copy_(weight.reshape(layer.weight.shape))
    layer.bias.copy_(middle - weight @ mean)


# Options that make every method quick on tiny images; a method without an entry runs with its defaults.
QUICK = {
    "occlusion": {"patch": 0.3, "stride": 0.3},
    "smoothgrad": {"samples": 3},
    "integrated_gradients": {"steps": 4},
    "gradient_shap": {"samples": 4},
    "shap_gradient": {"samples": 4},
    "rise": {"samples": 24},
    "shap_partition": {"samples": 24},
    "lime": {"samples": 24, "count": 8},
    "kernel_shap": {"samples": 24, "count": 8},
}


def served_by(name):
    """A small backbone that a method serves itself."""
    return "test_vit" if name == "attention_rollout" else "test_resnet"


class Additive(nn.Module):
    """Two classes whose log-odds are a sum over pixels and channels of tanh(weight * value)."""

    def __init__(self, channels, size):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, size, size))

    def parts(self, x):
        return torch.tanh(self.weight * x)

    def forward(self, x):
        total = self.parts(x).sum(dim=(1, 2, 3))
        return torch.stack([torch.zeros_like(total), total], dim=1)


def rendered(figure):
    """The figure as pixels, (H, W, 3) int."""
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return np.asarray(Image.open(buffer).convert("RGB")).astype(int)


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def clipped(figure):
    """The texts that leave the figure."""
    boxes = {text: text.get_window_extent() for text in figure.axes[0].texts}
    width, height = figure.bbox.width, figure.bbox.height
    return [
        t.get_text()
        for t, box in boxes.items()
        if min(box.x0, box.y0) < -0.5 or box.x1 > width + 0.5 or box.y1 > height + 0.5
    ]


def overlapping(figure):
    """Pairs of texts that share more than a pixel's border."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in figure.axes[0].texts if text.get_text()]
    return [
        (first, second)
        for k, (first, a) in enumerate(boxes)
        for second, b in boxes[k + 1 :]
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]
