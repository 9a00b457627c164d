import numpy as np
import pytest

from cellml.data import lineages
from cellml.data.nuclei import STAGES


@pytest.fixture(scope="module")
def many():
    return [lineages.lineages(5, 40, np.random.default_rng(seed)) for seed in range(60)]


def test_tracks_are_numbered_and_mothers_stop_where_daughters_start(many):
    for cells in many:
        assert [cell.track for cell in cells] == list(range(1, len(cells) + 1))
        daughters = [cell for cell in cells if cell.parent]
        for cell in daughters:
            assert cell.first == cells[cell.parent - 1].end
            assert sum(other.parent == cell.parent for other in daughters) == 2
        assert all(cell.end - cell.first >= lineages.SHORTEST for cell in cells)
        assert all(cell.end == 40 for cell in cells if cell.track not in {d.parent for d in daughters})
        assert sum(cell.parent == 0 for cell in cells) == 5


def test_stages_follow_each_other(many):
    seen = set()
    for cells in many:
        for cell in cells:
            order = [STAGES.index(stage) for stage in cell.stages]
            order = [k for n, k in enumerate(order) if n == 0 or k != order[n - 1]]
            if cell.parent:
                assert order[0] == 4
                order = order[1:]
            assert order == list(range(order[0], order[-1] + 1)) if order else True
            seen |= set(order)
            if cell.end < 40:
                assert order[-1] == 3
    assert seen == {0, 1, 2, 3}


def test_durations_are_random_with_the_named_means():
    rng = np.random.default_rng(0)
    for stage in ("prophase", "metaphase", "anaphase"):
        drawn = np.array([lineages._duration(stage, rng) for _ in range(4000)])
        assert abs(drawn.mean() - lineages.MEAN_FRAMES[stage]) < 0.1
        assert 0.25 < drawn.std() / drawn.mean() < 0.4


def test_cells_wander_without_lying_on_each_other(many):
    radius, size = 10.0, 160
    for seed, cells in enumerate(many[:10]):
        found = lineages.paths(cells, size, radius, np.random.default_rng(seed))
        for cell in cells:
            path = found[cell.track]
            assert len(path.x) == len(path.angle) == cell.end - cell.first
            assert np.hypot(np.diff(path.x), np.diff(path.y)).max(initial=0) < radius
            assert min(path.x.min(), path.y.min()) > 0
            assert max(path.x.max(), path.y.max()) < size
        apart = []
        for now in range(5, 40):
            alive = [c for c in cells if c.first <= now - 4 and now < c.end]
            where = np.array([(found[c.track].x[now - c.first], found[c.track].y[now - c.first]) for c in alive])
            distance = np.hypot(*(where[:, None] - where[None]).transpose(2, 0, 1))
            apart += distance[np.triu_indices(len(alive), 1)].tolist()
        assert min(apart) > 1.2 * radius
        assert np.min(apart) < 2.3 * radius  # some touch


def test_daughters_start_on_both_sides_of_their_mothers_end(many):
    for seed, cells in enumerate(many[:10]):
        found = lineages.paths(cells, 160, 10.0, np.random.default_rng(seed))
        for mother in {cell.parent for cell in cells} - {0}:
            a, b = (found[cell.track] for cell in cells if cell.parent == mother)
            end = found[mother]
            middle = np.array([a.x[0] + b.x[0], a.y[0] + b.y[0]]) / 2
            assert np.hypot(*(middle - [end.x[-1], end.y[-1]])) < 8
            assert np.hypot(a.x[0] - b.x[0], a.y[0] - b.y[0]) > 10
