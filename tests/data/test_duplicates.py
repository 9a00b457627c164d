import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from cellml.data import duplicates

VIEWS = [lambda a, k=k, flip=flip: np.rot90(a[:, ::-1] if flip else a, k) for k in range(4) for flip in (0, 1)]


def textured(rng, side=64, channels=3):
    gray = sum(gaussian_filter(rng.normal(size=(side, side)), s) * s for s in (1, 3, 8))
    image = (gray[..., None] - gray.min()) / np.ptp(gray) * rng.uniform(0.5, 1, channels)
    return (image * 255).astype(np.uint8)


def search(images, parts, **options):
    gray, _ = duplicates.summarise(lambda i: images[i], len(images))
    return duplicates.near_duplicates(gray, np.array(parts), **options)


def brute_force(gray, parts, bits, correlation):
    def code(image):
        low = dctn(image, norm="ortho")[:8, :8].ravel()[1:]
        return sum(1 << n for n, one in enumerate(low > 0) if one)

    def detail(image):
        return image - gaussian_filter(image, 1.5, mode="nearest")

    gray = gray.astype(np.float64)
    seen_codes = [[code(view(image)) for view in VIEWS] for image in gray]
    found = set()
    for i in range(len(gray)):
        mine = code(gray[i])
        for j in range(i + 1, len(gray)):
            for n, view in enumerate(VIEWS):
                if parts[i] == parts[j] or (mine ^ seen_codes[j][n]).bit_count() > bits:
                    continue
                seen = view(gray[j])
                whole = np.corrcoef(gray[i].ravel(), seen.ravel())[0, 1]
                fine = np.corrcoef(detail(gray[i]).ravel(), detail(seen).ravel())[0, 1]
                if whole >= correlation and fine >= duplicates.DETAIL:
                    found.add((i, j))
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 4))
def test_a_thumbnail_is_the_mean_over_exact_areas(height, width, channels):
    image = np.random.default_rng(height * width).integers(0, 2**16, (height, width, channels)).astype(np.uint16)
    side = duplicates.SIDE
    fine = image.astype(np.float64).repeat(side, axis=0).repeat(side, axis=1)
    expected = fine.reshape(side, height, side, width, channels).mean(axis=(1, 3))
    np.testing.assert_allclose(duplicates.thumbnail(image), expected, rtol=1e-4, atol=0.05)


def test_views_are_the_eight_symmetries_of_the_square():
    image = np.arange(9).reshape(1, 3, 3)
    ours = {duplicates.turned(image, view).tobytes() for view in range(8)}
    assert ours == {np.ascontiguousarray(view(image[0])).tobytes() for view in VIEWS}
    assert (duplicates.turned(image, 0) == image).all()


def test_hashes_from_one_transform_equal_those_of_turned_pixels():
    gray = np.random.default_rng(0).normal(size=(20, 32, 32)).astype(np.float32)
    codes = duplicates.hashes(gray)
    for view in range(8):
        assert (codes[view] == duplicates.hashes(np.ascontiguousarray(duplicates.turned(gray, view)))[0]).all()
    low = dctn(gray[3].astype(np.float64), norm="ortho")[:8, :8].ravel()[1:]
    assert int(codes[0, 3]).bit_count() == (low > 0).sum()


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0, 4, 10, 24]), st.sampled_from([0.3, 0.9, 0.97]))
def test_the_search_finds_what_brute_force_finds(seed, bits, correlation):
    rng = np.random.default_rng(seed)
    images = [textured(rng) for _ in range(14)]
    for n in range(10):
        noisy = images[n] + rng.normal(0, 3 * n, images[n].shape)
        images.append(VIEWS[rng.integers(8)](np.clip(noisy, 0, 255).astype(np.uint8)))
    parts = rng.choice(["train", "val", "test"], len(images))
    gray, _ = duplicates.summarise(lambda i: images[i], len(images))
    pairs = duplicates.near_duplicates(gray, parts, bits=bits, correlation=correlation)
    assert {p[:2] for p in pairs} == brute_force(gray, parts, bits, correlation)
    assert pairs == sorted(pairs)


def jpeg(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a,
        jpeg,
        lambda a: np.asarray(Image.fromarray(a).resize((40, 40), Image.Resampling.BILINEAR)),
        lambda a: (a * 0.8 + 12).astype(np.uint8),
    ],
    ids=["as it is", "re-encoded", "smaller", "darker"],
)
@pytest.mark.parametrize("view", range(8))
def test_a_changed_copy_is_found_whichever_way_it_is_turned(change, view):
    rng = np.random.default_rng(view)
    images = [textured(rng) for _ in range(12)]
    copies = [np.ascontiguousarray(VIEWS[view](change(image))) for image in images]
    pairs = search(images + copies, ["train"] * 12 + ["test"] * 12)
    assert [p[:2] for p in pairs] == [(n, n + 12) for n in range(12)]
    assert min(p.correlation for p in pairs) > 0.97


def test_cells_of_one_kind_are_no_copies():
    rng = np.random.default_rng(1)
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    images = []
    for _ in range(40):
        disc = 1 / (1 + np.exp((np.hypot(x, y * rng.uniform(0.97, 1.03)) - 0.7) * 20))
        texture = gaussian_filter(rng.normal(size=(48, 48)), 1.5) * 0.4
        images.append(
            np.clip(disc * (150 + 100 * texture) + rng.normal(20, 4, (48, 48)), 0, 255)[..., None].astype(np.uint8)
        )
    gray, _ = duplicates.summarise(lambda i: images[i], 40)
    close = np.corrcoef(gray.reshape(40, -1))[np.triu_indices(40, 1)]
    assert close.max() > duplicates.CORRELATION  # outlines alone would say copies
    assert search(images, ["train", "test"] * 20) == []


def test_flat_images_match_nothing():
    flat = [np.full((20, 20, 1), value, dtype=np.uint8) for value in (0, 7, 7, 255)]
    assert search(flat, ["train", "train", "test", "test"]) == []


def test_pairs_within_one_part_are_not_looked_for():
    image = textured(np.random.default_rng(2))
    assert search([image, image], ["train", "train"]) == []
    assert [p[:2] for p in search([image, image], ["test", "train"])] == [(0, 1)]


def test_a_loud_channel_does_not_drown_the_others():
    rng = np.random.default_rng(3)
    loud = np.stack([rng.permutation(64 * 64).reshape(64, 64) * 10 for _ in range(4)]).astype(np.uint16)
    quiet = np.stack([textured(rng, channels=1)[..., 0] for _ in range(4)]).astype(np.uint16)
    images = list(np.stack([loud, quiet], axis=-1))
    gray, contrast = duplicates.summarise(lambda i: images[i], 4)
    shown = np.array([duplicates.thumbnail(q[..., None])[..., 0] for q in quiet])
    assert min(np.corrcoef(g.ravel(), s.ravel())[0, 1] for g, s in zip(gray, shown, strict=True)) > 0.5
    assert contrast.shape == (4, 2)
