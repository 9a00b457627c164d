import pandas as pd
import pytest

from cellml.data.manifest import SOFT
from cellml.errors import UserError

CELLS = """file,stage,slide,plate,when,uid
img/a.png,True,s1,p1,train,007
img/b.png,False,s1,p2,Validation,8
img/c.png,False,s2,p1,test,9
img/d.png,True,s2,p1,,10
"""


@pytest.fixture
def cells(tmp_path):
    def write(text=CELLS, name="cells.csv"):
        (tmp_path / name).write_text(text)

    return write


def test_columns_make_rows(cells, read):
    cells()
    rows = read("table", label="stage", group=["slide", "plate"], id="uid", split="when")
    table = rows.table
    assert rows.classes == ("False", "True")
    assert table["id"].tolist() == ["007", "8", "9", "10"]
    assert table["file"].tolist() == ["img/a.png", "img/b.png", "img/c.png", "img/d.png"]
    assert table["group"].tolist() == ["s1/p1", "s1/p2", "s2/p1", "s2/p1"]
    assert table["split"].tolist() == ["train", "val", "test", ""]


def test_missing_column_is_named_with_those_there_are(cells, read):
    cells("file,stage\na.png,x\nb.png,y\n")
    expected = r"Expected column 'label' in cells.csv, found \['file','stage'\]; set data.label to one of them"
    with pytest.raises(UserError, match=expected):
        read("table")
    for settings, text in [
        ({"file": "path"}, "column 'path'.*data.file"),
        ({"file": "x/{uid}.png"}, "column 'uid'.*data.file"),
        ({"group": ["stage", "slide"]}, "column 'slide'.*data.group"),
        ({"split": "when"}, "column 'when'.*data.split"),
        ({"id": "uid"}, "column 'uid'.*data.id"),
        ({"mask": "m/{name2}"}, "column 'name2'.*data.mask"),
        ({"votes": ["e1"]}, "column 'e1'.*data.votes"),
        ({"probabilities": {"x": "p"}}, "column 'p'.*data.probabilities"),
    ]:
        with pytest.raises(UserError, match=text):
            read("table", **({"label": "stage"} | settings))


@pytest.mark.parametrize("values", [["True", "False"], ["true", "FALSE"], ["1", "0"], ["1.0", "0.0"]])
@pytest.mark.parametrize("keys", [("True", "False"), ("1", "0")])
def test_truth_values_are_one_however_written(cells, read, values, keys):
    cells(f"file,label\na.png,{values[0]}\nb.png,{values[1]}\n")
    rows = read("table", classes={keys[0]: "yes", keys[1]: "no"})
    assert rows.table["label"].tolist() == ["yes", "no"]
    assert rows.classes == ("yes", "no")


def test_parquet_reads_like_csv(cells, read, tmp_path):
    cells()
    frame = pd.read_csv(tmp_path / "cells.csv", keep_default_na=True)
    assert frame["stage"].dtype == bool
    frame["uid"] = frame["uid"].astype(float)
    (tmp_path / "cells.csv").unlink()
    frame.to_parquet(tmp_path / "cells.parquet")
    rows = read("table", label="stage", id="uid", split="when", classes={"True": "yes", "False": "no"})
    assert rows.table["label"].tolist() == ["yes", "no", "no", "yes"]
    assert rows.table["id"].tolist() == ["7", "8", "9", "10"]
    assert rows.table["split"].tolist() == ["train", "val", "test", ""]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_and_a_byte_order_mark(cells, read, separator, tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + CELLS.replace(",", separator).encode())
    assert read("table", label="stage").table["file"].iloc[0] == "img/a.png"


def test_templates_use_columns_and_the_class(cells, read):
    cells()
    rows = read(
        "table",
        label="stage",
        classes={"False": "Normal", "True": "Atypical"},
        file="images/{class}/{slide}_{uid}.png",
        mask="masks/{stem}_{plate}.tif",
    )
    assert rows.table["file"].tolist()[:2] == ["images/Atypical/s1_007.png", "images/Normal/s1_8.png"]
    assert rows.table["mask"].tolist() == [""] * 4
    assert rows.problems[0].kind == "missing mask"
    assert "masks/s1_007_p1.tif" in rows.problems[0].message


@pytest.mark.parametrize("template", ["img/{uid.png", "img/{uid}}.png", "{{uid}.png"])
def test_a_brace_without_its_partner(cells, read, template):
    cells()
    with pytest.raises(UserError, match=r"every brace of data\.file closed"):
        read("table", label="stage", file=template)


@pytest.mark.parametrize("path", ["../x.png", "/etc/passwd", "img/../../x.png", "..\\x.png"])
def test_paths_cannot_leave_the_folder(cells, read, path):
    cells(f"file,label\na.png,x\n{path},y\n")
    with pytest.raises(UserError, match="leads outside"):
        read("table")


def test_paths_inside_are_made_plain_and_blank_ones_refused(cells, read):
    cells("file,label\n./a//b/../c.png,x\nd\\e.png,y\n")
    assert read("table").table["file"].tolist() == ["a/c.png", "d/e.png"]
    cells("file,label\na.png,x\n,y\n")
    with pytest.raises(UserError, match="found a blank one"):
        read("table")


def test_unlisted_and_blank_labels(cells, read):
    cells("file,label\na.png,x\nb.png,y\nc.png,odd\nd.png,\n")
    with pytest.raises(UserError, match=r"found 'odd' in cells.csv.*data.unlisted: drop"):
        read("table", classes=["y", "x"])
    rows = read("table", classes=["y", "x"], unlisted="drop")
    assert rows.classes == ("y", "x")
    assert rows.table["file"].tolist() == ["a.png", "b.png"]
    assert {p.kind: p.ids for p in rows.problems} == {"no label": ("row 4",), "unlisted label": ("row 3",)}
    with pytest.raises(UserError, match=r"class 'z' in cells.csv, found none"):
        read("table", classes=["x", "y", "z"], unlisted="drop")
    rows = read("table", classes=["y", "x"], unlisted="keep")
    assert rows.classes == ("y", "x", "odd")
    assert rows.table["label"].tolist() == ["x", "y", "odd"]


def test_votes_beyond_the_classes_are_not_kept(cells, read):
    cells("file,one,two\na.png,x,x\nb.png,y,odd\n")
    with pytest.raises(UserError, match=r"found 'odd'"):
        read("table", votes=["one", "two"], classes=["x", "y"], unlisted="keep")


def test_columns_stay_beside_the_images(cells, read):
    cells("file,label,plate,well\na.png,x,P1,A1\nb.png,y,P1,\n")
    rows = read("table", keep=["well", "plate"])
    assert rows.table["kept:well"].tolist() == ["A1", ""]
    assert rows.table["kept:plate"].tolist() == ["P1", "P1"]
    with pytest.raises(UserError, match=r"Expected column 'dose' in cells.csv.*set data.keep"):
        read("table", keep=["dose"])


def test_repeated_ids_are_an_error_and_repeated_files_are_told_apart(cells, read):
    cells("file,label,uid\na.png,x,1\na.png,y,1\nb.png,x,2\n")
    with pytest.raises(UserError, match=r"different 'uid'.*'1' repeats"):
        read("table", id="uid")
    assert read("table").table["id"].tolist() == ["a.png", "a.png#2", "b.png"]


def test_blank_groups_stand_alone(cells, read):
    cells("file,label,slide\na.png,x,\nb.png,y,\nc.png,x,s\nd.png,y,s\n")
    assert read("table", group="slide").table["group"].tolist() == ["a.png", "b.png", "s", "s"]


@pytest.mark.parametrize(("present", "absent"), [("train", "test"), ("test", "train")])
def test_a_published_split_by_presence(cells, read, present, absent):
    cells()
    cells("slide,uid,x\ns1,007,1\ns2,9,1\ns9,9,1\n", "split.csv")
    split = {"table": "split.csv", "match": ["slide", "uid"], "present": present, "absent": absent}
    rows = read("table", table="cells.csv", label="stage", split=split)
    assert rows.table["split"].tolist() == [present, absent, present, absent]
    assert [(p.kind, p.ids) for p in rows.problems] == [("unused split row", ("s9/9",))]


def test_wrong_split_tables_are_named(cells, read):
    cells()
    cells("uid,part\n007,train\n007,test\n", "split.csv")
    settings = {"table": "cells.csv", "label": "stage"}
    for split, text in [
        ({"table": "none.csv", "match": ["uid"]}, r"table at .*none.csv, found none; tables there: .*split.csv"),
        ({"table": "split.csv", "match": ["slide"]}, "column 'slide' in split.csv"),
        ({"table": "split.csv", "match": ["uid"], "column": "part"}, "one split for .*007"),
        ({"table": "split.csv", "match": ["uid"], "column": "uid"}, "train, val or test.*'007'"),
        ({"table": "split.csv", "match": ["uid"], "present": "held-out"}, "train, val or test.*'held-out'"),
        ({"table": "split.csv", "match": []}, "data.split.match"),
    ]:
        with pytest.raises(UserError, match=text):
            read("table", **settings, split=split)
    cells("uid\n77\n", "split.csv")
    with pytest.raises(UserError, match=r"none agrees on .*uid"):
        read("table", **settings, split={"table": "split.csv", "match": ["uid"]})


def test_votes_give_majority_and_shares(cells, read):
    cells("file,e1,e2,e3\na.png,1,0,1\nb.png,0,0,0\nc.png,1,1,\nd.png,,0,1\ne.png,,,\n")
    classes = {"False": "no", "True": "yes"}
    rows = read("table", votes=["e1", "e2", "e3"], classes=classes)
    assert rows.table["label"].tolist() == ["yes", "no", "yes", "no"]
    assert rows.table[SOFT + "yes"].tolist() == pytest.approx([2 / 3, 0, 1, 0.5])
    assert (rows.table[SOFT + "yes"] + rows.table[SOFT + "no"]).tolist() == pytest.approx([1] * 4)
    assert {p.kind: p.ids for p in rows.problems} == {"no label": ("row 5",), "tied votes": ("row 4",)}
    assert rows.table["votes:e3"].tolist() == ["yes", "no", "", "yes"]
    assert rows.table["votes:e1"].tolist() == ["yes", "no", "yes", ""]


def test_votes_beside_a_label_column_are_soft_labels_only(cells, read):
    cells("file,label,e1,e2\na.png,G1,S,S\nb.png,S,S,G1\n")
    rows = read("table", label="label", votes=["e1", "e2"])
    assert rows.classes == ("G1", "S")
    assert rows.table["label"].tolist() == ["G1", "S"]
    assert rows.table[SOFT + "S"].tolist() == [1.0, 0.5]
    assert rows.table["votes:e2"].tolist() == ["S", "G1"]
    assert rows.problems == []


def test_probabilities_give_soft_labels(cells, read):
    cells("file,p,q\na.png,0.25,0.75\nb.png,0.9004,0.1\n")
    rows = read("table", probabilities={"G1": "p", "S": "q"})
    assert rows.classes == ("G1", "S")
    assert rows.table["label"].tolist() == ["S", "G1"]
    assert rows.table[[SOFT + "G1", SOFT + "S"]].sum(axis=1).tolist() == pytest.approx([1, 1], abs=1e-12)
    assert rows.table[SOFT + "S"].tolist() == pytest.approx([0.75, 0.1 / 1.0004])


@pytest.mark.parametrize("row", ["0.3,0.3", "1.2,-0.2", "a,1", ",1", "nan,1"])
def test_wrong_probabilities_are_an_error(cells, read, row):
    cells(f"file,p,q\na.png,0.5,0.5\nb.png,1,0\nc.png,{row}\n")
    with pytest.raises(UserError, match=r"sum to 1 in cells.csv, got .* in row 3 \(1 such rows\)"):
        read("table", probabilities={"G1": "p", "S": "q"})


def test_which_table_is_meant(cells, read):
    with pytest.raises(UserError, match=r"one table in .*, found \[\]"):
        read("table")
    cells("file,label\na.png,x\nb.png,y\n", "one.csv")
    assert len(read("table").table) == 2
    cells("file,label\n", "two.csv")
    with pytest.raises(UserError, match=r"found \['one.csv', 'two.csv'\]; set data.table"):
        read("table")
    with pytest.raises(UserError, match=r"Expected rows in .*two.csv"):
        read("table", table="two.csv")
    cells("\x00\x00", "broken.parquet")
    with pytest.raises(UserError, match=r"broken.parquet cannot be read"):
        read("table", table="broken.parquet")
    cells("", "empty.csv")
    with pytest.raises(UserError, match=r"empty.csv cannot be read"):
        read("table", table="empty.csv")


def test_a_star_stands_for_the_folder_that_has_the_file(cells, read, tmp_path):
    cells("uid,label\n1,x\n2,y\n3,x\n")
    for folder, name in (("left", "1"), ("right", "2")):
        (tmp_path / "img" / folder).mkdir(parents=True)
        (tmp_path / "img" / folder / f"{name}.png").write_bytes(b"")
    rows = read("table", file="img/*/{uid}.png")
    assert rows.table["file"].tolist() == ["img/left/1.png", "img/right/2.png", "img/*/3.png"]


def test_a_star_that_means_two_files_or_no_folder_is_refused(cells, read, tmp_path):
    cells("uid,label\n1,x\n2,y\n")
    for folder in ("left", "right"):
        (tmp_path / "img" / folder).mkdir(parents=True)
        (tmp_path / "img" / folder / "1.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"img/\*/1.png is img/left/1.png and img/right/1.png"):
        read("table", file="img/*/{uid}.png")
    for template in ("img/{uid}*.png", "*/*/{uid}.png", "im*/{uid}.png"):
        with pytest.raises(UserError, match=r"one \* in the place of one whole folder"):
            read("table", file=template)
