import json
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cellml.data import cache, decode
from cellml.data.geometry import fit


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    shapes = [(12, 9, 3), (20, 20, 3), (12, 9, 3), (5, 30, 3), (20, 20, 3)]
    arrays = [rng.integers(0, 256, s, dtype=np.uint8) for s in shapes]
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(tmp_path / f"{number}.png")
    return arrays


@pytest.fixture
def pixels(tmp_path, images):
    return decode.build(_table(len(images)), tmp_path, tmp_path / "cache").pixels


def _table(count):
    files = [f"{n}.png" for n in range(count)]
    return pd.DataFrame({"id": files, "file": files})


def _build(root):
    decoded = decode.build(_table(5), root, root / "cache")
    return str(decoded.pixels.folder), decoded.hashes.tolist(), [int(i.sum()) for i in decoded.pixels.images(range(5))]


def test_gives_the_pixels_read_only(pixels, images):
    assert len(pixels) == 5
    assert (pixels.dtype, pixels.channels) == ("uint8", 3)
    for array, read in zip([images[3], images[0]], pixels.images([3, 0]), strict=True):
        assert np.array_equal(array, read)
    with pytest.raises(ValueError, match="read-only"):
        pixels[0][:] = 0


def test_pickles_as_a_path(pixels, images):
    content = pickle.dumps(pixels)
    assert len(content) < 500
    assert np.array_equal(pickle.loads(content)[1], images[1])


@pytest.mark.parametrize("crop", [None, 10])
def test_resized_is_what_the_model_would_make_of_each(pixels, images, crop):
    rows = [4, 0, 3, 0]
    expected = [fit(torch.from_numpy(images[r])[None], crop, 14)[0].permute(1, 2, 0).numpy() for r in rows]
    got = pixels.resized(crop, 14, rows)
    assert got.dtype == np.uint8
    assert np.array_equal(got, np.stack(expected))


def test_resized_is_computed_once_and_leaves_torchs_threads_alone(pixels, monkeypatch):
    threads = torch.get_num_threads()
    first = pixels.resized(None, 8, np.arange(5))
    assert torch.get_num_threads() == threads
    monkeypatch.setattr(cache.geometry, "fit", None)
    assert np.array_equal(cache.PixelCache(pixels.folder).resized(None, 8, [2]), first[2:3])
    assert not list(pixels.folder.glob("*.tmp"))


def test_processes_that_build_at_once_share_one_cache(tmp_path, images):
    with ProcessPoolExecutor(3, mp_context=get_context("fork")) as pool:
        results = list(pool.map(_build, [tmp_path] * 3))
    assert results[0] == results[1] == results[2]
    assert len(list((tmp_path / "cache" / "pixels").iterdir())) == 1


def test_publish_keeps_the_first_and_old_leftovers_go(tmp_path):
    final = tmp_path / "caches" / "key"
    first, second = cache.temporary_beside(final), cache.temporary_beside(final)
    (first / "a").write_text("first")
    (second / "a").write_text("second")
    cache.publish(first, final)
    cache.publish(second, final)
    assert (final / "a").read_text() == "first"
    young, old = cache.temporary_beside(final), cache.temporary_beside(final)
    os.utime(old, (time.time() - 2 * cache.STALE_SECONDS,) * 2)
    cache.temporary_beside(final)
    assert young.exists()
    assert not old.exists()


def test_the_folder_is_given_or_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLML_CACHE", str(tmp_path / "env"))
    assert cache.folder(tmp_path) == tmp_path
    assert cache.folder(None) == tmp_path / "env"
    monkeypatch.delenv("CELLML_CACHE")
    monkeypatch.chdir(tmp_path)
    assert cache.folder(None) == tmp_path / ".cellml-cache"


READ = """
import resource, sys
from cellml.data import cache as module
module.RESIDENT_BYTES = 16 << 20
cache = module.PixelCache(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
total = sum(int(cache[row].max()) for row in range(len(cache)))
print(total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_reading_all_of_a_large_cache_does_not_keep_it_in_memory(tmp_path):
    side, count = 1024, 120  # 120 MB, of which the file system stores nothing
    with open(tmp_path / "pixels.bin", "wb") as file:
        file.truncate(side * side * count)
    (tmp_path / "meta.json").write_text(json.dumps({"dtype": "uint8", "channels": 1}))
    offsets = np.arange(count, dtype=np.int64) * side * side
    np.savez(tmp_path / "index.npz", offsets=offsets, shapes=np.full((count, 3), [side, side, 1]))
    done = subprocess.run([sys.executable, "-c", READ, str(tmp_path)], capture_output=True, text=True, check=True)
    total, kilobytes = map(int, done.stdout.split())
    assert total == 0
    assert kilobytes < 40_000
