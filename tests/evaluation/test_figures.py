import io
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image
from sklearn import metrics as oracle

from cellml.errors import UserError
from cellml.evaluation import figures, metrics
from tests.evaluation import helpers

LONG = (
    "metaphase plate with misaligned chromosomes",
    "metaphase plate with well aligned chromosomes",
    "interphase $G_1$ or $S$",
    "_other",
    "CD4+ T-lymphocyte (activated)",
    "cytokinesis",
)
CASES = {
    "two": helpers.make(200, ("mitotic", "non-mitotic")),
    "three with one absent": helpers.make(100, ("platelets", "rbc", "wbc"), absent=(0,)),
    "long names": helpers.make(300, LONG[:4]),
    "twelve": helpers.make(900, [f"compartment number {k}" for k in range(6)] + list(LONG)),
    "one row": helpers.make(1, "ab"),
    "one class": helpers.make(20, "ab", absent=(1,)),
}


def texts(figure):
    return [t.get_text() for t in figure.findobj(Text) if t.get_visible() and t.get_text()]


def rendered(figure):
    """Draw, refusing any warning, and check that nothing lies outside the picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        canvas = FigureCanvasAgg(figure)
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
        renderer = canvas.get_renderer()
    drawn = figure.get_tightbbox(renderer)
    width, height = figure.get_size_inches()
    assert drawn.x0 >= -0.02
    assert drawn.y0 >= -0.02
    assert drawn.x1 <= width + 0.02
    assert drawn.y1 <= height + 0.02
    return Image.open(stream)


@pytest.mark.parametrize("name", list(figures.FIGURES))
@pytest.mark.parametrize("case", list(CASES))
def test_figures_are_about_700_pixels_wide_and_cut_no_text(name, case):
    assert rendered(figures.FIGURES[name](CASES[case])).width == 704


@pytest.mark.parametrize("case", ["two", "twelve"])
def test_confusion_shows_scikit_learns_counts_and_shares(case):
    p = CASES[case]
    counts = oracle.confusion_matrix(p.targets, p.predicted)
    shares = oracle.confusion_matrix(p.targets, p.predicted, normalize="true")
    left, right = figures.confusion(p).axes
    assert [t.get_text() for t in left.texts] == [f"{n:,}" for n in counts.ravel()]
    assert [t.get_text() for t in right.texts] == [f"{100 * s:.0f}" for s in shares.ravel()]


def test_confusion_of_a_class_without_rows_has_no_share():
    right = figures.confusion(CASES["three with one absent"]).axes[1]
    assert [t.get_text() for t in right.texts[:3]] == ["–"] * 3
    assert np.isnan(right.images[0].get_array().filled(np.nan)[0]).all()


def test_confusion_stands_side_by_side_while_that_is_readable():
    for case, beside in (("two", True), ("three with one absent", True), ("long names", False), ("twelve", False)):
        left, right = (ax.get_subplotspec() for ax in figures.confusion(CASES[case]).axes)
        assert (left.rowspan.start == right.rowspan.start) == beside


def test_roc_of_two_classes_is_that_of_the_rarer():
    p = helpers.make(200, ("mitotic", "other"))
    p = p.where(np.flatnonzero((p.targets == 1) | (np.arange(200) < 60)))
    figure = figures.roc(p)
    x, y, _ = oracle.roc_curve(p.targets == 0, p.probabilities[:, 0], drop_intermediate=False)
    curves = figure.axes[0].lines[1:]
    assert len(curves) == 1
    np.testing.assert_allclose(curves[0].get_xydata(), np.column_stack([x, y]))
    area = oracle.roc_auc_score(p.targets, p.probabilities[:, 1])
    assert f"{area:.3f}  mitotic" in texts(figure)


def test_roc_names_every_class_with_its_area():
    p = CASES["twelve"]
    shown = texts(figures.roc(p))
    for k in range(12):
        area = oracle.roc_auc_score(p.targets == k, p.probabilities[:, k])
        assert any(text.startswith(f"{area:.3f}  ") for text in shown)


def test_precision_recall_names_every_class_with_its_average_precision():
    p = CASES["two"]
    figure = figures.precision_recall(p)
    for k, name in enumerate(p.classes):
        area = oracle.average_precision_score(p.targets == k, p.probabilities[:, k])
        assert f"{area:.3f}  {name}" in texts(figure)
        precision, recall, _ = oracle.precision_recall_curve(p.targets == k, p.probabilities[:, k])
        drawn = next(line for line in figure.axes[0].lines if np.isclose(line.get_ydata()[-1], (p.targets == k).mean()))
        np.testing.assert_allclose(drawn.get_xdata()[1:], recall[:-1][::-1])
        np.testing.assert_allclose(drawn.get_ydata()[1:], precision[:-1][::-1])


@pytest.mark.parametrize("draw", [figures.roc, figures.precision_recall])
def test_a_class_without_rows_is_named_as_such(draw):
    figure = draw(CASES["three with one absent"])
    assert "no rows  platelets" in texts(figure)


def test_reliability_shows_the_error_and_every_row_once():
    p = helpers.make(300, "abc")
    figure = figures.reliability(p)
    assert f"{metrics.value('ece', p):.3f}" in figure.axes[0].get_title()
    assert sum(bar.get_height() for bar in figure.axes[1].patches) == pytest.approx(1)
    stated, right = figure.axes[0].lines[1].get_data()
    inside = (p.probabilities.max(1) > 8 / 15) & (p.probabilities.max(1) <= 9 / 15)
    at = np.argmin(np.abs(stated - p.probabilities.max(1)[inside].mean()))
    assert right[at] == pytest.approx((p.predicted == p.targets)[inside].mean())


@pytest.mark.parametrize("draw", list(figures.FIGURES.values()))
def test_figures_without_known_targets_are_refused(draw):
    with pytest.raises(UserError, match="known class to score"):
        draw(helpers.given([-1, -1], np.full((2, 2), 0.5)))


def test_the_users_own_settings_come_back():
    before = dict(matplotlib.rcParams)
    figures.roc(CASES["two"])
    assert dict(matplotlib.rcParams) == before
