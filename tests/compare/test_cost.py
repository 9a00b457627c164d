import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from cellml.compare import cost
from cellml.models import classifier as classifiers
from cellml.models.classifier import Classifier, Spec
from cellml.models.ensemble import Ensemble

CPU = torch.device("cpu")


def spec(backbone="test_resnet", size=32, tta="none"):
    return Spec(backbone, ("a", "b"), 3, "uint8", size, None, (0.0,) * 3, (255.0,) * 3, (0.5,) * 3, (1.0,) * 3, tta=tta)


def images(count=64, side=20):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


class Linear(nn.Module):
    """(N, 3, S, S) to (N, 2) by a convolution of 5 filters over everything and a matrix: operations by hand."""

    def __init__(self, size):
        super().__init__()
        self.wide = nn.Conv2d(3, 5, 3, padding=1)
        self.head = nn.Linear(5, 2)
        self.macs = size * size * 3 * 5 * 9 + 5 * 2

    def forward(self, x):
        return self.head(self.wide(x).mean(dim=(2, 3)))


@pytest.mark.parametrize(("tta", "views"), [("none", 1), ("flips", 4), ("d4", 8)])
def test_operations_are_those_counted_by_hand_times_the_views(tta, views):
    net = Linear(16)
    model = Classifier(spec(size=16, tta=tta), net).eval()
    assert cost.gmacs(model, images(1)) == pytest.approx(views * net.macs / 1e9)


def test_members_of_an_ensemble_add_up():
    first, second = Classifier(spec(size=16), Linear(16)).eval(), Classifier(spec(size=24), Linear(24)).eval()
    both = Ensemble([first, second], [0.5, 0.5]).eval()
    single = [cost.gmacs(one, images(1)) for one in (first, second)]
    assert cost.gmacs(both, images(1)) == pytest.approx(sum(single))


@pytest.mark.parametrize(("backbone", "published"), [("resnet18", 1.82), ("vit_tiny_patch16_224", 1.26)])
def test_operations_agree_with_published_ones(backbone, published):
    """timm's results tables: 1.82 and 1.26 GMACs at 224 pixels; attention's products are among the latter."""
    model = classifiers.build(spec(backbone, 224)).eval()
    assert cost.gmacs(model, images(1)) == pytest.approx(published, rel=0.01)


def test_memory_is_weights_and_the_most_that_is_alive():
    """The chain x + 1, + itself, sum holds at most two tensors of the input's size at once, as float32."""

    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.spec = None
            self.weight = nn.Parameter(torch.zeros(1000))

        def forward(self, x):
            x = x.float() + 1
            x = x + x
            x = x.view(len(x), -1)
            return x.sum()

    batch = images(8, 50)
    size = 8 * 50 * 50 * 3 * 4
    assert cost.memory(Chain(), batch) == pytest.approx((2 * size + 4000) / 1e6)


def test_memory_is_close_to_what_the_profiler_sees_and_grows_with_the_batch():
    model = classifiers.build(spec("vit_tiny_patch16_224", 64)).eval()
    batch = images(16)
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        model(torch.from_numpy(batch))
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    peak = np.cumsum([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]).max()
    weights = sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])
    measured = cost.memory(model, batch)
    assert measured == pytest.approx((peak + weights) / 1e6, rel=0.1)
    single = cost.memory(model, batch[:1])
    assert weights / 1e6 < single < measured
    assert (measured - weights / 1e6) / (single - weights / 1e6) == pytest.approx(16, rel=0.1)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only calls move."""
    now = [0.0]
    monkeypatch.setattr(cost.time, "perf_counter", lambda: now[0])

    def call_of(durations):
        durations = iter(durations)

        def call(batch):
            now[0] += next(durations)

        return call

    return call_of


def test_latency_is_the_median_of_20_calls_after_a_warm_up(clock):
    call = clock([9.0] + [0.1, 0.3] * 9 + [0.2, 0.2])
    assert cost.latency(call, images(4)) == pytest.approx(1000 * 0.2 / 4)


def test_what_was_timed_before_counts_and_needs_no_warm_up(clock):
    assert cost.latency(clock([0.4] * 5), images(1), known=[0.1] * 15) == pytest.approx(100)
    assert cost.latency(clock([]), images(1), known=[0.1] * 25) == pytest.approx(100)


def test_a_slow_model_gets_fewer_calls(clock):
    assert cost.latency(clock([50.0, 20.0, 60.0, 40.0]), images(1)) == pytest.approx(40_000)


def test_measure_fills_every_column():
    model = classifiers.build(spec()).eval()
    start = time.perf_counter()
    found = cost.measure(lambda batch: model(torch.from_numpy(batch)), model, images(), CPU)
    taken = time.perf_counter() - start
    assert found.params_m == sum(p.numel() for p in model.parameters()) / 1e6
    assert found.mb_batch_64 > found.mb_batch_1 > found.params_m * 4
    assert 0 < found.ms_batch_64 * 64 * cost.CALLS / 1000 < 2 * taken
    assert 0 < found.ms_batch_1 < 1000 * taken


def test_without_weights_time_alone_is_known():
    found = cost.measure(lambda batch: None, None, images(), CPU)
    assert found.ms_batch_1 > 0
    assert np.isnan([found.params_m, found.gmacs, found.mb_batch_1, found.mb_batch_64]).all()


def test_the_device_is_named_with_its_threads():
    assert cost.describe(CPU).endswith(f"{torch.get_num_threads()} thread" + "s" * (torch.get_num_threads() > 1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_the_network_itself_is_timed():
    model = classifiers.build(spec("resnet18", 64)).eval()
    found = cost.measure(
        lambda batch: pytest.fail("the program runs on the CPU"), model, images(), torch.device("cuda", 0)
    )
    assert found.ms_batch_64 < found.ms_batch_1
    assert found.mb_batch_64 > found.mb_batch_1 > found.params_m * 4
    assert next(model.parameters()).device.type == "cpu"
