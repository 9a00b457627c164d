import numpy as np
import pytest

from cellml.data.sources.voc import widen
from cellml.errors import UserError


def _annotate(root, stem, objects, filename=None):
    boxes = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object>"
        for name, x0, y0, x1, y1 in objects
    )
    (root / "Annotations").mkdir(exist_ok=True)
    text = f"<annotation><filename>{filename or stem + '.png'}</filename>{boxes}</annotation>"
    (root / "Annotations" / f"{stem}.xml").write_text(text)


@pytest.fixture
def smears(tmp_path, picture):
    picture("JPEGImages/s1.png", 100, 120)
    picture("JPEGImages/s2.png", 100, 120)
    picture("JPEGImages/named.png", 100, 120)
    _annotate(tmp_path, "s1", [("RBC", 10, 20, 30, 40), ("WBC", 90, 80, 140, 110), ("RBC", 5, 5, 5, 9)])
    _annotate(tmp_path, "s2", [("RBC", -4, 2, 6, 12), ("RBC", 200, 200, 220, 220)], filename="s2.jpg")
    _annotate(tmp_path, "s10", [("WBC", 50, 50, 61, 71)], filename="named.png")
    return tmp_path


def test_one_row_a_box_with_its_image_as_group(smears, read):
    rows = read("voc", context=0)
    assert rows.classes == ("RBC", "WBC")
    assert rows.table["file"].tolist() == [f"JPEGImages/{n}.png" for n in ("s1", "s1", "s2", "named")]
    assert rows.table["group"].tolist() == ["s1", "s1", "s2", "s10"]
    assert rows.table["label"].tolist() == ["RBC", "WBC", "RBC", "WBC"]
    boxes = rows.table[["x0", "y0", "x1", "y1"]].to_numpy().tolist()
    assert boxes == [[10, 20, 30, 40], [90, 80, 120, 100], [0, 2, 6, 12], [50, 50, 61, 71]]
    assert rows.table["id"].is_unique
    assert [p.kind for p in rows.problems] == ["zero-area box"] * 2
    assert "Box 3 of s1.xml" in rows.problems[0].message
    assert rows.problems[1].ids == ("JPEGImages/s2.png#200,200,220,220",)
    assert (rows.table["split"] == "").all()


def test_margin_is_a_share_of_the_longer_side():
    assert widen((50, 50, 60, 70), 0.5, (200, 200)) == (40, 40, 70, 80)
    assert widen((2, 50, 12, 60), 0.5, (63, 200)) == (0, 45, 17, 63)
    assert widen((1, 1, 3, 3), 1, None) == (0, 0, 5, 5)
    assert widen((3, 3, 3, 9), 5, (99, 99)) is None
    rng = np.random.default_rng(0)
    for _ in range(200):
        x0, y0, w, h = rng.integers(-30, 130, 4)
        box = widen((x0, y0, x0 + w, y0 + h), 0.3, (100, 110))
        touches = w > 0 and h > 0 and x0 < 110 and y0 < 100 and x0 + w > 0 and y0 + h > 0
        assert (box is not None) == touches
        if box:
            assert 0 <= box[0] < box[2] <= 110
            assert 0 <= box[1] < box[3] <= 100


def test_a_file_name_in_an_annotation_leads_nowhere_else(smears, read):
    _annotate(smears, "s11", [("WBC", 50, 50, 61, 71)], filename="../../secret.png")
    with pytest.raises(UserError, match=r"s11.xml names .*, which leads outside"):
        read("voc")


def test_published_lists_give_the_split(smears, read):
    (smears / "ImageSets" / "Main").mkdir(parents=True)
    for name, text in [("train", "s1 1\n"), ("val", "s2\n\n"), ("test", "s10  -1\n"), ("trainval", "s10\n")]:
        (smears / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
    assert read("voc").table["split"].tolist() == ["train", "train", "val", "test"]
    (smears / "split.csv").write_text("stem\ns1\n")
    rows = read("voc", split={"table": "split.csv", "match": ["stem"]})
    assert rows.table["split"].tolist() == ["train", "train", "test", "test"]


def test_annotations_that_are_missing_or_broken(tmp_path, read):
    with pytest.raises(UserError, match=r"Pascal VOC files in .*Annotations, found none"):
        read("voc")
    _annotate(tmp_path, "a", [("RBC", "x", 1, 2, 3)])
    with pytest.raises(UserError, match=r"Expected numbers in bndbox .*a.xml"):
        read("voc")
    (tmp_path / "Annotations" / "a.xml").write_text("<annotation>")
    with pytest.raises(UserError, match=r"a.xml is not valid XML"):
        read("voc")


def test_real_smears(real_data, tmp_path):
    from cellml.config import Data
    from cellml.data.sources import SOURCES

    rows = SOURCES["voc"](Data(source="voc"), real_data / "bccd", tmp_path)
    assert rows.table["label"].value_counts().to_dict() == {"RBC": 4153, "WBC": 372, "Platelets": 361}
    assert [p.message.split()[3] for p in rows.problems] == ["BloodImage_00338.xml", "BloodImage_00343.xml"]
    assert set(rows.table["split"]) == {"train", "val", "test"}
    assert (rows.table.groupby("group")["split"].nunique() == 1).all()
