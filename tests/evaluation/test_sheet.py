import numpy as np

from cellml.evaluation import figures, sheet
from tests.evaluation import helpers
from tests.evaluation.test_figures import LONG, rendered, texts


def test_the_surest_mistakes_come_first_and_only_their_images_are_read():
    p = helpers.given([0, 0, 0, 1, -1], [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.6, 0.4], [0.0, 1.0]])
    assert sheet.worst(p, 10).tolist() == [2, 1, 3]
    asked = []

    def images(ids):
        asked.append(list(ids))
        return [np.full((8, 8, 3), int(i) * 10, dtype=np.uint8) for i in ids]

    figure = figures.mistakes(p, images, count=2)
    assert asked == [["2", "1"]]
    assert [ax.images[0].get_array()[0, 0, 0] for ax in figure.axes if ax.images] == [20, 10]
    assert "true: a\nsaid: b\np = 0.900" in texts(figure)
    assert "The 2 most confident of 3 mistakes in 4 images" in texts(figure)
    assert {"1", "2"} <= set(texts(figure))


def test_a_full_sheet_with_long_names_cuts_no_text():
    p = helpers.make(200, LONG, sharp=0)
    shapes = [(64, 64), (40, 90), (200, 180)]
    figure = figures.mistakes(p, lambda ids: [np.zeros((*shapes[j % 3], 3), np.uint8) for j in range(len(ids))])
    assert rendered(figure).width == 704
    assert len([ax for ax in figure.axes if ax.images]) == 24
    columns = sorted({round(ax.get_position().x0, 3) for ax in figure.axes})
    titles = [ax._left_title for ax in figure.axes if ax.images]
    gap = (columns[1] - columns[0]) * figure.bbox.width
    renderer = figure.canvas.get_renderer()
    assert all(title.get_window_extent(renderer).width <= gap for title in titles)


def test_no_mistakes_are_said_and_no_image_is_read():
    p = helpers.given([0, 1], [[0.9, 0.1], [0.2, 0.8]])
    assert "No mistakes" in texts(figures.mistakes(p, None))[0]
