import itertools

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from cellml.evaluation import experts, intervals
from tests.evaluation import helpers

CLASSES = ("a", "b", "c")


def majority(votes):
    """The class with most votes of a list of class indices; None where two share the first place."""
    counts = sorted(((votes.count(k), k) for k in set(votes)), reverse=True)
    return None if not counts or (len(counts) > 1 and counts[0][0] == counts[1][0]) else counts[0][1]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_each_expert_against_the_others_and_against_all_one_image_at_a_time(count):
    rng = np.random.default_rng(count)
    truth = rng.integers(0, 3, 150)
    votes = {f"e{e}": np.where(rng.random(150) < 0.7, truth, rng.integers(-1, 3, 150)) for e in range(count)}
    groups = np.array([f"slide{g}" for g in rng.integers(0, 12, 150)], dtype=object)
    found = experts.agreement(votes, CLASSES, groups, resamples=200)
    assert [(one.expert, one.truth) for one in found] == list(itertools.product(votes, ("others", "all")))
    for one in found:
        said, right, kept = [], [], []
        for i in range(150):
            cast = [int(v[i]) for name, v in votes.items() if v[i] >= 0 and (one.truth == "all" or name != one.expert)]
            if votes[one.expert][i] >= 0 and majority(cast) is not None:
                said.append(votes[one.expert][i])
                right.append(majority(cast))
                kept.append(i)
        assert one.n == len(said)
        assert one.balanced_accuracy == pytest.approx(balanced_accuracy_score(right, said))
        rows = helpers.given(right, np.eye(3)[said], CLASSES, groups[kept])
        interval = intervals.bootstrap(rows, ["balanced_accuracy"], 200)["balanced_accuracy"]
        assert (one.low, one.high) == (interval.low, interval.high)


def test_one_expert_alone_and_experts_who_never_meet_say_nothing():
    groups = np.array(["x", "y"], dtype=object)
    assert experts.agreement({"e": np.array([0, 1])}, CLASSES, groups) == []
    apart = experts.agreement({"e": np.array([0, -1]), "f": np.array([-1, 1])}, CLASSES, groups)
    assert [one.n for one in apart] == [0, 1, 0, 1]
    assert np.isnan([apart[0].balanced_accuracy, apart[0].low]).all()
