"""Training images per second of the platform beside a bare PyTorch loop, and what a trial costs besides.

Both train the same network on the same images in memory, with the same augmentation, optimiser, precision and memory
layout, and take turns every few steps in one process, so that whatever else the machine does meets both alike. The
ratio is the median over the turns of the bare loop's time over the platform's: 1 is no overhead.

    python benchmarks/throughput.py [--backbone resnet10t] [--size 80] [--out throughput.json]
"""

import argparse
import copy
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F

import cellml.vision  # noqa: F401
from cellml import config, trial
from cellml.data import augment, prepare
from cellml.evaluation import metrics
from cellml.models.classifier import Classifier
from cellml.sampling.base import TrainingRows
from cellml.sampling.strategies import resample
from cellml.tracking import runs
from cellml.training import arrays, device, finetune, loop
from cellml.training.job import Job, initial
from cellml.training.module import Module
from cellml.training.progress import Bar

AUGMENT = {
    "rotate": 180,
    "scale": 0.15,
    "shift": 0.06,
    "brightness": 0.15,
    "contrast": 0.2,
    "color": 0.15,
    "mixup": 0.3,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Training speed beside a bare loop; seconds a trial spends elsewhere.")
    parser.add_argument("--backbone", default="resnet10t")
    parser.add_argument("--size", type=int, default=80)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--turns", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4, help="steps of each in a turn")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("build/throughput.json"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        experiment = _experiment(given)
        dataset = prepare.prepare(experiment, Path(scratch))
        found = throughput(experiment, dataset, given.turns, given.steps) | trial_seconds(experiment, dataset, scratch)
    print(f"{found['backbone']} ({found['params_m']:.1f} M), {found['size']} px, batch {found['batch_size']}")
    print(
        f"platform {found['platform']:.0f} images/s, bare loop {found['bare']:.0f} images/s: ratio {found['ratio']:.3f}"
    )
    print(
        f"a trial spends {found['outside_s']:.2f} s outside fit and evaluation, {found['outside_cpu_s']:.2f} s of them "
        f"computing (of {found['trial_s']:.2f} s)"
    )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(given.out)


def throughput(experiment: config.Experiment, dataset: prepare.Dataset, turns: int, steps: int) -> dict[str, object]:
    """Train both in turns of some steps; the first turn warms up and does not count."""
    settings, on = experiment.train, device.pick(experiment.train.device)
    train = dataset.manifest.split("train")
    rows = TrainingRows.of(train)
    sample = resample(experiment.sampling.strategy, {}, rows, 0)
    job = Job(
        experiment=experiment,
        dataset=dataset,
        train=train,
        validation=None,
        rows=rows,
        sample=sample,
        device=on,
        epochs=1000,
        pretrained=None,
        on_epoch=None,
        progress=False,
    )
    with device.threads(settings.threads):
        pixels = finetune.with_margin(dataset, train, experiment.input, settings.augment)
        model = initial(experiment, train, finetune.central(pixels, experiment.input.size), None)
        held = arrays.load(pixels, arrays.labels(train), on)
        bare = _bare_loop(job, copy.deepcopy(model), held)
        source = arrays.Batches(sample, settings.batch_size, torch.Generator().manual_seed(0), on)
        turn = _Turns(source, bare, turns + 1, steps, on)
        module = Module(job, model, held, None, Bar("", 1, 1, False))
        loop.run(module, turn, None, epochs=1, device=on, precision=device.precision(settings.precision, on))
    pairs = turn.pairs[1:]
    images = settings.batch_size * steps
    return {
        "backbone": experiment.model.backbone,
        "params_m": sum(p.numel() for p in model.parameters()) / 1e6,
        "size": experiment.input.size,
        "batch_size": settings.batch_size,
        "device": str(on),
        "threads": settings.threads or torch.get_num_threads(),
        "turns": len(pairs),
        "platform": images / statistics.median(ours for ours, _ in pairs),
        "bare": images / statistics.median(theirs for _, theirs in pairs),
        "ratio": statistics.median(theirs / ours for ours, theirs in pairs),
        "ratios": [round(theirs / ours, 3) for ours, theirs in pairs],
    }


def trial_seconds(experiment: config.Experiment, dataset: prepare.Dataset, scratch: str) -> dict[str, float]:
    """Wall time of a short trial, and how much of it is neither fit nor evaluation (predicting, metrics)."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{scratch}/mlflow.db"
    before = Path.cwd()
    os.chdir(scratch)
    short = experiment.replace({"train.epochs": 1, "explain.count": 0})
    clock = _Clock()
    originals = trial.training.fit, trial.predict, metrics.compute
    trial.training.fit = clock.timed(trial.training.fit, "fit")
    trial.predict = clock.timed(trial.predict, "evaluation")
    metrics.compute = clock.timed(metrics.compute, "evaluation")
    try:
        with runs.parent("benchmark", short) as parent:
            for _ in range(2):  # the first one imports and looks for fonts
                clock.spent.clear()
                with runs.child(parent, "trial") as child:
                    clock.timed(trial.run, "trial")(short, dataset, child, progress=False)
    finally:
        trial.training.fit, trial.predict, metrics.compute = originals
        os.chdir(before)
    return {f"{part}_s": spent[0] for part, spent in clock.spent.items()} | {
        "outside_s": clock.outside(0),
        "outside_cpu_s": clock.outside(1),
    }


class _Turns:
    """The platform's batches; every `steps` of them the clock changes over to the bare loop."""

    def __init__(
        self, source: arrays.Batches, bare: Callable[[int], None], turns: int, steps: int, on: torch.device
    ) -> None:
        self.source, self.bare, self.turns, self.steps, self.on = source, bare, turns, steps, on
        self.pairs: list[tuple[float, float]] = []

    def __len__(self) -> int:
        return self.turns * self.steps + 1  # the last one ends the last turn

    def __iter__(self) -> Iterator[object]:
        start = self._now()
        endless = (batch for _ in iter(int, 1) for batch in self.source if len(batch[0]) == self.source.batch_size)
        for step, batch in enumerate(endless):
            if step and step % self.steps == 0:
                middle = self._now()
                self.bare(self.steps)
                end = self._now()
                self.pairs.append((middle - start, end - middle))
                start = end
            yield batch
            if step + 1 == len(self):
                return

    def _now(self) -> float:
        if self.on.type == "cuda":
            torch.cuda.synchronize(self.on)
        return time.perf_counter()


def _bare_loop(job: Job, model: Classifier, held: arrays.Arrays) -> Callable[[int], None]:
    """What one would write by hand over the same arrays, in the same precision and layout."""
    settings, on = job.experiment.train, job.device
    layout = device.layout(on)
    low, scale, mean, std = (getattr(model, name).to(on) for name in ("low", "scale", "mean", "std"))
    net = model.net.to(on).train()
    device.lay_out(net, layout)
    optimizer = torch.optim.AdamW(net.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=100_000)
    generator = torch.Generator(on).manual_seed(0)
    dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(device.precision(settings.precision, on))
    count, size = len(held), job.experiment.input.size

    def run(steps: int) -> None:
        for _ in range(steps):
            rows = torch.randint(count, (settings.batch_size,), device=on)
            images = held.pixels[rows].permute(0, 3, 1, 2).float().sub_(low).div_(scale)
            images = augment.augment(images, settings.augment, size, generator)
            weights = torch.ones(len(rows), device=on)
            images, targets, _ = augment.mixup(images, held.targets[rows], weights, settings.augment.mixup, generator)
            images = images.sub(mean).div_(std).contiguous(memory_format=layout)
            with torch.autocast(on.type, dtype=dtype, enabled=dtype is not None):
                logits = net(images)
            loss = F.cross_entropy(logits.float(), targets, label_smoothing=settings.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    return run


class _Clock:
    """Wall-clock and processor seconds by part; a part within another counts for the outer one alone."""

    def __init__(self) -> None:
        self.spent: dict[str, tuple[float, float]] = {}
        self._inside = False

    def timed(self, function: Callable, part: str) -> Callable:
        def run(*args: object, **options: object) -> object:
            if self._inside:
                return function(*args, **options)
            self._inside = part != "trial"
            wall, processor = time.perf_counter(), time.process_time()
            try:
                return function(*args, **options)
            finally:
                self._inside = False
                before = self.spent.get(part, (0.0, 0.0))
                self.spent[part] = (
                    before[0] + time.perf_counter() - wall,
                    before[1] + time.process_time() - processor,
                )

        return run

    def outside(self, of: int) -> float:
        return self.spent["trial"][of] - self.spent["fit"][of] - self.spent["evaluation"][of]


def _experiment(given: argparse.Namespace) -> config.Experiment:
    return config.parse(
        {
            "name": "throughput",
            "data": {"source": "simulated", "options": {"count": 600, "size": int(given.size * 1.5)}},
            "input": {"size": given.size, "crop": given.size},
            "model": {"backbone": given.backbone},
            "sampling": {"strategy": "balanced"},
            "train": {
                "batch_size": given.batch_size,
                "label_smoothing": 0.05,
                "threads": given.threads,
                "device": given.device,
                "augment": AUGMENT,
            },
        }
    )


if __name__ == "__main__":
    main()
