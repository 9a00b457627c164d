"""Which ends of sequences the movie cuts, as the manifest tells it to learning from transcripts."""

import numpy as np
import pandas as pd
import pytest

from cellml.data.manifest import Manifest
from cellml.errors import UserError
from cellml.sequences.decode import transcript
from cellml.training import frames, stages
from cellml.training.fit import fit
from tests.training import movies
from tests.training.helpers import experiment

CLASSES = ("interphase", "mitosis")


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    return movies.dataset(tmp_path_factory.mktemp("discs"), tmp_path_factory.mktemp("cache"))


def settings(**values):
    return experiment(**({"model.backbone": "test_resnet", "train.batch_size": 2, "sequence.units": 8} | values))


@pytest.fixture
def family():
    """A mother that divides after eight frames, and two daughters of six; beside them a cell that does neither."""
    rows = [("mother", "", f, CLASSES[f >= 5]) for f in range(8)]
    rows += [(name, "mother", f, CLASSES[f < 2]) for name in ("left", "right") for f in range(6)]
    rows += [("other", "", f, CLASSES[0]) for f in range(8)]
    table = pd.DataFrame(rows, columns=["sequence", "parent", "frame", "label"])
    table["id"] = [str(n) for n in range(len(table))]
    return Manifest(table.assign(file="f", group="g", split="train", row=range(len(table)), pixels=""), CLASSES)


def test_births_and_divisions_are_no_cuts(family):
    ends = {"mother": (True, False), "left": (False, True), "right": (False, True), "other": (True, True)}
    assert stages._ends(family) == ends
    plain = Manifest(family.table.drop(columns="parent"), CLASSES)
    assert stages._ends(plain) == {}


@pytest.mark.parametrize(("censored", "cut"), [(True, (True, False)), (False, (False, False))])
def test_labels_follow_from_transcripts_alone(family, censored, cut):
    own = experiment(**{"sequence.supervision": "transcripts", "sequence.decode.censored": censored})
    align = stages.aligned(own, family)
    labels = align(None)
    order = list(stages.lengths(family))
    assert align._state.ends[order.index("mother")] == cut
    assert [transcript(one) for one in labels] == [
        {"mother": (0, 1), "left": (1, 0), "right": (1, 0), "other": (0,)}[name] for name in order
    ]
    sure = [np.log(np.where(np.eye(2)[one] > 0, 0.99, 0.01)) for one in labels]
    turned = align(sure)
    assert [one.tolist() for one in turned] == [one.tolist() for one in labels]


@pytest.mark.parametrize(
    ("sampling", "power"),
    [("none", 0), ("class_weights", 1), ("class_weights", 0.5), ("effective_weights", None)],
)
def test_priors_are_the_shares_as_training_weights_them(discs, sampling, power):
    options = {} if power is None or sampling == "none" else {"sampling.options": {"power": power}}
    own = settings(**{"sampling.strategy": sampling, "sequence.decode.grammar": "order", **options})
    train = discs.manifest.split("train")
    counts = np.bincount(train.targets, minlength=len(train.classes)).astype(float)
    weight = (1 - 0.999) / (1 - 0.999**counts) if power is None else counts ** -float(power)
    wanted = counts * weight / (counts * weight).sum()
    found = stages.decoder(own, train, None, discs.manifest)
    assert found.priors == pytest.approx(wanted, rel=1e-6)
    weak = own.replace({"sequence.supervision": "transcripts"})
    align = stages.aligned(weak, train)
    first = np.bincount(np.concatenate(align(None)), minlength=len(train.classes)).astype(float)
    weight = (1 - 0.999) / (1 - 0.999**first) if power is None else first ** -float(power)
    assert align._state.priors == pytest.approx(first * weight / (first * weight).sum(), rel=1e-6)
    before = align._state.priors
    align([np.log(np.where(np.eye(len(train.classes))[one] > 0, 0.7, 0.15)) for one in align(None)])
    assert (align._state.priors == before) == (sampling != "none" or align._state.changed == 0)


def test_an_aligner_without_memory_labels_the_frames_for_another_model(discs):
    weak = {"sequence.supervision": "transcripts", "sequence.transcripts.aligner": "test_resnet"}
    own = settings(**{"model.backbone": "test_resnet+gru", "train.epochs": 3, "sequence.transcripts.rounds": 2, **weak})
    train, asked = discs.manifest.split("train"), []

    class Counted(stages.Transcripts):
        def __call__(self, said):
            asked.append(said is not None)
            return super().__call__(said)

    align = Counted(own, train)
    done = fit(own, discs, train=train, validation=discs.manifest.split("val"), align=align)
    # the fit begins; the halves; each round's labels and what it says; what was found
    assert asked == [False, False, *[False, True] * align._state.round, False]
    assert 1 <= align._state.round <= 2
    assert done.classifier.spec.backbone == "test_resnet+gru"
    assert done.classifier.spec.decoder == stages.decoder(own, train, align, discs.manifest).to_dict()


def test_no_sequence_is_aligned_by_a_network_that_has_seen_its_group(discs):
    own = settings(**{"sequence.supervision": "transcripts", "sequence.transcripts.rounds": 3})
    train, calls = discs.manifest.split("train"), []
    align = stages.aligned(own, train)
    truth = dict(zip(train.ids, train.targets, strict=True))

    def said(images, others):
        calls.append((images, others))
        assert images.sequences is None
        right = np.eye(len(train.classes))[[truth[name] for name in others.ids]]
        return np.log(np.where(right > 0, 0.99, 0.01))

    stages.crossfit(align, train, said, 0)
    for images, others in calls:
        assert not set(images.groups) & set(others.groups)
        assert sorted([*images.ids, *others.ids]) == sorted(train.ids)
    assert [truth[name] for name in train.ids] == frames.named(train, align(None)).targets.tolist()


def test_one_group_cannot_be_halved(discs):
    own = settings(**{"sequence.supervision": "transcripts", "sequence.transcripts.aligner": "test_resnet"})
    train = discs.manifest.split("train")
    alone = train.with_column("group", np.full(len(train), "one"))
    with pytest.raises(UserError, match="2 folds") as caught:
        fit(own, discs, train=alone, validation=discs.manifest.split("val"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet1", "sequence.transcripts.aligner: .*resnet1"),
        ("test_resnet+gru", "remembers nothing"),
        ("tracker", "rem"),
    ],
)
def test_an_aligner_that_cannot_be_is_one_line(discs, name, said):
    own = settings(**{"sequence.supervision": "transcripts", "sequence.transcripts.aligner": name})
    rows = discs.manifest
    with pytest.raises(UserError, match=said) as caught:
        fit(own, discs, train=rows.split("train"), validation=rows.split("val"))
    assert "\n" not in str(caught.value)


def test_frequencies_are_those_of_the_transcripts_where_no_frame_is_labelled(family):
    assert family.frequencies == family.counts
    blind = family.with_column("label", np.full(len(family), ""))
    told = ["interphase>mitosis" if name == "mother" else "interphase" for name in family.sequences]
    assert blind.with_column("transcript", np.array(told, dtype=object)).frequencies == {"interphase": 4, "mitosis": 1}
