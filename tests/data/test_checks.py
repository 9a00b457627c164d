import json

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from cellml.data import checks
from cellml.data.manifest import Manifest


def picture(seed, side=24):
    rough = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side, 1)), (1.5, 1.5, 0))
    return ((rough - rough.min()) / np.ptp(rough) * 255).astype(np.uint8)


def dataset(rows, images=None, classes=("a", "b")):
    """Rows of (label, split, group, picture); equal pictures have equal pixels."""
    table = pd.DataFrame(rows, columns=["label", "split", "group", "picture"])
    table["id"] = [f"{i:03d}.png" for i in range(len(table))]
    table["file"], table["row"] = table["id"], np.arange(len(table))[::-1]
    table["pixels"] = [f"{p:032x}" for p in table["picture"]]
    images = images or {}
    pixels = [images[p] if p in images else picture(p) for p in table["picture"]][::-1]
    return Manifest(table.drop(columns="picture"), classes), pixels


def clean(per_class=12):
    rows, number = [], 0
    for split in ("train", "val", "test"):
        for label in ("a", "b"):
            for _ in range(per_class):
                rows.append((label, split, f"g{number}", number))
                number += 1
    return rows


def kinds(report):
    return {problem.kind for problem in report.problems}


def only(report, kind):
    (problem,) = [p for p in report.problems if p.kind == kind]
    return problem


def test_sound_data_has_no_problems():
    report = checks.check(*dataset(clean()))
    assert report.problems == []
    assert report.counts == {s: {"a": 12, "b": 12} for s in ("train", "val", "test")}
    assert report.groups == {"train": 24, "val": 24, "test": 24}
    assert report.identical == report.similar == []
    assert len(report.lines()) == 3


def test_identical_images_across_splits_are_a_warning_that_names_both():
    rows = clean()
    rows[30] = ("a", "val", "g30", 3)
    report = checks.check(*dataset(rows))
    assert kinds(report) == {"identical across splits"}
    problem = only(report, "identical across splits")
    assert problem.ids == ("003.png", "030.png")
    assert "003.png in train = 030.png in val" in problem.message
    assert problem in report.warnings
    assert report.identical == [("003.png", "030.png")]
    assert report.similar == []


def test_one_image_in_two_classes_is_contradictory():
    rows = clean()
    rows[13] = ("b", "train", "g13", 0)
    report = checks.check(*dataset(rows))
    assert kinds(report) == {"contradictory labels"}
    assert "000.png as a = 013.png as b" in only(report, "contradictory labels").message


def test_identical_images_in_one_split_and_class_are_a_note():
    rows = clean()
    rows[1] = ("a", "train", "g1", 0)
    report = checks.check(*dataset(rows))
    assert kinds(report) == {"identical images"}
    assert [p.kind for p in report.notes] == ["identical images"]
    assert not report.warnings


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["train", "val", "test"]), st.integers(0, 8)), min_size=1)
)
def test_sets_of_identical_images_are_those_of_brute_force(rows):
    manifest, pixels = dataset([(label, split, "g", number) for label, split, number in rows])
    report = checks.check(manifest, pixels)
    expected = {frozenset(i for i, r in enumerate(rows) if r[2] == number) for number in {r[2] for r in rows}}
    expected = {s for s in expected if len(s) > 1}
    assert {frozenset(int(i[:3]) for i in ids) for ids in report.identical} == expected
    found = {p.kind: {int(i[:3]) for i in p.ids} for p in report.problems if p.ids}

    def members(condition):
        return {i for s in expected if condition(s) for i in s}

    assert found.get("contradictory labels", set()) == members(lambda s: len({rows[i][0] for i in s}) > 1)
    assert found.get("identical across splits", set()) == members(lambda s: len({rows[i][1] for i in s}) > 1)
    assert found.get("identical images", set()) == members(lambda s: len({rows[i][:2] for i in s}) == 1)


def test_a_turned_copy_in_another_split_is_a_near_duplicate():
    rows = clean()
    images = {70: np.rot90(picture(5))[:, ::-1].copy()}
    rows[70] = ("b", "test", "g70", 70)
    report = checks.check(*dataset(rows, images))
    assert kinds(report) == {"near-duplicates across splits"}
    problem = only(report, "near-duplicates across splits")
    assert problem.ids == ("005.png", "070.png")
    assert "005.png in train ~ 070.png in test" in problem.message
    ((first, second, correlation),) = report.similar
    assert (first, second) == ("005.png", "070.png")
    assert correlation > 0.99


def test_groups_in_several_splits_are_named():
    rows = clean()
    for n in (0, 1, 40):
        rows[n] = (*rows[n][:2], "slide 7", rows[n][3])
    report = checks.check(*dataset(rows))
    problem = only(report, "group across splits")
    assert "1 group stands in several splits ('slide 7' in train and val)" in problem.message
    assert problem.ids == ("000.png", "001.png", "040.png")
    assert report.grouped


def test_missing_and_small_classes():
    rows = [r for r in clean() if not (r[0] == "b" and r[1] == "train")][:-9]
    report = checks.check(*dataset(rows))
    assert [p.kind for p in report.errors] == ["class absent from training"]
    assert "'b'" in report.errors[0].message
    few = only(report, "few images")
    assert "Class 'b' has only 3 images in test" in few.message
    assert len(few.ids) == 3
    rows = [r for r in clean() if not (r[0] == "a" and r[1] == "val")]
    report = checks.check(*dataset(rows))
    assert [p.kind for p in report.warnings] == ["class absent"]
    assert "no image in val" in report.warnings[0].message


def test_images_without_content():
    rows = clean()
    images = {4: np.full((24, 24, 1), 9, np.uint8), 9: (picture(9) // 100 + 30).astype(np.uint8)}
    report = checks.check(*dataset(rows, images))
    assert only(report, "constant image").ids == ("004.png",)
    assert only(report, "nearly empty image").ids == ("009.png",)


def test_rows_that_are_not_split_yet_are_checked_too():
    rows = [(label, "", group, n) for label, _, group, n in clean()]
    rows[5] = ("a", "", "g5", 1)
    report = checks.check(*dataset(rows))
    assert kinds(report) == {"identical images"}
    assert list(report.counts) == [""]
    assert report.lines()[0].startswith("not split: 72 images")


def test_every_message_is_one_line_with_a_remedy():
    rows = clean()[:-9]
    rows[30] = ("b", "val", "g2", 3)
    rows[1] = ("a", "train", "g1", 0)
    images = {4: np.full((24, 24, 1), 9, np.uint8), 50: np.rot90(picture(7)).copy()}
    report = checks.check(*dataset(rows, images, classes=("a", "b", "c")))
    assert len(kinds(report)) >= 8
    for problem in report.problems:
        assert "\n" not in problem.message
        assert any(word in problem.message for word in ("delete", "add", "keep", "change"))
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()


def test_an_empty_manifest_is_reported_not_refused():
    manifest, pixels = dataset(clean())
    report = checks.check(manifest.where(np.zeros(len(manifest), bool)), pixels)
    assert report.problems == []
    assert report.to_dict()["images"] == 0


def real(folder):
    files = sorted((folder / "images").glob("*/*.png"))
    images = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    codes = {}
    table = pd.DataFrame({"id": [f"{f.parent.name}/{f.name}" for f in files], "label": [f.parent.name for f in files]})
    table["file"] = table["group"] = table["id"]
    table["split"] = np.random.default_rng(0).choice(["train", "val", "test"], len(files), p=[0.6, 0.2, 0.2])
    table["pixels"] = [f"{codes.setdefault(image.tobytes(), len(codes)):032x}" for image in images]
    table["row"] = np.arange(len(files))
    return Manifest(table, ("Atypical", "Normal")), images


def test_the_known_copies_of_atnorm_br_are_found(real_data):
    report = checks.check(*real(real_data / "atnorm-br"))
    assert len(report.identical) >= 26
    torn = only(report, "contradictory labels")
    assert {"Atypical/428.png", "Normal/425.png"} <= set(torn.ids)
    assert "identical across splits" in kinds(report)
    assert report.similar == []


def test_thousands_of_look_alike_images_raise_no_false_alarm(real_data):
    manifest, images = real(real_data / "ami-br")
    report = checks.check(manifest, images)
    assert report.problems == []


def movie(rows, **columns):
    """As `dataset`, of frames: rows of (sequence, parent, split, group, picture), every second frame of class b."""
    manifest, pixels = dataset([("ab"[n % 2], split, group, look) for n, (_, _, split, group, look) in enumerate(rows)])
    table = manifest.table.assign(sequence=[row[0] for row in rows], parent=[row[1] for row in rows], **columns)
    table["frame"] = table.groupby("sequence").cumcount()
    return Manifest(table, manifest.classes), pixels


def test_frames_of_one_cell_may_be_alike():
    rows = [(f"s{n // 4}", "", ("train", "val", "test")[n % 12 // 4], f"g{n // 4}", n // 4) for n in range(48)]
    report = checks.check(*movie(rows))
    assert kinds(report) == {"few images"} or kinds(report) == set()
    assert report.identical == []
    assert report.lines()[0].startswith("train: 16 frames in 4 groups")


def test_copies_of_frames_across_groups_are_told_once_a_pair_of_cells():
    rows = [("s", "", "train", "g", n) for n in range(30)] + [("t", "", "val", "h", n) for n in range(30)]
    report = checks.check(*movie(rows))
    assert len(report.identical) == 30
    noise = np.random.default_rng(0)
    images = {
        n + 100: np.clip(picture(n) + noise.integers(-2, 3, (24, 24, 1)), 0, 255).astype(np.uint8) for n in range(30)
    }
    rows = [("s", "", "train", "g", n) for n in range(30)] + [("t", "", "val", "h", n + 100) for n in range(30)]
    manifest, _ = movie(rows)
    pixels = [images.get(row[4], picture(row[4])) for row in rows][::-1]
    assert len(checks.check(manifest, pixels).similar) == 1
    assert len(checks.check(manifest.images, pixels).similar) > 20


def test_mothers_and_daughters_in_different_splits_are_told():
    rows = [
        ("m", "", "train", "m", 1),
        ("a", "m", "train", "a", 2),
        ("b", "m", "val", "b", 3),
        ("c", "", "test", "c", 4),
    ]
    found = only(checks.check(*movie(rows)), "family across splits")
    assert "1 daughter" in found.message
    assert "m in train and b in val" in found.message
    assert found.ids == ("002.png",)


def test_a_class_of_which_only_the_order_is_known_is_there():
    rows = [(f"s{n}", "", s, f"g{n}", n) for n, s in enumerate(["train"] * 12 + ["val"] * 12 + ["test"] * 12)]
    manifest, pixels = movie(rows)
    table = manifest.table.assign(label="")
    assert "class absent" in kinds(checks.check(Manifest(table, ("a", "b")), pixels))
    known = table.assign(transcript="a>b")
    assert checks.check(Manifest(known, ("a", "b")), pixels).errors == []
