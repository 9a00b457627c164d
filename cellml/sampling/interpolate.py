"""Strategies that add items between neighbouring training rows, by imbalanced-learn.

The library is given the identity as a sparse matrix instead of the features: what it makes then tells of which two
rows, and in which shares, while the neighbours are those of the features (see `Neighbours`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE
from imblearn.over_sampling.base import BaseOverSampler
from scipy import sparse

from cellml.sampling.base import Sample, TrainingRows
from cellml.sampling.members import MAKES, STRATEGIES, added, check_whole
from cellml.sampling.neighbours import Neighbours

Made = tuple[sparse.csr_array, list[str]]  # (M, N) new items, notes


@STRATEGIES.register("smote", MAKES)
def smote(
    rows: TrainingRows,
    rng: np.random.Generator,
    *,
    k: int = 5,
    ratio: float = 1.0,
    space: str | None = None,
    target: Sequence[str] = (),
) -> Sample:
    """Add items between random rows of a smaller class and one of their `k` nearest of the same class.

    Each class grows to `ratio` times the largest one's number. All rows are kept, the new items follow them.
    Chawla et al., "SMOTE: Synthetic Minority Over-sampling Technique", JAIR 2002.
    """
    check_whole("smote", "k", k)
    more, state = added("smote", rows, ratio, target), int(rng.integers(2**31))
    return grow(rows, more, k, partial(_smote, rows, space, state))


@STRATEGIES.register("borderline_smote_1", MAKES)
def borderline_smote_1(
    rows: TrainingRows,
    rng: np.random.Generator,
    *,
    k: int = 5,
    m: int = 10,
    ratio: float = 1.0,
    space: str | None = None,
    target: Sequence[str] = (),
) -> Sample:
    """SMOTE from rows in danger alone: half or more, but not all, of their `m` nearest rows are of other classes.

    Partners are among the `k` nearest of the same class. A class without rows in danger does not grow.
    Han et al., "Borderline-SMOTE", ICIC 2005.
    """
    return _borderline("borderline_smote_1", rows, rng, k, m, ratio, space, target)


@STRATEGIES.register("borderline_smote_2", MAKES)
def borderline_smote_2(
    rows: TrainingRows,
    rng: np.random.Generator,
    *,
    k: int = 5,
    m: int = 10,
    ratio: float = 1.0,
    space: str | None = None,
    target: Sequence[str] = (),
) -> Sample:
    """Borderline-SMOTE whose partners are the `k` nearest rows of any class, up to half the way to other classes.

    Hard labels stay those of the row in danger; soft ones are interpolated. Han et al., "Borderline-SMOTE", ICIC 2005.
    """
    return _borderline("borderline_smote_2", rows, rng, k, m, ratio, space, target)


@STRATEGIES.register("adasyn", MAKES)
def adasyn(
    rows: TrainingRows,
    rng: np.random.Generator,
    *,
    k: int = 5,
    ratio: float = 1.0,
    space: str | None = None,
    target: Sequence[str] = (),
) -> Sample:
    """SMOTE with more items from rows that have more rows of other classes among their `k` nearest.

    The numbers per row are rounded, so classes come near `ratio` times the largest one's number. A class none of whose
    rows has such neighbours grows by SMOTE. He et al., "ADASYN", IJCNN 2008.
    """
    check_whole("adasyn", "k", k)
    more, state = added("adasyn", rows, ratio, target), int(rng.integers(2**31))
    random = np.random.RandomState(state)  # goes on from class to class

    def make(label: int, number: int, near: int) -> Made:
        sampler = ADASYN(n_neighbors=Neighbours(rows.space(space), near + 1), random_state=random)
        try:
            return _made(sampler, rows, label, number)
        except RuntimeError:  # the library's answer to a class without neighbours of other classes
            note = f"class {rows.classes[label]} has no neighbours of other classes: SMOTE instead of ADASYN"
            return _smote(rows, space, state, label, number, near)[0], [note]
        except ValueError as error:
            if "No samples will be generated" not in str(error):
                raise
            note = f"class {rows.classes[label]} lacks too few rows to spread over its members: nothing added"
            return sparse.csr_array((0, len(rows))), [note]

    return grow(rows, more, k, make)


def grow(
    rows: TrainingRows,
    more: dict[int, int],
    k: int,
    make: Callable[[int, int, int], Made],
    any_class: bool = False,
) -> Sample:
    """All training rows, then new items class by class.

    A class with fewer than k + 1 rows is made with as many neighbours as it has, one of a single row by repeating it.

    Args:
        rows: N training rows.
        more: class -> items to add.
        k: neighbours of a row.
        make: (class, number, neighbours) -> (M, N) new items, each the shares of its one or two parents, and notes.
        any_class: neighbours may be of any class, so that a small class has enough of them.
    """
    every = np.arange(len(rows))
    parts, notes = [(every, every, np.zeros(len(rows)))], []
    for label, number in more.items():
        name, count = rows.classes[label], int(rows.counts[label])
        if count == 1:
            notes.append(f"class {name} has 1 row: repeated instead of interpolated")
            again = np.repeat(np.flatnonzero(rows.targets == label), number)
            parts.append((again, again, np.zeros(number)))
            continue
        among = len(rows) if any_class else count
        if among <= k:
            whose = "there are" if any_class else f"class {name} has"
            notes.append(f"{whose} {among} rows: {among - 1} neighbours instead of {k}")
        made, said = make(label, number, min(k, among - 1))
        parts.append(_parents(made))
        notes += said
    positions, partners, mix = (np.concatenate(values) for values in zip(*parts, strict=True))
    ones = np.ones(len(positions), dtype=np.float32)
    return Sample(positions, ones, partners=partners, mix=mix.astype(np.float32), notes=tuple(notes))


def points(sample: Sample, count: int) -> sparse.csr_array:
    """Items as mixtures of `count` training rows, (M, N): the shares of their parents."""
    m = np.arange(len(sample))
    mix = np.zeros(len(sample)) if sample.mix is None else sample.mix.astype(np.float64)
    partners = sample.rows if sample.partners is None else sample.partners
    shares = np.concatenate([1 - mix, mix])
    where = (np.concatenate([m, m]), np.concatenate([sample.rows, partners]))
    return sparse.csr_array(sparse.coo_array((shares, where), shape=(len(sample), count)))


def _borderline(
    strategy: str,
    rows: TrainingRows,
    rng: np.random.Generator,
    k: int,
    m: int,
    ratio: float,
    space: str | None,
    target: Sequence[str],
) -> Sample:
    check_whole(strategy, "k", k)
    check_whole(strategy, "m", m)
    more, state = added(strategy, rows, ratio, target), int(rng.integers(2**31))
    kind = "borderline-1" if strategy == "borderline_smote_1" else "borderline-2"
    around = min(m, len(rows) - 1)

    def make(label: int, number: int, near: int) -> Made:
        sampler = _Borderline(
            k_neighbors=Neighbours(rows.space(space), near + 1),
            m_neighbors=Neighbours(rows.space(space), around + 1),
            kind=kind,
            random_state=state,
        )
        made, _ = _made(sampler, rows, label, number)
        return made, [] if made.shape[0] else [f"class {rows.classes[label]} has no rows in danger: nothing added"]

    sample = grow(rows, more, k, make, any_class=kind == "borderline-2")
    if more and around < m:
        fewer = f"there are {len(rows)} rows: {around} neighbours instead of {m} tell which are in danger"
        return replace(sample, notes=(fewer, *sample.notes))
    return sample


def _smote(rows: TrainingRows, space: str | None, state: int, label: int, number: int, near: int) -> Made:
    return _made(SMOTE(k_neighbors=Neighbours(rows.space(space), near + 1), random_state=state), rows, label, number)


def _made(sampler: BaseOverSampler, rows: TrainingRows, label: int, number: int) -> Made:
    sampler.set_params(sampling_strategy={label: int(rows.counts[label]) + number})
    grown, _ = sampler.fit_resample(_identity(len(rows)), rows.targets)
    return sparse.csr_array(grown)[len(rows) :], []


def _identity(count: int) -> sparse.csr_array:
    every = np.arange(count)
    return sparse.csr_array((np.ones(count), every, np.arange(count + 1)), shape=(count, count))


class _Borderline(BorderlineSMOTE):
    """The same samples without the dense matrix that the library makes to shorten the steps towards other classes."""

    def _generate_samples(self, X, nn_data, nn_num, rows, cols, steps, y_type=None, y=None) -> sparse.csr_array:
        if y is not None:
            others = y[nn_num[rows, cols]] != y_type
            steps[others] *= np.random.RandomState(self.random_state).uniform(0.0, 0.5, size=(others.sum(), 1))
        return super()._generate_samples(X, nn_data, nn_num, rows, cols, steps, y_type)


def _parents(
    made: sparse.csr_array,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Rows, partners and shares of the partners, (M,) each: of two parents, the row is the nearer one.

    It is of the item's class: nobody goes further than half the way to another class.
    """
    first, last = made.indptr[:-1], made.indptr[1:] - 1
    one, other = made.indices[first].astype(np.int64), made.indices[last].astype(np.int64)
    of_one, of_other = made.data[first], made.data[last]
    swap = of_other > of_one
    mix = np.where(one == other, 0.0, np.where(swap, of_one, of_other))
    return np.where(swap, other, one), np.where(swap, one, other), mix
