"""What one step of training on sequences does, recomputed by hand from the same starting weights."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_sample_weight

from cellml.data import masks
from cellml.data.timelines import timelines
from cellml.training import device
from cellml.training.fit import fit
from cellml.training.frame_module import pieces
from cellml.training.job import initial
from tests.training import movies
from tests.training.helpers import experiment

SMALL = {
    "sequence.units": 8,
    "sequence.tracker.encoder": [4, 8],
    "sequence.tracker.hidden": [4, 6, 8],
    "sequence.tracker.decoder": [6, 4],
    "sequence.tracker.norm": "none",
    "sequence.tracker.classification": 0.5,
}


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    """Six training sequences of 5 to 9 frames."""
    return movies.dataset(tmp_path_factory.mktemp("discs"), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def train(discs):
    """Its training rows, every fifth without a label."""
    rows = discs.manifest.split("train")
    return rows.with_column("label", np.where(np.arange(len(rows)) % 5 == 0, "", rows.table["label"]))


def one_step(backbone, **values):
    """An experiment of one step on all sequences together, that hardly moves the weights."""
    still = {"train.batch_size": 8, "train.epochs": 1, "train.lr": 1e-12, "train.optimizer": "sgd"}
    still |= {"train.weight_decay": 0, "train.schedule": "constant"}
    return experiment(**({"model.backbone": backbone} | SMALL | still | values))


def start(own, discs, train):
    """The starting weights that a fit has, in training mode, and each sequence's normalised frames (T, C, S, S)."""
    pixels = discs.pixels.resized(None, 24, train.rows)
    with device.seeded(own.train.seed, torch.device("cpu")):
        model = initial(own, train, pixels, None).train()
    frames = model.normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    return model, [frames[rows] for rows in timelines(train)]


def loss_of(own, discs, train):
    found = fit(own, discs, train=train, validation=None, progress=False)
    return found.history[0]["train/loss"], found


def by_hand(logits, train, weights=None):
    """Cross-entropy of the labelled frames, by scikit-learn; logits a sequence."""
    rows = np.concatenate(timelines(train))
    known = train.targets[rows] >= 0
    p = torch.cat(list(logits)).double().softmax(1).detach().numpy()[known]
    weights = None if weights is None else weights[rows][known]
    return log_loss(train.targets[rows][known], p, labels=range(3), sample_weight=weights)


def without_masks(rows):
    return rows.with_column("mask", np.full(len(rows), ""))


@pytest.mark.parametrize("backbone", ["test_resnet+gru", "test_resnet+tcn", "tracker"])
def test_the_loss_is_the_mean_over_labelled_frames_of_all_sequences(discs, train, backbone):
    """Frames without a label and padding count nothing, whatever the lengths."""
    own, rows = one_step(backbone), without_masks(train)
    model, clips = start(own, discs, rows)
    if backbone == "tracker":
        logits = [model.net(clip[None])[0] for clip in clips]
    else:  # batch statistics are those of all real frames
        seen = model.net.images(torch.cat(clips)).flatten(1).split([len(clip) for clip in clips])
        logits = [model.net.head(model.net.part(one[None]))[0] for one in seen]
    assert loss_of(own, discs, rows)[0] == pytest.approx(by_hand(logits, rows), rel=1e-4)


def test_the_trackers_loss_is_the_drawings_and_a_share_of_the_stages(discs, train):
    own = one_step("tracker")
    model, clips = start(own, discs, train)
    said = [model.net.run(clip[None], draw=True) for clip in clips]
    marked = torch.from_numpy(masks.read(train, discs.root, None, 24))[:, None].float()
    pixels = torch.from_numpy(discs.pixels.resized(None, 24, train.rows)).permute(0, 3, 1, 2) / 255
    wanted = torch.cat([(pixels * marked)[rows] for rows in timelines(train)])
    drawing = F.binary_cross_entropy_with_logits(torch.cat([one.drawn[0] for one in said]), wanted)
    expected = drawing.item() + 0.5 * by_hand([one.logits[0] for one in said], train)
    assert loss_of(own, discs, train)[0] == pytest.approx(expected, rel=1e-4)
    assert loss_of(one_step("tracker", **{"sequence.chunk": 2}), discs, train)[0] == pytest.approx(expected, rel=1e-4)


def test_class_weights_are_those_of_labelled_frames(discs, train):
    own, rows = one_step("tracker", **{"sampling.strategy": "class_weights"}), without_masks(train)
    model, clips = start(own, discs, rows)
    weights = np.zeros(len(rows))
    known = rows.targets >= 0
    weights[known] = compute_sample_weight("balanced", rows.targets[known])
    expected = by_hand([model.net(clip[None])[0] for clip in clips], rows, weights)
    assert loss_of(own, discs, rows)[0] == pytest.approx(expected, rel=1e-4)


def test_gradients_end_where_a_piece_does_and_states_do_not(discs, train):
    """One step of SGD (with Nesterov's momentum 1.9 lr g), against the gradient of pieces put together by hand."""
    own = one_step("tracker", **{"sequence.chunk": 2, "train.lr": 1e3})  # gradients here are small
    rows = without_masks(train)
    model, clips = start(own, discs, rows)
    total = 0
    for clip, places in zip(clips, timelines(rows), strict=True):
        targets, state = torch.from_numpy(rows.targets[places]), ()
        longest = max(len(one) for one in clips)
        for first, last in pieces(longest, 2):
            if first < len(clip):
                said = model.net.run(clip[None, first:last], state=tuple(one.detach() for one in state))
                state = said.state
                wanted = targets[first:last]
                total = total + F.cross_entropy(said.logits[0], wanted, ignore_index=-1, reduction="sum")
    (total / int((rows.targets >= 0).sum())).backward()
    expected = {key: p.detach() - 1900 * p.grad for key, p in model.net.named_parameters() if p.grad is not None}
    moved = dict(loss_of(own, discs, rows)[1].classifier.net.named_parameters())
    for key, value in expected.items():
        torch.testing.assert_close(moved[key].detach(), value, rtol=1e-3, atol=1e-4)
    whole = dict(loss_of(own.replace({"sequence.chunk": None}), discs, rows)[1].classifier.net.named_parameters())
    first = dict(start(own, discs, rows)[0].net.named_parameters())
    for other in (whole, first):
        assert (other["layers.0.gates.weight"] - moved["layers.0.gates.weight"]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("length", "chunk", "expected"),
    [
        (5, None, [(0, 5)]),
        (5, 5, [(0, 5)]),
        (41, 40, [(0, 21), (21, 41)]),
        (7, 3, [(0, 3), (3, 6), (6, 7)]),
        (1, 40, [(0, 1)]),
    ],
)
def test_pieces_are_as_long_as_each_other_as_can_be(length, chunk, expected):
    assert list(pieces(length, chunk)) == expected
