import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cellml import config
from cellml.config import Split
from cellml.data import checks, images, prepare
from cellml.data.manifest import Manifest
from cellml.errors import UserError

AMI = {
    "source": "table",
    "table": "AMI-BR.csv",
    "file": "images/{class}/{dataset}_{uid}.png",
    "label": "majority_atypical",
    "classes": {"False": "Normal", "True": "Atypical"},
    "group": ["dataset", "slide"],
    "split": {"table": "train_split.csv", "match": ["dataset", "uid"]},
}


def _experiment(root=None, drawn=None, **data):
    tree = {"name": "t", "data": data | ({"path": str(root)} if root else {}), "split": drawn or {}}
    return config.parse(tree)


def _cells(root, names, size=9):
    rng = np.random.default_rng(len(names))
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(root / name)


def _table(labels, splits, groups=None):
    ids = [f"r{n:03d}" for n in range(len(labels))]
    return pd.DataFrame({"id": ids, "label": labels, "group": groups or ids, "split": splits, "pixels": ids})


@pytest.fixture
def folder(tmp_path):
    _cells(tmp_path / "cells", [f"{c}/{n}.png" for c in "AB" for n in range(20)])
    return tmp_path / "cells"


def test_a_folder_becomes_a_data_set(folder, tmp_path):
    data = prepare.prepare(_experiment(folder), tmp_path / "cache")
    table = data.manifest.table
    assert list(table.columns) == ["id", "file", "label", "group", "split", "pixels", "row"]
    assert data.manifest.counts == {"A": 20, "B": 20}
    for split, each in [("train", 13), ("val", 3), ("test", 4)]:
        assert data.manifest.split(split).counts == {"A": each, "B": each}
    for row, file in zip(table["row"], table["file"], strict=True):
        assert np.array_equal(data.pixels[row], np.asarray(Image.open(folder / file)))
    assert data.report.digest == data.manifest.digest


def test_again_it_is_the_same_and_nothing_is_checked_twice(folder, tmp_path, monkeypatch):
    (folder / "A" / "bad.png").write_bytes(b"")
    first = prepare.prepare(_experiment(folder), tmp_path / "cache", progress=True)
    monkeypatch.setattr(checks, "check", None)
    again = prepare.prepare(_experiment(folder), tmp_path / "cache")
    pd.testing.assert_frame_equal(first.manifest.table, again.manifest.table)
    assert first.report == again.report
    assert [p.ids for p in again.report.problems if p.kind == "unreadable"] == [("A/bad.png",)]


def test_bad_images_are_skipped_or_stop_it(folder, tmp_path):
    (folder / "A" / "bad.png").write_bytes(b"")
    Image.new("L", (9, 9), 3).save(folder / "B" / "flat.png")
    data = prepare.prepare(_experiment(folder), tmp_path)
    assert data.manifest.counts == {"A": 20, "B": 20}
    with pytest.raises(UserError, match=r"A/bad.png.*\(2 bad images in all\).*data.on_bad_image: skip"):
        prepare.prepare(_experiment(folder, on_bad_image="error"), tmp_path)


def test_a_class_without_a_readable_image_is_an_error(folder, tmp_path):
    (folder / "C").mkdir()
    (folder / "C" / "x.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"readable images of class 'C', found none: C/x.png"):
        prepare.prepare(_experiment(folder), tmp_path)


def test_copies_are_kept_on_one_side(folder, tmp_path):
    for n in range(3, 20, 2):
        (folder / "A" / f"{n}.png").write_bytes((folder / "A" / f"{n - 1}.png").read_bytes())
    for seed in range(3):
        data = prepare.prepare(_experiment(folder, {"seed": seed}), tmp_path / "cache")
        assert (data.manifest.table.groupby("pixels")["split"].nunique() == 1).all()
        assert "identical across splits" not in {p.kind for p in data.report.problems}


def test_missing_path_and_folder(tmp_path):
    with pytest.raises(UserError, match=r"data.path, found none; set it, or give -P data=FOLDER"):
        prepare.prepare(_experiment(), tmp_path)
    with pytest.raises(UserError, match=r"folder of images at .*absent, found nothing"):
        prepare.prepare(_experiment(tmp_path / "absent"), tmp_path)
    with pytest.raises(UserError, match="did you mean 'table'"):
        prepare.prepare(_experiment(tmp_path, source="tables"), tmp_path)


def test_simulated_cells_need_no_folder_and_keep_slides_whole(tmp_path):
    options = {"count": 60, "size": 24, "slides": 8}
    data = prepare.prepare(_experiment(source="simulated", options=options), tmp_path)
    assert (data.manifest.table.groupby("group")["split"].nunique() == 1).all()
    assert set(data.manifest.table["split"]) == {"train", "val", "test"}
    assert (data.manifest.table["mask"] != "").all()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("AB"), st.sampled_from(["", "", "train", "val", "test"]), st.integers(0, 12)),
        min_size=30,
        max_size=60,
    ),
    st.integers(0, 3),
)
def test_given_splits_stay_and_drawn_ones_keep_groups_whole(rows, seed):
    labels, given_splits, groups = (list(column) for column in zip(*rows, strict=True))
    groups = [f"{g}{s}" for g, s in zip(groups, given_splits, strict=True)]  # the source divides none
    try:
        names, _ = prepare.assign(_table(labels, given_splits, groups), Split(seed=seed))
    except UserError as error:
        assert "at least 2 groups" in str(error) or "lower split.test" in str(error)  # noqa: PT017
        return
    assert set(names) == {"train", "val", "test"}
    drawn_test = "test" not in given_splits
    for before, after in zip(given_splits, names, strict=True):
        if before in ("val", "test"):
            assert after == before
        elif before == "train" and not (drawn_test and "" not in given_splits):
            assert after == "train" or "val" not in given_splits
    assert pd.Series(names).groupby(groups).nunique().max() == 1


def test_shares_are_of_what_they_say():
    labels = ["A", "B"] * 100
    names, problems = prepare.assign(_table(labels, [""] * 200), Split(validation=0.25, test=0.2))
    assert pd.Series(names).value_counts().to_dict() == {"train": 120, "val": 40, "test": 40}
    assert problems == []
    names, problems = prepare.assign(_table(labels, ["train"] * 150 + ["val"] * 50), Split(test=0.3))
    assert pd.Series(names).value_counts().to_dict() == {"train": 90, "val": 50, "test": 60}
    assert [p.kind for p in problems] == ["no test split"]
    names, problems = prepare.assign(_table(labels, ["train"] * 150 + ["val"] * 50), Split(test=0))
    assert pd.Series(names).value_counts().to_dict() == {"train": 150, "val": 50}
    assert problems == []
    names, _ = prepare.assign(_table(labels, [""] * 180 + ["test"] * 20), Split(validation=0.1))
    assert pd.Series(names).value_counts().to_dict() == {"train": 162, "val": 18, "test": 20}


def test_the_draw_does_not_depend_on_the_order_of_rows():
    table = _table(["A", "B", "C"] * 30, [""] * 90, [f"g{n // 4}" for n in range(90)])
    names, _ = prepare.assign(table, Split())
    order = np.random.default_rng(0).permutation(90)
    shuffled, _ = prepare.assign(table.iloc[order].reset_index(drop=True), Split())
    assert np.array_equal(names[order], shuffled)


def test_no_training_rows_or_too_few_groups():
    with pytest.raises(UserError, match="Expected training rows"):
        prepare.assign(_table(["A", "B"] * 3, ["test"] * 6), Split())
    with pytest.raises(UserError, match=r"at least 2 groups .*found 1"):
        prepare.assign(_table(["A", "B"] * 3, [""] * 6, ["g"] * 6), Split())
    with pytest.raises(UserError, match="30% of the rows for testing, only 20% can be"):
        prepare.assign(_table(["A", "B"] * 5, ["train"] * 2 + ["val"] * 8), Split(test=0.3))


def test_real_breast_cancer_patches(real_data, tmp_path, monkeypatch):
    experiment = _experiment(real_data / "ami-br", **AMI)
    first = prepare.prepare(experiment, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(images, "read_image", lambda *_: pytest.fail("decoded again"))
        again = prepare.prepare(experiment, tmp_path)
    assert again.manifest.digest == first.manifest.digest
    assert first.manifest.counts == {"Normal": 2888, "Atypical": 832}
    assert len(first.manifest.split("test")) == 826
    assert len(first.manifest.split("train", "val")) == 2894
    assert first.manifest.split("test").table["group"].nunique() == 56
    assert first.manifest.split("train", "val").table["group"].nunique() == 146
    assert (first.manifest.table.groupby("group")["split"].nunique() == 1).all()
    share = first.manifest.split("val").counts
    assert share["Atypical"] / (832 - 184) == pytest.approx(0.2, abs=0.01)
    assert share["Normal"] / (2888 - 642) == pytest.approx(0.2, abs=0.01)


def test_real_flow_cytometry_images(real_data, tmp_path):
    data = prepare.prepare(_experiment(real_data / "jurkat"), tmp_path)
    assert (data.pixels.dtype, data.pixels.channels, len(data.manifest)) == ("uint16", 3, 3419)
    assert all(n > 0 for split in ("train", "val", "test") for n in data.manifest.split(split).counts.values())


def test_real_duplicates_are_found_and_kept_together(real_data, tmp_path):
    data = prepare.prepare(_experiment(real_data / "atnorm-br"), tmp_path)
    assert (data.manifest.table.groupby("pixels")["split"].nunique() == 1).all()
    assert {"contradictory labels", "identical images"} <= {p.kind for p in data.report.problems}


def test_votes_stay_with_the_rows_and_change_no_digest(tmp_path):
    _cells(tmp_path / "cells", [f"{n}.png" for n in range(30)])
    rng = np.random.default_rng(0)
    votes = {f"e{e}": rng.choice(["A", "B", ""], 30, p=[0.4, 0.4, 0.2]).tolist() for e in (1, 2, 3)}
    pd.DataFrame({"file": [f"{n}.png" for n in range(30)], **votes}).to_csv(tmp_path / "cells" / "t.csv", index=False)
    settings = {"source": "table", "table": "t.csv", "file": "file", "votes": ["e1", "e2", "e3"], "classes": ["A", "B"]}
    manifest = prepare.prepare(_experiment(tmp_path / "cells", **settings), tmp_path / "cache").manifest
    assert list(manifest.votes) == ["e1", "e2", "e3"]
    for expert, found in manifest.votes.items():
        given = [votes[expert][int(file.removesuffix(".png"))] for file in manifest.table["file"]]
        assert found.tolist() == [{"A": 0, "B": 1, "": -1}[name] for name in given]
    without = manifest.table.drop(columns=[f"votes:{expert}" for expert in votes])
    assert Manifest(without, manifest.classes).digest == manifest.digest
    assert Manifest(without, manifest.classes).votes == {}
    manifest.where(manifest.targets == 0).save(tmp_path / "m.parquet")
    assert (
        Manifest.load(tmp_path / "m.parquet").votes["e2"].tolist()
        == manifest.votes["e2"][manifest.targets == 0].tolist()
    )


def test_further_labels_stay_with_the_rows_and_change_no_digest(tmp_path):
    _cells(tmp_path / "cells", [f"{n}.png" for n in range(30)])
    table = {"file": [f"{n}.png" for n in range(30)], "label": list("AB") * 15, "phase": ["early", "late", ""] * 10}
    pd.DataFrame(table).to_csv(tmp_path / "cells" / "t.csv", index=False)
    settings = {"source": "table", "table": "t.csv", "file": "file", "label": "label"}
    plain = prepare.prepare(_experiment(tmp_path / "cells", **settings), tmp_path / "cache").manifest
    manifest = prepare.prepare(
        _experiment(tmp_path / "cells", **settings, auxiliary=["phase"]), tmp_path / "cache"
    ).manifest
    wanted = [table["phase"][int(file.removesuffix(".png"))] for file in manifest.table["file"]]
    assert manifest.auxiliary["phase"].tolist() == wanted
    assert plain.auxiliary == {}
    assert plain.digest == manifest.digest
    with pytest.raises(UserError, match="phas"):
        prepare.prepare(_experiment(tmp_path / "cells", **settings, auxiliary=["phas"]), tmp_path / "cache")


def _frames(sequences, groups=None, parents=None):
    """Six frames a sequence, of labels aabbbc; its own group unless named."""
    table = pd.DataFrame({"sequence": np.repeat(sequences, 6), "label": list("aabbbc") * len(sequences)}).astype(object)
    table["frame"] = np.tile(np.arange(6), len(sequences))
    table["id"] = table["pixels"] = table["sequence"] + "#" + table["frame"].astype(str)
    table["group"] = np.repeat(groups or sequences, 6)
    table["parent"] = np.repeat(parents or [""] * len(sequences), 6)
    return table.assign(split="")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), families=st.integers(4, 12))
def test_parents_and_daughters_never_part(seed, families):
    rng = np.random.default_rng(seed)
    names, parents = [], []
    for k in range(families):
        mother = f"m{k}"
        names.append(mother)
        parents.append("")
        if rng.random() < 0.7:
            names += [f"d{k}", f"e{k}"]
            parents += [mother, mother]
    names.append("f")  # a granddaughter
    parents.append(next((n for n in names if n[0] == "d"), ""))
    table = _frames(names, None, parents)
    split, _ = prepare.assign(table, Split(validation=0.3, test=0.3, seed=seed % 7))
    of = dict(zip(table["sequence"], split, strict=True))
    assert all(of[name] == of[mother] for name, mother in zip(names, parents, strict=True) if mother)
    assert (table.assign(s=split).groupby("sequence")["s"].nunique() == 1).all()
    assert {"train", "val", "test"} == set(split)


def test_families_with_many_labels_are_shared_out_evenly():
    table = _frames([f"s{n:02d}" for n in range(30)])
    split, _ = prepare.assign(table, Split(validation=0.25, test=0.2))
    counts = pd.crosstab(table["label"], split)
    assert counts["test"].tolist() == [12, 18, 6]
    assert counts["val"].tolist() == [12, 18, 6]


def test_simulated_movies_become_a_data_set(tmp_path):
    options = {"movies": 6, "frames": 20, "cells": 3, "size": 96}
    data = prepare.prepare(_experiment(source="simulated_movies", window=32, options=options, partial=True), tmp_path)
    manifest = data.manifest
    assert manifest.frames.max() == 19
    assert {data.pixels[row].shape for row in manifest.rows} == {(32, 32, 1)}
    assert (manifest.table.groupby("group")["split"].nunique() == 1).all()
    assert set(manifest.table["split"]) == {"train", "val", "test"}
    assert not [p for p in data.report.problems if p.kind in ("identical images", "family across splits")]


def test_a_sequence_with_an_unreadable_frame_is_left_out_whole(tmp_path):
    _cells(tmp_path / "m", [f"{cell}/{t}.png" for cell in "abc" for t in range(3)])
    (tmp_path / "m" / "b" / "1.png").write_bytes(b"nothing")
    (tmp_path / "m" / "t.csv").write_text("sequence,transcript\na,x>y\nb,x>y\nc,x>y\n")
    found = prepare.read(_experiment(tmp_path / "m", source="sequences", classes=["x", "y"]).data, tmp_path / "cache")
    assert set(found.manifest.table["sequence"]) == {"a", "c"}
    assert [p.ids for p in found.report.problems if p.kind == "incomplete sequence"] == [("b",)]


def test_frames_of_different_sizes_in_a_sequence_are_an_error(tmp_path):
    _cells(tmp_path / "m", [f"{cell}/{t}.png" for cell in "ab" for t in range(3)])
    _cells(tmp_path / "m", ["b/2.png"], size=11)
    (tmp_path / "m" / "t.csv").write_text("sequence,transcript\na,x>y\nb,x>y\n")
    with pytest.raises(UserError, match=r"frames of b of one size, found 9 x 9 pixels in b/0.png and 11 x 11 in b/2.p"):
        prepare.read(_experiment(tmp_path / "m", source="sequences", classes=["x", "y"]).data, tmp_path / "cache")
