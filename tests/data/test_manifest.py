import pandas as pd

from cellml.data.manifest import Manifest


def frames(labels, transcripts=None):
    """One sequence a key, a frame a letter; "." has no label."""
    rows = [
        (f"{name}#{n}", "f", label.strip("."), name, "", "", n, name, n)
        for name, text in labels.items()
        for n, label in enumerate(text)
    ]
    table = pd.DataFrame(rows, columns=["id", "file", "label", "group", "split", "pixels", "row", "sequence", "frame"])
    if transcripts:
        table["transcript"] = table["sequence"].map(transcripts)
    return Manifest(table.sample(frac=1, random_state=0), ("a", "b", "c"))


def test_transcripts_are_distinct_consecutive_labels():
    manifest = frames({"s": "aabbba", "t": "cc", "u": "a.b"})
    assert manifest.transcripts == {"s": (0, 1, 0), "t": (2,)}


def test_given_transcripts_come_first():
    manifest = frames({"s": "....", "t": "aab"}, {"s": "a>c", "t": "a>b>c"})
    assert manifest.transcripts == {"s": (0, 2), "t": (0, 1, 2)}


def test_images_have_no_transcripts():
    manifest = frames({"s": "ab"})
    assert Manifest(manifest.table.drop(columns=["sequence", "frame"]), manifest.classes).transcripts == {}


def test_the_window_is_the_side_that_all_boxes_share():
    boxes = pd.DataFrame({"x0": [-3, 5], "y0": [0, 7], "x1": [29, 37], "y1": [32, 39]})
    rows = frames({"s": "ab"})
    assert rows.window is None
    table = rows.table.assign(**boxes)
    assert Manifest(table, rows.classes).window == 32
    assert Manifest(table.assign(x1=[29, 36]), rows.classes).window is None
    assert Manifest(table.assign(y1=[33, 40]), rows.classes).window is None
