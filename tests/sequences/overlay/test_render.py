import numpy as np
import pytest
import tifffile

from cellml.sequences.cells import Cells
from cellml.sequences.movies import opened
from cellml.sequences.overlay import style
from cellml.sequences.overlay.panel import Words
from cellml.sequences.overlay.render import Renderer
from cellml.sequences.said import Said
from tests.sequences import fields as helpers


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    path = tmp_path_factory.mktemp("movie") / "movie.tif"
    tifffile.imwrite(path, helpers.frames())
    return opened(path)


def said(observed="", outlines=True):
    cells = helpers.cells(observed=observed)
    probabilities = np.tile([0.1, 0.7, 0.15, 0.05], (len(cells), 1))
    return Said(cells if outlines else Cells.of(cells.table), probabilities, helpers.STAGES)


def on_line(renderer, picture, row, colour):
    """Share of an outline's points that have a colour on them or beside them."""
    x, y = np.rint(renderer.said.cells.outlines[row] * renderer.zoom).astype(int).T
    near = [(picture[y + dy, x + dx] == colour).all(axis=1) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return np.any(near, axis=0).mean()


def test_frames_are_even_and_as_many_as_the_movie_has(movie):
    renderer = Renderer(movie, said(), Words("model"))
    frames = list(renderer)
    assert len(frames) == len(renderer) == helpers.FRAMES
    assert {frame.shape for frame in frames} == {frames[0].shape}
    assert not frames[0].shape[0] % 2
    assert not frames[0].shape[1] % 2
    assert frames[0].dtype == np.uint8


@pytest.mark.parametrize(("observed", "colour"), [("", 1), ("prophase", 1), ("metaphase", style.WRONG)])
def test_outlines_have_the_stages_colour_or_red_where_wrong(movie, observed, colour):
    renderer = Renderer(movie, said(observed), Words("model"), single=True)
    expected = renderer.colours[colour] if isinstance(colour, int) else colour
    picture = renderer.frame(0)
    for row in renderer.rows[0].tolist():
        assert on_line(renderer, picture, row, expected) == 1


def test_the_field_beside_the_outlines_is_the_movie(movie):
    renderer = Renderer(movie, said(), Words("model"))
    plain = Renderer(movie, said().where(np.zeros(42, dtype=bool)), Words("model"))
    changed = (renderer.frame(0) != plain.frame(0)).any(axis=2)[: renderer.size[1], : renderer.size[0]]
    far = np.ones_like(changed)
    for row in renderer.rows[0].tolist():
        x0, y0, x1, y1 = renderer._boxes[row].round().astype(int)
        far[max(y0 - 30, 0) : y1 + 30, max(x0 - 80, 0) : x1 + 80] = False
    assert changed.any()
    assert far.any()
    assert not changed[far].any()


def test_cells_without_outlines_get_a_circle(movie):
    renderer = Renderer(movie, said(outlines=False), Words("model"))
    x, y = renderer.said.cells.table[["x", "y"]].iloc[0] * renderer.zoom
    around = renderer.frame(0)[round(y), round(x) - 14 : round(x) + 14]
    assert (around == renderer.colours[1]).all(axis=1).any()


@pytest.mark.parametrize(("copies", "labelled"), [(1, 3), (80, 240), (300, 1)])
def test_labels_give_way_where_cells_are_many(movie, copies, labelled):
    rows = helpers.cells().table.loc[np.tile(np.arange(0, 36, 12), copies)].reset_index(drop=True)
    rows["frame"], rows["track"] = 0, [str(k) for k in range(len(rows))]
    rows.loc[0, "observed"] = "metaphase"
    chances = np.tile([0.1, 0.7, 0.15, 0.05], (len(rows), 1))
    renderer = Renderer(movie, Said(Cells.of(rows), chances, helpers.STAGES), Words("m"))
    tags = [tag for tag in renderer._tags if tag is not None]
    assert len(tags) == labelled
    assert tags[-1].text == {3: "pro 70%", 240: "pro", 1: "pro ≠ met"}[labelled]
    assert tags[0].wrong
    assert (tags[0].uncertainty >= 0) == (labelled == 3)


def test_heat_is_laid_over_the_window_of_its_cell(movie):
    heat = (np.tile([1.0, 0.0, 1.0], (8, 8, 1)), np.full((8, 8), 1.0))
    renderer = Renderer(movie, said(), Words("m"), single=True, heat=lambda row: heat, window=6)
    picture = renderer.frame(0)
    x, y = (renderer.said.cells.table[name].iloc[0] * renderer.zoom for name in ("x", "y"))
    half = 3 * renderer.zoom
    inside = picture[int(y - half + 2) : int(y + half - 2), int(x - half + 2) : int(x + half - 2)]
    assert (inside == (255, 0, 255)).all()
    assert (picture[:, : renderer.size[0]] == (255, 0, 255)).all(axis=2).sum() <= 3.1 * (2 * half) ** 2


def test_in_a_field_heat_fades_towards_the_edge_of_its_window(movie):
    heat = (np.tile([1.0, 0.0, 1.0], (8, 8, 1)), np.full((8, 8), 1.0))
    renderer = Renderer(movie, said(), Words("m"), heat=lambda row: heat, window=20)
    plain = Renderer(movie, said(), Words("m"))
    x, y = (round(renderer.said.cells.table[name].iloc[0] * renderer.zoom) for name in ("x", "y"))
    half = round(10 * renderer.zoom)
    changed = (renderer.frame(0) != plain.frame(0)).any(axis=2)
    assert (renderer.frame(0)[y - 10 : y + 10, x - 10 : x + 10] == (255, 0, 255)).all()
    assert not changed[y - half : y - half + 4, x - half : x - half + 4].any()
