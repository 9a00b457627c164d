import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from cellml.training import fit, folds, identity, kept
from tests.training.helpers import experiment

SETTINGS = {"train__folds": 3, "train__epochs": 1, "sampling__strategy": "augment_minority"}


class Stopped(Exception):
    pass


def stop(number, fitted):
    if number == 2:
        raise Stopped


def test_a_stopped_cross_validation_continues_with_what_is_left(tiny, tmp_path, monkeypatch):
    settings, rows, place = experiment(**SETTINGS), tiny.manifest.split("train", "val"), tmp_path / "folds"
    whole = folds.cross_validate(settings, tiny, rows, progress=False)
    with pytest.raises(Stopped):
        folds.cross_validate(settings, tiny, rows, progress=False, place=place, on_fold=stop)
    seeds, seen = [], []
    monkeypatch.setattr(folds, "fit", lambda *given, **more: seeds.append(given) or fit.fit(*given, **more))
    done = folds.cross_validate(
        settings, tiny, rows, progress=False, place=place, on_fold=lambda number, _: seen.append(number)
    )
    assert (len(seeds), seen) == (1, [1, 2, 3])
    np.testing.assert_array_equal(done.predictions.probabilities, whole.predictions.probabilities)
    for ours, theirs in zip(done.fits, whole.fits, strict=True):
        assert json.dumps(ours.history) == json.dumps(theirs.history)
        assert (ours.counts, ours.notes, ours.best_epoch) == (theirs.counts, theirs.notes, theirs.best_epoch)
        assert [text for text, _ in ours.synthetic] == [text for text, _ in theirs.synthetic] != []
        for (_, some), (_, others) in zip(ours.synthetic, theirs.synthetic, strict=True):
            assert [image.tobytes() for image in some] == [image.tobytes() for image in others]
        torch.testing.assert_close(ours.classifier.state_dict(), theirs.classifier.state_dict(), rtol=0, atol=0)


def test_what_would_change_a_fit_is_kept_elsewhere(tiny):
    rows, own = tiny.manifest.split("train", "val"), experiment(**SETTINGS)
    network = fit.fit(own, tiny, train=rows, validation=None, progress=False).classifier
    other = fit.fit(own.replace({"train.seed": 1}), tiny, train=rows, validation=None, progress=False).classifier
    places = [
        kept.folder(own, tiny, rows, None, None),
        kept.folder(own.replace({"train.lr": 0.002}), tiny, rows, None, None),
        kept.folder(own, tiny, rows.where(np.arange(len(rows) - 1)), None, None),
        kept.folder(own, tiny, rows, network, None),
        kept.folder(own, tiny, rows, None, network),
        kept.folder(own, tiny, rows, other, None),
    ]
    further = tiny.manifest.with_column("auxiliary:x", np.arange(len(tiny.manifest)).astype(str))
    places += [
        kept.folder(own, tiny, further.split("train", "val"), None, None),
        kept.folder(own, tiny, rows.where(np.arange(len(rows))[::-1]), None, None),
    ]
    assert len(set(places)) == len(places)
    assert identity.key(own, [rows, None], []) != identity.key(own, [rows, None], [], 3)
    assert places[0] == kept.folder(own.replace({"train.threads": 1}), tiny, rows, None, None)


def test_half_written_fits_do_not_count(tiny, tmp_path, monkeypatch, caplog):
    rows = tiny.manifest.split("train")
    fitted = fit.fit(experiment(train__epochs=1), tiny, train=rows, validation=None, progress=False)
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    kept.save(fitted, tmp_path / "1")
    assert "no fit could be kept" in caplog.text
    assert "disk full" in caplog.text
    assert list(tmp_path.iterdir()) == []
    assert kept.load(tmp_path / "1") is None


def test_a_damaged_fit_is_done_anew(tiny, tmp_path, caplog):
    rows = tiny.manifest.split("train")
    fitted = fit.fit(experiment(train__epochs=1), tiny, train=rows, validation=None, progress=False)
    kept.save(fitted, tmp_path / "1")
    kept.save(fitted, tmp_path / "1")  # another process was first
    assert kept.load(tmp_path / "1").history == fitted.history
    (tmp_path / "1" / "fit.json").write_text("{")
    assert kept.load(tmp_path / "1") is None
    assert "cannot be read, it is done anew" in caplog.text
    kept.save(fitted, tmp_path / "1")
    assert kept.load(tmp_path / "1").history == fitted.history


def test_what_was_left_for_long_is_removed(tiny):
    rows, own = tiny.manifest.split("train", "val"), experiment(**SETTINGS)
    old, new = (kept.folder(own.replace({"train.seed": seed}), tiny, rows) for seed in (7, 8))
    for place in (old, new):
        (place / "1.running").mkdir(parents=True)
    then = time.time() - kept.STALE_SECONDS - 60
    for path in (old / "1.running", old, new):
        os.utime(path, (then, then))
    assert kept.folder(own.replace({"train.seed": 7}), tiny, rows).exists()  # is about to be gone on with
    assert kept.folder(own, tiny, rows).parent == old.parent
    assert [place.exists() for place in (old, new)] == [False, True]
