import pytest

from cellml.errors import UserError


def _write(picture, *names):
    for name in names:
        picture(name)


def _pairs(rows, column="label"):
    return dict(zip(rows.table["file"], rows.table[column], strict=True))


@pytest.mark.parametrize("base", ["", "images/"])
def test_class_folders_in_natural_order(picture, read, base):
    _write(picture, f"{base}G10/a.png", f"{base}G2/c10.png", f"{base}G2/c9.png", f"{base}G2/deep/er/x.tif")
    rows = read("folders")
    assert rows.classes == ("G2", "G10")
    expected = ["G2/c9.png", "G2/c10.png", "G2/deep/er/x.tif", "G10/a.png"]
    assert rows.table["file"].tolist() == [base + e for e in expected]
    assert rows.table["label"].tolist() == ["G2", "G2", "G2", "G10"]
    assert (rows.table["group"] == rows.table["id"]).all()
    assert (rows.table["split"] == "").all()
    assert rows.problems == []


@pytest.mark.parametrize("base", ["", "images/"])
@pytest.mark.parametrize("validation", ["val", "valid", "validation", "Valid"])
def test_split_folders_at_the_top(picture, read, base, validation):
    names = [f"{base}{s}/{c}/{n}.png" for s in ("train", validation, "test") for c in "AB" for n in range(2)]
    _write(picture, *names)
    rows = read("folders")
    assert rows.classes == ("A", "B")
    expected = {
        n: {"train": "train", validation: "val", "test": "test"}[n.removeprefix(base).split("/")[0]] for n in names
    }
    assert _pairs(rows, "split") == expected


def test_classes_may_be_called_test_or_images(picture, read):
    _write(picture, "test/a.png", "control/b.png", "images/c.png")
    rows = read("folders")
    assert rows.classes == ("control", "images", "test")
    assert (rows.table["split"] == "").all()


def test_parent_folders_group_across_classes_and_splits(picture, read):
    _write(picture, "train/A/s1/a.png", "train/A/s2/b.png", "train/B/s1/c.png", "test/A/s3/x/d.png", "test/B/s2/e.png")
    rows = read("folders", group="parent")
    assert [g for _, g in sorted(_pairs(rows, "group").items())] == ["s3/x", "s2", "s1", "s2", "s1"]


def test_parent_without_folders_in_between_is_an_error(picture, read):
    _write(picture, "A/s1/a.png", "B/b.png")
    with pytest.raises(UserError, match=r"data.group: parent.*B/b.png directly"):
        read("folders", group="parent")


def test_classes_choose_rename_and_merge(picture, read):
    _write(picture, "A/a.png", "B/b.png", "C/c.png", "D/d.png")
    rows = read("folders", classes={"C": "late", "A": "early", "B": "early"}, unlisted="drop")
    assert rows.classes == ("late", "early")
    assert _pairs(rows) == {"A/a.png": "early", "B/b.png": "early", "C/c.png": "late"}
    assert rows.problems[0].kind == "unlisted label"
    assert "'D'" in rows.problems[0].message
    with pytest.raises(UserError, match="found 'D'"):
        read("folders", classes=["A", "B", "C"])


def test_loose_and_stray_images_are_reported(picture, read):
    _write(
        picture, "train/A/a.png", "train/B/b.png", "train/loose.png", "extra/C/c.png", "test/A/t.png", "test/B/t.png"
    )
    rows = read("folders")
    assert len(rows.table) == 4
    assert set(rows.problems[0].ids) == {"train/loose.png", "extra/"}


def test_no_class_folders_says_what_was_found(picture, read, tmp_path):
    _write(picture, "a.png", "b.png")
    (tmp_path / "notes").mkdir()
    with pytest.raises(UserError, match=r"class.*found the folders \['notes'\] and 2 loose images"):
        read("folders")


def test_one_class_only_is_an_error(picture, read):
    _write(picture, "A/a.png", "A/b.png")
    with pytest.raises(UserError, match=r"at least two classes.*found \['A'\]"):
        read("folders")


def test_settings_without_meaning_are_refused(picture, read):
    _write(picture, "A/a.png", "B/b.png")
    with pytest.raises(UserError, match=r"data.label has no meaning with data.source: folders"):
        read("folders", label="x")
    with pytest.raises(UserError, match="Unknown option 'count' of source 'folders'"):
        read("folders", options={"count": 3})


def test_a_second_table_may_split_by_stem(picture, read, tmp_path):
    _write(picture, "A/a1.png", "A/a2.png", "B/b1.png", "B/b2.png")
    (tmp_path / "split.csv").write_text("stem,part\na1,Test\nb1,train\nb2,valid\n")
    rows = read("folders", split={"table": "split.csv", "match": ["stem"], "column": "part"})
    assert _pairs(rows, "split") == {"A/a1.png": "test", "B/b1.png": "train", "B/b2.png": "val"}
    assert [(p.kind, p.ids) for p in rows.problems] == [("no split", ("A/a2.png",))]


MIXTURES = {"1-2": {"control": 1, "resistant": 2}, "1-1": {"resistant": 1, "control": 1}}


def test_mixture_folders_get_their_ratio_as_soft_label(picture, read):
    _write(
        picture,
        *(f"HOMO/{c}/w{w}/{n}.png" for c in ("control", "resistant") for w in (1, 2) for n in "ab"),
        *(f"HETERO/{m}/w{w}/{n}.png" for m in MIXTURES for w in (3, 4) for n in "ab"),
    )
    rows = read("folders", group=["class", "parent"], mixtures=MIXTURES, options={"inside": ["HOMO", "HETERO"]})
    assert rows.classes == ("control", "resistant")
    table = rows.table.set_index("file")
    assert table.loc["HETERO/1-2/w3/a.png", ["label", "mixture"]].tolist() == ["resistant", "1-2"]
    assert table.loc["HETERO/1-2/w3/a.png", ["soft:control", "soft:resistant"]].tolist() == [1 / 3, 2 / 3]
    assert table.loc["HETERO/1-1/w3/a.png", ["label", "mixture"]].tolist() == ["control", "1-1"]
    assert table.loc["HOMO/control/w1/a.png", ["label", "mixture"]].tolist() == ["control", ""]
    assert table.loc["HOMO/control/w1/a.png", ["soft:control", "soft:resistant"]].tolist() == [1, 0]
    assert table["group"].nunique() == 8


def test_mixtures_that_cannot_be_meant(picture, read):
    _write(picture, "control/w/a.png", "resistant/w/a.png", "1-2/w/a.png")
    with pytest.raises(UserError, match=r"Expected data\.group with data\.mixtures, found none"):
        read("folders", mixtures={"1-2": {"control": 1, "resistant": 2}})
    with pytest.raises(UserError, match=r"'resistent' in data\.mixtures '1-2': did you mean 'resistant'"):
        read("folders", group="parent", mixtures={"1-2": {"control": 1, "resistent": 2}})
    for ratio in ({"control": 1}, {"control": 1, "resistant": -1}, {"control": 1, "resistant": float("nan")}):
        with pytest.raises(ValueError, match="as a ratio of two or more classes with parts above 0"):
            read("folders", group="parent", mixtures={"1-2": ratio})
    with pytest.raises(UserError, match=r"rows of the mixture '1-3' .* found none: did you mean '1-2'"):
        read("folders", group="parent", mixtures={"1-3": {"control": 1, "resistant": 3}})
    with pytest.raises(UserError, match="Expected a folder HETERO"):
        read("folders", options={"inside": ["HETERO"]})
