import numpy as np
import pytest
import tifffile

from cellml.errors import UserError


@pytest.fixture
def cell(picture):
    def write(name, frames=5, masks=False):
        for t in range(frames):
            picture(f"{name}/t{t:02d}.png")
            if masks:
                picture(f"{name.rpartition('/')[0]}/Mask/t{t:02d}.png")

    return write


def test_six_stages_in_published_folders(cell, read, tmp_path):
    for name in ("x_P0001_B01", "x_P0001_B02", "y_P0002_B01"):
        cell(f"{name}/Raw", masks=True)
    for name in ("x_P0001_B01", "y_P0002_B01"):
        (tmp_path / name / f"{name}_ManualStages.txt").write_text("1,2,3,4,5\n")
    rows = read("sequences", partial=True)
    assert rows.classes == ("interphase", "prophase", "prometaphase", "metaphase", "anaphase", "telophase")
    table = rows.table
    assert table["id"].tolist()[:2] == ["x_P0001_B01#0", "x_P0001_B01#1"]
    assert table["label"].tolist() == list(rows.classes[:5]) * 3
    assert sorted(set(table["group"])) == ["P0001", "P0002"]
    assert table["mask"][7] == "x_P0001_B02/Mask/t02.png"
    assert table["file"][7] == "x_P0001_B02/Raw/t02.png"
    family = read("sequences", partial=True, group="family").table
    assert family["group"].nunique() == 2


def test_three_stages_of_livecellminer(cell, read, tmp_path):
    for name, text in (("c1", "1;1;2;3;3;3;3;3"), ("c2", "1;1;2;2;3"), ("c3", "0;0;0;0;0;0;0;0")):
        cell(f"exp/{name}/Raw", 8)
        (tmp_path / "exp" / name / f"{name}_Synchronization.csv").write_text(text)
    rows = read("sequences", options={"late": 3})
    assert rows.classes == ("interphase", "early mitosis", "late mitosis")
    stages = rows.table.groupby("sequence")["label"].agg(list)
    assert stages["exp/c1"] == ["interphase"] * 2 + ["early mitosis"] + ["late mitosis"] * 3 + ["interphase"] * 2
    assert stages["exp/c2"][4:] == ["late mitosis", "", "", ""]
    assert "exp/c3" not in stages
    assert {p.kind: p.ids for p in rows.problems} == {"rejected": ("exp/c3",), "no label": ("exp/c3",)}
    named = read("sequences", classes=["G", "M", "L"])
    assert set(named.table["label"]) == {"G", "M", "L", ""}


def test_a_table_of_labels(cell, read, tmp_path):
    for name in ("m/a", "m/b", "n/c"):
        cell(name)
    (tmp_path / "labels.csv").write_text("sequence,frame,label,lab\nm/a,0,x,L\nm/a,4,y,L\nm/b,2,y,K\n")
    rows = read("sequences", classes=["x", "y"], group="lab")
    table = rows.table
    assert table["label"].tolist() == ["x", "", "", "", "y", "", "", "y", "", ""]
    assert table["group"].tolist() == ["L"] * 5 + ["K"] * 5
    assert {p.kind: p.ids for p in rows.problems} == {"no label": ("n/c",)}
    assert read("sequences", classes=["x", "y"]).table["group"].unique().tolist() == ["m"]


def test_a_table_of_transcripts_and_labelled_frames(cell, read, tmp_path):
    for name in ("a", "b"):
        cell(name, 3)
    rows = ["sequence,frame,label,transcript,split", "a,,,x>y,train", "b,0,x,,test", "b,1,x,,test", "b,2,y,,test"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    found = read("sequences", classes=["x", "y"], split="split")
    assert found.table["transcript"].tolist() == ["x>y"] * 3 + [""] * 3
    assert found.table["label"].tolist() == [""] * 3 + ["x", "x", "y"]
    assert found.table["split"].tolist() == ["train"] * 3 + ["test"] * 3


def test_a_table_of_transcripts(cell, read, tmp_path):
    cell("m/a")
    cell("m/b")
    (tmp_path / "labels.csv").write_text("sequence,transcript\na,x>y>z\nb,y>z\n")
    rows = read("sequences", classes=["x", "y", "z"])
    assert (rows.table["label"] == "").all()
    assert rows.table["transcript"].tolist() == ["x>y>z"] * 5 + ["y>z"] * 5
    with pytest.raises(UserError, match="class 'w'"):
        read("sequences", classes=["x", "y", "z", "w"])


def test_a_cell_in_one_tiff(read, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "m" / name).mkdir(parents=True)
        tifffile.imwrite(tmp_path / "m" / name / "all.tif", np.zeros((6, 9, 9), np.uint8))
    (tmp_path / "labels.csv").write_text("sequence,frame,label\na,5,x\nb,0,y\n")
    table = read("sequences", classes=["x", "y"]).table
    assert table["page"].tolist() == [*range(6), *range(6)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2,3,4,5,6", r"at most 5 stages for the 5 frames of m/a, got 6 in m/a_ManualStages.txt, line 1"),
        ("1,2,3,9", r"found '9' in .*m/a_ManualStages.txt, line 1, value 4"),
    ],
)
def test_bad_stage_files_are_named(cell, read, tmp_path, text, said):
    cell("m/a/Raw")
    (tmp_path / "m" / "a_ManualStages.txt").write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        read("sequences")
    assert "\n" not in str(caught.value)


def test_stages_that_fit_no_cell(cell, read, tmp_path):
    cell("m/a")
    (tmp_path / "labels.csv").write_text("sequence,frame,label\nq,0,x\n")
    with pytest.raises(UserError, match="line 2, got 'q'"):
        read("sequences", classes=["x", "y"])
