import dataclasses
import io
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from cellml.compare import cells, figures, formats, report, table
from cellml.compare.cost import Cost
from cellml.compare.picture import Picture
from cellml.config import Compare
from tests.compare.conftest import NASTY, elsewhere, evaluated, manifest

SETTINGS = Compare(resamples=100)
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Collects tags and texts, and checks that tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(" ".join(data.split()))

    def attributes(self, tag, name):
        return [attributes[name] for t, attributes in self.tags if t == tag and name in attributes]


def benchmark(models, test, counts, **values):
    built = table.build(models, test, counts, SETTINGS)
    return report.Benchmark("cells <1> & more", built, models, test, SETTINGS, counts, **values)


def html(*args, **values):
    """The page of a benchmark with empty pictures: drawing takes seconds."""
    empty = [Picture("bars", "balanced_accuracy", "", png()), Picture("roc", "roc", "", png())]
    return report.html(benchmark(*args, **values), empty)


def png():
    buffer = io.BytesIO()
    Image.new("RGB", (320, 40)).save(buffer, "png")
    return buffer.getvalue()


def test_writes_what_it_names(models, test_rows, train_counts, tmp_path):
    shown = benchmark(models, test_rows, train_counts, heatmaps={models[1].name: png(), models[0].name: Figure()})
    paths = report.write(tmp_path / "benchmark", shown)
    names = {str(path.relative_to(tmp_path / "benchmark")) for path in paths}
    assert {
        "table.csv",
        "table.md",
        "table.tex",
        "report.html",
        "figures/balanced_accuracy.png",
        "figures/roc.png",
    } < names
    assert sum(name.startswith("figures/confusion_") for name in names) == 4
    assert sum(name.startswith("figures/heatmaps_") for name in names) == 2
    assert {str(p.relative_to(tmp_path / "benchmark")) for p in tmp_path.rglob("*.*")} >= names
    for path in paths:
        if path.suffix == ".png":
            Image.open(path).verify()


def test_a_second_report_leaves_no_figure_of_the_first(models, test_rows, train_counts, tmp_path):
    report.write(tmp_path, benchmark(models[:2], test_rows, train_counts))
    paths = report.write(tmp_path, benchmark(models[:1], test_rows, train_counts))
    assert sorted(tmp_path.rglob("*.png")) == sorted(path for path in paths if path.suffix == ".png")


def test_page_needs_nothing_from_outside(models, test_rows, train_counts):
    parsed = Page(report.html(benchmark(models, test_rows, train_counts, heatmaps={models[0].name: png()})))
    sources = parsed.attributes("img", "src")
    assert len(sources) == 4 + 4 + 1
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not parsed.attributes("script", "src")
    assert not parsed.attributes("a", "href")
    assert not [tag for tag, _ in parsed.tags if tag in ("link", "iframe", "object")]


def test_names_are_escaped(models, test_rows, train_counts):
    text = html(models, test_rows, train_counts, description="<script>alert(1)</script>")
    parsed = Page(text)
    assert "<b>" not in text
    assert text.count("<script>") == 1
    assert f"recall {NASTY[1]}" in parsed.texts
    assert "cells <1> & more" in parsed.texts


def test_links_lead_to_runs_and_versions(models, test_rows, train_counts):
    links = Page(html(models, test_rows, train_counts, ui="http://host:5000/")).attributes("a", "href")
    assert f"http://host:5000/#/runs/{models[1].entry.run_id}" in links
    assert "http://host:5000/#/models/cells.torchvision-0x2F-resnet18/versions/12" in links
    assert len(links) == 2 * len(models)


def test_table_rows_and_baseline(models, test_rows, train_counts):
    text = html(models, test_rows, train_counts)
    body, foot = re.search(r"<tbody>.*?</tbody>", text, re.S), re.search(r"<tfoot>.*?</tfoot>", text, re.S)
    assert body
    assert foot
    assert body[0].count("<tr") == 4
    assert "majority class" in foot[0]
    assert test_rows.digest in text


def test_further_columns_stand_on_the_page_where_they_hold_something(models, test_rows, train_counts):
    rarest = min(test_rows.counts, key=test_rows.counts.get)
    assert not [text for text in Page(html(models, test_rows, train_counts)).texts if text.endswith(" at thresholds")]
    tuned = dataclasses.replace(models[0], thresholds=dict.fromkeys(NASTY, 0.25))
    texts = Page(html([tuned, *models[1:]], test_rows, train_counts)).texts
    assert {f"recall {rarest} at thresholds", "accuracy at thresholds", "F1 at thresholds"} <= set(texts)


def test_warnings_name_models_once(models, test_rows, train_counts):
    text = html(models, test_rows, train_counts)
    assert text.count("Identical predictions") == 1
    few = manifest(("a", "b"), groups=4)
    said = ("trained on other rows",)
    several = [evaluated(few, name, 2, seed=i, warnings=said) for i, name in enumerate("xyz")]
    text = html(several, few, {"a": 2, "b": 1})
    assert text.count("trained on other rows") == 1
    assert "All models: trained on other rows." in text
    assert "Only 4 groups" in text


@pytest.mark.parametrize(("k", "count"), [(2, 1), (7, 3), (3, 8)])
def test_page_of_any_size(k, count):
    test = manifest([f"class {i}" for i in range(k)])
    models = [evaluated(test, "m" * 90 + str(i), 1, seed=i) for i in range(count)]
    parsed = Page(report.html(benchmark(models, test, {"class 0": 3, "class 1": 1})))
    assert len(parsed.attributes("img", "src")) == 3 + (count > 1) + count


def test_heatmaps_of_an_unknown_model_are_refused(models, test_rows, train_counts):
    with pytest.raises(ValueError, match="not in the benchmark"):
        report.pictures(benchmark(models, test_rows, train_counts, heatmaps={"other v1": png()}))


def test_bars_are_the_tables_values(models, test_rows, train_counts):
    built = table.build(models, test_rows, train_counts, SETTINGS)
    axes = figures.bars(built).axes[0]
    bars = sorted((bar for bar in axes.patches), key=lambda bar: -bar.get_y())
    assert [bar.get_width() for bar in bars] == pytest.approx(built["balanced_accuracy"].tolist())
    ends = {round(x, 9) for line in axes.collections[0].get_segments() for x in line[:, 0]}
    assert ends == {round(x, 9) for x in [*built["balanced_accuracy_low"], *built["balanced_accuracy_high"]]}


def test_confusion_figure_holds_the_counts(models):
    texts = [text.get_text() for text in figures.confusion(models[1].predictions, "m").axes[0].texts]
    counts = [int(text.split("\n")[0]) for text in texts]
    pairs = list(zip(models[1].predictions.targets, models[1].predictions.predicted, strict=True))
    assert counts == [pairs.count((i, j)) for i in range(4) for j in range(4)]


def test_roc_shows_the_rarer_of_two_classes_or_all():
    two, three = manifest(("common", "rare")), manifest(("a", "b", "c"))
    drawn = figures.roc([evaluated(two, "x", 1).predictions], ["x"])
    assert [axes.get_title() for axes in drawn.axes] == ["rare"]
    many = [evaluated(three, str(i), 1, seed=i).predictions for i in range(9)]
    drawn = figures.roc(many, list("abcdefghi"))
    assert [axes.get_title() for axes in drawn.axes] == ["a", "b", "c"]
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == [*"abcdef", "3 further models"]


def test_seeds_and_experts_have_a_table_and_a_section_where_there_are_any(test_rows, train_counts, tmp_path):
    models = [evaluated(test_rows, "net", 1, seed=seed, version=str(seed + 1)) for seed in range(3)]
    names = {path.name for path in report.write(tmp_path / "plain", benchmark(models, test_rows, train_counts))}
    assert not names & {"cells.csv", "experts.csv"}
    assert "rank_probabilities.png" in names
    rows = test_rows
    for expert in "xyz":
        rows = rows.with_column(f"votes:{expert}", [NASTY[t] for t in rows.targets])
    built = table.build(models, rows, train_counts, SETTINGS)
    known = {one.name: {"train.seed": one.entry.version} for one in models}
    shown = report.Benchmark("cells", built, models, rows, SETTINGS, train_counts, cells=cells.table(built, known))
    names = {path.name for path in report.write(tmp_path / "whole", shown)}
    assert {"cells.csv", "experts.csv"} <= names
    assert pd.read_csv(tmp_path / "whole" / "cells.csv")["n"].tolist() == [3]
    assert len(pd.read_csv(tmp_path / "whole" / "experts.csv")) == 6
    texts = Page((tmp_path / "whole" / "report.html").read_text(encoding="utf-8")).texts
    assert {"Seeds", "Experts", "Rank probabilities", "1.000 [1.000, 1.000]"} <= set(texts)
    mean, sd = built["auroc"][:3].mean(), built["auroc"][:3].std()
    assert f"{mean:.3f} ± {sd:.3f}" in texts


def test_rank_figure_holds_the_probabilities(models, test_rows, train_counts):
    built = table.build(models, test_rows, train_counts, SETTINGS)
    image = figures.rank_probabilities(built).axes[0].images[0].get_array()
    order = built["expected_rank"][:4].argsort().to_numpy()
    assert image.tolist() == [built.attrs["ranks"][m] for m in order]


def test_external_sets_have_a_section_and_a_table_each(models, test_rows, train_counts, tmp_path):
    first, models = elsewhere(models, "there")
    second, models = elsewhere(models, "yonder", seed=4, left_out={"in two classes": 2})
    sets = [first, second]
    built = table.build(models, test_rows, train_counts, SETTINGS, externals=sets)
    shown = report.Benchmark("cells", built, models, test_rows, SETTINGS, train_counts, externals=sets, device="a chip")
    names = {str(path.relative_to(tmp_path)) for path in report.write(tmp_path, shown)}
    wanted = {"there.csv", "yonder.csv", "figures/cost.png", "figures/average_ranks.png", "figures/external_yonder.png"}
    assert wanted < names
    written = pd.read_csv(tmp_path / "yonder.csv")
    assert written["model"].tolist() == built["model"].tolist()
    for key in ("n", "balanced_accuracy", "auroc", "balanced_accuracy_low"):
        assert written[key].to_numpy() == pytest.approx(built[f"yonder_{key}"].to_numpy())
    assert {f"recall_{name}" for name in NASTY} | {"f1_weighted", "digest"} < set(written)
    texts = Page((tmp_path / "report.html").read_text(encoding="utf-8")).texts
    for external in sets:
        assert f"External test set: {external.name}" in texts
        assert set(external.lines()) <= set(texts)
        assert formats.interval(built.iloc[0], f"{external.name}_balanced_accuracy") in texts
    assert "2 images left out: in two classes" in texts
    said = " ".join(texts)
    assert "over 3 data sets (the experiment's own test set, there, yonder)" in said
    assert "3 data sets are few" in said
    assert "One image a call, on a chip." in said
    assert f"chi2 {formats.number(built.attrs['sets'].test.chi2, 2)}" in said


def test_without_external_sets_and_costs_there_is_no_section_of_them(models, test_rows, train_counts):
    plain = [dataclasses.replace(one, cost=Cost()) for one in models]
    text = report.html(benchmark(plain, test_rows, train_counts))
    assert "External test set" not in text
    assert "Ranks over data sets" not in text
    assert "<h2>Cost" not in text


def test_weighted_figures_and_costs_stand_in_the_pages_table(models, test_rows, train_counts):
    texts = Page(html(models, test_rows, train_counts)).texts
    assert {"weighted precision", "weighted recall", "weighted F1", "GMACs", "ms, batch 1", "MB, batch 64"} <= set(
        texts
    )
    built = table.build(models, test_rows, train_counts, SETTINGS)
    assert formats.number(built["f1_weighted"][0]) in texts
    assert "3.2" in texts  # ms of one image, to a digit
