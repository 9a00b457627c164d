import numpy as np
import pytest
from PIL import Image

from cellml import config
from cellml.config import Data
from cellml.data import external, prepare
from cellml.errors import UserError


def write(root, label, number, seed, size=12, split=""):
    folder = root / split / label
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.fixture
def own(tmp_path):
    """24 images of random pixels, of which training and validation hold those of known seeds."""
    for number in range(12):
        write(tmp_path / "own", "a", number, seed=number)
        write(tmp_path / "own", "b", number, seed=100 + number)
    experiment = config.parse({"name": "t", "data": {"path": str(tmp_path / "own")}, "split": {"test": 0.25}})
    return prepare.prepare(experiment, tmp_path / "cache")


def seeds(own, *splits):
    table = own.manifest.split(*splits).table
    return [int(file.split("/")[1][:-4]) + (100 if file.startswith("b") else 0) for file in table["file"]]


def test_copies_contradictions_and_training_images_are_left_out_and_counted(own, tmp_path):
    there = tmp_path / "there"
    trained, tested = seeds(own, "train", "val"), seeds(own, "test")
    for number, seed in enumerate([1000, 1001, 1001, 1001, 1002, 1003, trained[0], tested[0]]):
        write(there, "a", number, seed)
    for number, seed in enumerate([1002, 1002, 1004, trained[1], trained[1], 1005]):
        write(there, "b", number, seed)
    found = external.prepare("there", Data(path=str(there)), own, tmp_path / "cache")
    kept = sorted(found.manifest.table["file"])
    assert kept == ["a/0.png", "a/1.png", "a/5.png", "a/7.png", "b/2.png", "b/5.png"]
    assert list(found.left_out.values()) == [3, 3, 2]  # two classes; trained on, whichever class; further copies
    assert set(found.manifest.table["split"]) == {"test"}
    lines = list(found.lines())
    assert lines[0].startswith("6 images (a 4, b 2), digest ")
    assert any("own test images: 1 image" in line for line in lines)
    assert any("No groups" in line for line in lines)
    assert not any("turned" in line or "pixels a side" in line for line in lines)


def test_named_splits_leave_their_test_rows(own, tmp_path):
    for number in range(3):
        write(tmp_path / "there", "a", number, 2000 + number, split="train")
        write(tmp_path / "there", "b", number, 2010 + number, split="train")
        write(tmp_path / "there", "a", number, 2020 + number, split="test")
        write(tmp_path / "there", "b", number, 2030 + number, split="test")
    found = external.prepare("there", Data(path=str(tmp_path / "there")), own, tmp_path / "cache")
    assert len(found.manifest) == 6
    assert found.manifest.table["file"].str.startswith("test/").all()


def test_labels_are_mapped_to_the_models_classes_in_their_order(own, tmp_path):
    for number in range(3):
        write(tmp_path / "there", "Zweite", number, 3000 + number)
        write(tmp_path / "there", "erste", number, 3010 + number)
    data = Data(path=str(tmp_path / "there"), classes={"Zweite": "b", "erste": "a"})
    found = external.prepare("there", data, own, tmp_path / "cache")
    assert found.manifest.classes == ("a", "b")
    assert found.manifest.counts == {"a": 3, "b": 3}
    assert found.manifest.targets.tolist() == [1 if f.startswith("Z") else 0 for f in found.manifest.table["file"]]


def test_a_mapping_may_leave_classes_out_on_both_sides(tmp_path, own):
    write(tmp_path / "three", "x", 0, 1)
    whole = config.parse({"name": "t", "data": {"path": str(tmp_path / "three")}})
    for label in "abc":
        for number in range(6):
            write(tmp_path / "three", label, number, 400 + 10 * ord(label) + number)
    (tmp_path / "three" / "x" / "0.png").unlink()
    three = prepare.prepare(whole, tmp_path / "cache")
    for label in "abz":
        write(tmp_path / "there", label, 0, 900 + ord(label))
    data = Data(path=str(tmp_path / "there"), classes=["a", "b"], unlisted="drop")
    found = external.prepare("there", data, three, tmp_path / "cache")
    assert found.manifest.counts == {"a": 1, "b": 1, "c": 0}
    assert any("no image of class c" in line for line in found.lines())
    with pytest.raises(UserError, match=r"compare\.external\.there: .*'z' is none of them"):
        external.prepare("there", Data(path=str(tmp_path / "there")), three, tmp_path / "cache")


def test_a_set_of_one_class_is_scored_when_the_classes_are_listed(own, tmp_path):
    for number in range(3):
        write(tmp_path / "there", "b", number, 700 + number)
    data = Data(path=str(tmp_path / "there"), classes=["a", "b"])
    found = external.prepare("there", data, own, tmp_path / "cache")
    assert found.manifest.counts == {"a": 0, "b": 3}
    assert any("no image of class a" in line for line in found.lines())


@pytest.mark.parametrize(
    ("labels", "data", "said"),
    [
        ("ax", {}, r"Expected the classes \['a', 'b'\], got \['a', 'x'\]: 'x' is none of them"),
        ("ab", {"classes": {"a": "a", "c": "b"}}, "Expected a label listed in data.classes, found 'b'"),
        ("ab", {"channels": [0]}, "3-channel uint8 images as in training, got 1-channel uint8"),
        ("ab", {"source": "tabel"}, "Expected a source, got 'tabel'"),
        ("a", {}, r"Expected the classes \['a', 'b'\], got \['a'\]; list in classes those that are meant"),
        ("a", {"classes": ["x"], "unlisted": "drop"}, r"Expected rows of the classes \['x'\] in .*, found none"),
    ],
)
def test_what_does_not_fit_is_one_line_that_names_the_set(own, tmp_path, labels, data, said):
    for label in labels:
        write(tmp_path / "there", label, 0, 4000 + ord(label))
    with pytest.raises(UserError, match=said) as error:
        external.prepare("there", Data(path=str(tmp_path / "there"), **data), own, tmp_path / "cache")
    assert str(error.value).startswith("compare.external.there: ")
    assert "\n" not in str(error.value)


def test_a_set_of_training_images_alone_is_refused(own, tmp_path):
    a, b = (next(s for s in seeds(own, "train") if (s >= 100) == rare) for rare in (False, True))
    write(tmp_path / "there", "a", 0, a)
    write(tmp_path / "there", "b", 0, b)
    with pytest.raises(UserError, match="none of 2 is left: identical to a training"):
        external.prepare("there", Data(path=str(tmp_path / "there")), own, tmp_path / "cache")


def test_other_sizes_and_turned_training_images_are_noted(own, tmp_path):
    for label in "ab":
        for number in range(3):
            write(tmp_path / "small", label, number, 5000 + ord(label) + 10 * number, size=7)
    notes = external.prepare("small", Data(path=str(tmp_path / "small")), own, tmp_path / "cache").notes
    assert any(note.startswith("Its images are 7 pixels a side, training images 12") for note in notes)
    for label, number in (("a", 0), ("b", 1)):
        write(tmp_path / "turned", label, number, 6000 + number)
    file = own.manifest.split("train").table["file"].iloc[0]
    turned = Image.open(own.root / file).transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "turned" / file[0] / "9.png")
    found = external.prepare("turned", Data(path=str(tmp_path / "turned")), own, tmp_path / "cache")
    assert len(found.manifest) == 3
    assert any("turned, flipped or re-encoded: 1 image," in note for note in found.notes)


def test_folders_find_the_set_of_their_name():
    named = {"one": Data(classes=["a", "b"]), "two": Data(source="table")}
    found = external.placed(named, ["/x/two", "s3://bucket/three/"])
    assert found["two"] == Data(source="table", path="/x/two")
    assert found["three"] == Data(path="s3://bucket/three/")
    assert list(external.given(found)) == ["two", "three"]
    only = external.placed({"one": named["one"]}, ["/x/other"])
    assert only == {"one": Data(classes=["a", "b"], path="/x/other")}
    assert external.placed({}, ["/x/a", "/x/b"]).keys() == {"a", "b"}
    with pytest.raises(UserError, match="'a' twice"):
        external.placed({}, ["/x/a", "/y/a"])


def test_atnorm_br_without_its_copies(real_data, tmp_path, own):
    """By hashes of the files' pixels: 746 images, 26 sets of identical ones, some of them in both classes."""
    labels: dict[bytes, set[str]] = {}
    for path in (real_data / "atnorm-br" / "images").rglob("*.png"):
        labels.setdefault(Image.open(path).convert("RGB").tobytes(), set()).add(path.parent.name)
    alike = own.manifest.table.replace({"label": {"a": "Normal", "b": "Atypical"}})
    renamed = prepare.Dataset(type(own.manifest)(alike, ("Normal", "Atypical")), own.pixels, own.report)
    found = external.prepare("atnorm", Data(path=str(real_data / "atnorm-br")), renamed, tmp_path / "cache")
    clear = [next(iter(names)) for names in labels.values() if len(names) == 1]
    assert found.manifest.counts == {name: clear.count(name) for name in ("Normal", "Atypical")}
    assert sum(found.left_out.values()) == 746 - len(clear)
