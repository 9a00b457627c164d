import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellml.errors import UserError
from cellml.evaluation import intervals, metrics, segments
from tests.evaluation import helpers

LABELS = st.lists(st.integers(0, 2), min_size=1, max_size=12)
PAIR = st.integers(1, 12).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 2), min_size=n, max_size=n)] * 2))


def of(pairs, k=3, groups=None):
    """Predictions of sequences with these (true, predicted) stages; rows shuffled."""
    rows = [
        (q, t, *both) for q, (true, said) in enumerate(pairs) for t, both in enumerate(zip(true, said, strict=True))
    ]
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    q, t, true, said = (np.array(column) for column in zip(*rows, strict=True))
    made = helpers.given(true, 0.1 / k + 0.9 * np.eye(k)[said], groups=q if groups is None else np.array(groups)[q])
    return replace(made, sequences=np.array([f"cell {i}" for i in q], dtype=object), frames=t.astype(np.int64))


def cut(labels):
    """(stage, frames as a set) of each segment."""
    found, start = [], 0
    for stage, run in itertools.groupby(labels):
        stop = start + len(list(run))
        found.append((stage, set(range(start, stop))))
        start = stop
    return found


def levenshtein(a, b):
    """By its recursive definition."""
    if not a or not b:
        return len(a) + len(b)
    return min(levenshtein(a[1:], b) + 1, levenshtein(a, b[1:]) + 1, levenshtein(a[1:], b[1:]) + (a[0] != b[0]))


def hits(true, said, least):
    """MS-TCN's rule by sets of frames: true positives, false positives, false negatives."""
    used, wrong = set(), 0
    for stage, frames in cut(said):
        shares = [len(frames & own) / len(frames | own) * (stage == kind) for kind, own in cut(true)]
        best = max(range(len(shares)), key=lambda i: (shares[i], -i))
        if shares[best] >= least and best not in used:
            used.add(best)
        else:
            wrong += 1
    return len(used), wrong, len(cut(true)) - len(used)


def changes(labels):
    return [(a, b, t) for t, (a, b) in enumerate(itertools.pairwise(labels), start=1) if a != b]


def errors(true, said):
    """Sum of distances of the best matching of steps of each kind, how many were matched, and what the others cost."""
    total, found, other, frames = 0, 0, 0, len(true)
    for kind in {(a, b) for a, b, _ in changes(true) + changes(said)}:
        wanted = [t for a, b, t in changes(true) if (a, b) == kind]
        given = [t for a, b, t in changes(said) if (a, b) == kind]
        few, many = sorted([wanted, given], key=len)
        ways = [list(zip(few, chosen, strict=True)) for chosen in itertools.permutations(many, len(few))]
        way = min(ways, key=lambda pairs: sum(abs(a - b) for a, b in pairs))
        total += sum(abs(a - b) for a, b in way)
        found += len(few)
        left = set(many) - {pair[1] for pair in way}
        for t in left:
            nearest = [abs(t - u) for _, _, u in changes(true)] if many is given else []
            other += min(nearest, default=max(t, frames - t))
    return total, found, other


def expected(pairs):
    """All figures over sequences, by definition."""
    figures = {"edit": np.mean([_edit(true, said) for true, said in pairs])}
    for percent in segments.OVERLAPS:
        tp, fp, fn = np.sum([hits(true, said, percent / 100) for true, said in pairs], axis=0)
        figures[f"segment_f1_{percent}"] = 2 * tp / (2 * tp + fp + fn)
    total, found, other = np.sum([errors(true, said) for true, said in pairs], axis=0)
    wanted = sum(len(changes(true)) for true, _ in pairs)
    given = sum(len(changes(said)) for _, said in pairs)
    seen = {(a, b) for true, _ in pairs for a, b, _ in changes(true)} | {(0, 1), (1, 2), (2, 0)}
    wrong = sum((a, b) not in seen for _, said in pairs for a, b, _ in changes(said))
    steps = sum(len(true) - 1 for true, _ in pairs)
    figures |= {
        "transition_error": (total + other) / (wanted + given - found) if wanted + given else np.nan,
        "transition_error_found": total / found if found else np.nan,
        "transitions_missed": 1 - found / wanted if wanted else np.nan,
        "transitions_spurious": 1 - found / given if given else np.nan,
        "illegal_transitions": wrong / steps if steps else np.nan,
    }
    return figures


def _edit(true, said):
    a, b = ([stage for stage, _ in cut(labels)] for labels in (true, said))
    return 1 - levenshtein(a, b) / max(len(a), len(b))


@settings(max_examples=60, deadline=None)
@given(st.lists(PAIR.filter(lambda p: len(cut(p[0])) < 7 and len(cut(p[1])) < 7), min_size=1, max_size=4))
def test_every_figure_is_its_definition(pairs):
    assert segments.compute(of(pairs)) == pytest.approx(expected(pairs), nan_ok=True)


@given(LABELS, LABELS)
@settings(max_examples=100, deadline=None)
def test_the_edit_distance_is_the_recursive_one(a, b):
    assert segments.distance(np.array(a[:6]), np.array(b[:6])) == levenshtein(a[:6], b[:6])


def test_a_worked_example():
    true, said = [0] * 4 + [1] * 4 + [2] * 4, [0] * 4 + [1] * 2 + [0] * 2 + [2] * 4
    found = segments.compute(of([(true, said)]))
    # one insertion in four segments; three hits of four predicted and three true ones, the second at an overlap of 0.5
    assert found["edit"] == 0.75
    assert found["segment_f1_50"] == pytest.approx(6 / 7)
    # 0>1 at its place; 1>2 at frame 8 is missed: its farther end is 8 frames away; 1>0 at 6 is 2 off, 0>2 at 8 none
    assert found["transition_error"] == 10 / 4
    assert (found["transition_error_found"], found["transitions_missed"]) == (0, 0.5)
    assert found["transitions_spurious"] == pytest.approx(2 / 3)
    assert found["illegal_transitions"] == pytest.approx(2 / 11)  # 1>0 and 0>2


def test_perfect_sequences():
    true = [0, 0, 1, 1, 2]
    found = segments.compute(of([(true, true)] * 3))
    assert {name: found[name] for name in segments.LOWER} == dict.fromkeys(segments.LOWER, 0)
    assert all(found[name] == 1 for name in found if name not in segments.LOWER)


def test_sequences_with_unknown_frames_inside_are_left_out_and_those_at_the_ends_cut_off():
    pairs = [([-1, 0, 0, 1, -1], [2, 0, 1, 1, 2]), ([0, -1, 1], [0, 2, 1])]
    whole = [([0, 0, 1], [0, 1, 1])]
    assert segments.compute(of(pairs)) == pytest.approx(segments.compute(of(whole)), nan_ok=True)
    p = of(pairs)
    assert segments.compute(p.labelled) == pytest.approx(segments.compute(p), nan_ok=True)
    none = of(pairs[1:])
    assert all(np.isnan(value) for value in segments.compute(none).values())


def random(seed, groups, cells=9):
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(cells):
        true = np.repeat(np.arange(3), rng.integers(1, 6, 3))
        pairs.append(
            (true.tolist(), np.where(rng.random(len(true)) < 0.3, rng.integers(0, 3, len(true)), true).tolist())
        )
    return of(pairs, groups=rng.integers(0, groups, cells))


def test_metrics_of_sequences_follow_the_others_where_there_are_sequences():
    p = random(0, 4)
    found = metrics.compute(p)
    assert list(found) == metrics.names(p.classes, sequences=True)
    for name, value in segments.compute(p).items():
        assert found[name] == metrics.value(name, p) == value
        assert metrics.higher_is_better(name) == (name not in segments.LOWER)
    assert not set(metrics.compute(replace(p, sequences=None, frames=None))) & set(segments.METRICS)


def test_metrics_of_sequences_are_refused_for_single_images():
    p = replace(random(0, 4), sequences=None, frames=None)
    with pytest.raises(UserError, match="single images, got 'edit', which scores sequences"):
        metrics.value("edit", p)
    with pytest.raises(UserError, match="frames of sequences, got single images"):
        segments.compute(p)


def test_a_bootstrap_over_groups_is_that_of_the_sequences_drawn():
    p = random(1, 4, cells=12)
    names = [*segments.METRICS, "accuracy"]
    found = intervals.bootstrap(p, names, resamples=20, seed=3)
    order = sorted(set(p.groups))
    for chunk in intervals.multiplicities(len(order), 20, 3):
        for r, times in enumerate(chunk.T):
            parts = [
                replace(p.where(rows), sequences=p.sequences[rows] + f" {draw}")
                for name, count in zip(order, times, strict=True)
                for draw in range(int(count))
                if len(rows := np.flatnonzero(p.groups == name))
            ]
            fields = ("ids", "targets", "probabilities", "groups", "sequences", "frames")
            joined = {field: np.concatenate([getattr(part, field) for part in parts]) for field in fields}
            right = metrics.compute(replace(p, **joined))
            for name in names:
                assert found[name].samples[r] == pytest.approx(right[name], nan_ok=True), name


def test_a_metric_that_is_only_registered_sees_every_draw_of_a_sequence(monkeypatch):
    registry = type(metrics.METRICS)("metric")

    @registry.register("longest")
    def longest(predictions):
        """Frames of the longest sequence."""
        return float(max(map(len, segments.places(predictions).values())))

    monkeypatch.setattr(metrics, "METRICS", registry)
    p = of([([0] * 5, [0] * 5), ([1] * 4, [1] * 4)])
    assert set(intervals.bootstrap(p, ["longest"], resamples=20)["longest"].samples) <= {4.0, 5.0}
