import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellml.data import images
from cellml.data.images import BadImageError
from cellml.errors import UserError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (7, 9, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (7, 9, 3), dtype=np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".PNG"])
def test_colour_comes_back_as_written(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(RGB).save(path)
    assert np.array_equal(images.read_image(path), RGB)
    assert images.image_size(path) == (7, 9)


def test_jpeg_is_close_to_what_was_written(tmp_path):
    smooth = np.broadcast_to(np.linspace(0, 255, 32, dtype=np.uint8)[:, None, None], (32, 40, 3))
    Image.fromarray(smooth.copy()).save(tmp_path / "a.jpg", quality=95)
    read = images.read_image(tmp_path / "a.jpg")
    assert read.shape == (32, 40, 3)
    assert np.abs(read.astype(int) - smooth).max() < 12


def test_palette_and_transparency_become_plain_colour(tmp_path):
    image = Image.fromarray(RGB)
    image.quantize(64).save(tmp_path / "palette.png")
    alpha = np.dstack([RGB, np.full((7, 9), 100, np.uint8)])
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    grey_alpha = np.dstack([RGB[..., 0], np.full((7, 9), 100, np.uint8)])
    Image.fromarray(grey_alpha, "LA").save(tmp_path / "grey.png")
    Image.fromarray(RGB[..., 0] > 127).save(tmp_path / "bits.png")
    assert np.array_equal(images.read_image(tmp_path / "palette.png"), np.asarray(image.quantize(64).convert("RGB")))
    assert np.array_equal(images.read_image(tmp_path / "alpha.png"), RGB)
    assert np.array_equal(images.read_image(tmp_path / "grey.png"), RGB[..., :1])
    assert set(np.unique(images.read_image(tmp_path / "bits.png"))) == {0, 255}


def test_sixteen_bit_grey_png_keeps_its_depth(tmp_path):
    Image.fromarray(DEEP[..., 0]).save(tmp_path / "a.png")
    read = images.read_image(tmp_path / "a.png")
    assert read.dtype == np.uint16
    assert np.array_equal(read[..., 0], DEEP[..., 0])


def test_sixteen_bit_colour_png_is_refused_rather_than_cut_to_eight(tmp_path):
    header = struct.pack(">IIBBBBB", 9, 7, 16, 2, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in DEEP)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(x)) + name + x + struct.pack(">I", zlib.crc32(name + x)) for name, x in parts]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (9, 7)
    with pytest.raises(BadImageError, match="16-bit colour PNG"):
        images.read_image(tmp_path / "a.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    smooth = np.zeros((16, 24, 3), dtype=np.uint8)
    smooth[:8, :12] = 255
    image = Image.fromarray(smooth)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.jpg", exif=exif, quality=100)
    turned = {
        1: smooth,
        2: smooth[:, ::-1],
        3: smooth[::-1, ::-1],
        4: smooth[::-1],
        5: smooth.transpose(1, 0, 2),
        6: np.rot90(smooth, -1),
        7: smooth[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(smooth, 1),
    }[orientation]
    read = images.read_image(tmp_path / "a.jpg")
    assert images.image_size(tmp_path / "a.jpg") == read.shape[:2] == turned.shape[:2]
    assert np.abs(read.astype(int) - turned).mean() < 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("shape", "kept"), [((7, 9), (7, 9, 1)), ((7, 9, 3), (7, 9, 3)), ((1, 7, 9), (7, 9, 1))])
def test_tiff_of_one_image(tmp_path, dtype, shape, kept):
    pixels = RNG.integers(0, 200, shape).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tiff", pixels)
    read = images.read_image(tmp_path / "a.tiff")
    assert read.dtype == dtype
    assert np.array_equal(read, pixels.reshape(kept))


@pytest.mark.parametrize("channels", [2, 3, 5])
@pytest.mark.parametrize("axes", [None, "CYX"])
@pytest.mark.parametrize("photometric", ["minisblack"])
def test_tiff_with_channels_first_gets_them_last(tmp_path, channels, axes, photometric):
    pixels = RNG.integers(0, 60000, (channels, 12, 15)).astype(np.uint16)
    options = {"metadata": {"axes": axes}, "imagej": False} if axes else {}
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric, **options)
    assert np.array_equal(images.read_image(tmp_path / "a.tif"), pixels.transpose(1, 2, 0))
    assert images.image_size(tmp_path / "a.tif") == (12, 15)


def test_big_endian_signed_and_wide_integers_that_fit_become_uint16(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DEEP[..., 0], byteorder=">")
    tifffile.imwrite(tmp_path / "b.tif", (DEEP[..., 0] // 4).astype(np.int16))
    tifffile.imwrite(tmp_path / "c.tif", DEEP[..., 0].astype(np.uint32))
    for name, expected in [("a", DEEP[..., 0]), ("b", DEEP[..., 0] // 4), ("c", DEEP[..., 0])]:
        read = images.read_image(tmp_path / f"{name}.tif")
        assert read.dtype == np.dtype("uint16")
        assert np.array_equal(read[..., 0], expected)


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "tiff_deflate", "packbits"])
def test_compressed_tiff_is_decoded_or_named_unreadable(tmp_path, compression):
    Image.fromarray(RGB).save(tmp_path / "a.tif", compression=compression)
    read = images.read_image(tmp_path / "a.tif")
    assert read.shape == RGB.shape
    if compression != "jpeg":
        assert np.array_equal(read, RGB)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((7, 9), np.float32), "float32"),
        (np.full((7, 9), 70000, np.int32), "int32"),
        (np.zeros((4, 3, 40, 50), np.uint8), "shape"),
        (np.zeros((64, 40, 50), np.uint8), "channels"),
    ],
)
def test_tiff_of_another_kind_is_refused_with_its_reason(tmp_path, pixels, message):
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    with pytest.raises(BadImageError, match=message):
        images.read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_broken_files_are_bad_images(tmp_path, name):
    path = tmp_path / name
    for content in [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"x" * 30, b"II*\0\xff\xff\xff\x7f"]:
        path.write_bytes(content)
        with pytest.raises(BadImageError, match=name):
            images.read_image(path)
    Image.fromarray(RGB).resize((200, 200)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadImageError, match=name):
        images.read_image(path)
    with pytest.raises(BadImageError, match="no file"):
        images.read_image(tmp_path / "absent.png")
    assert images.image_size(tmp_path / "absent.png") is None


def test_channels_are_picked_in_order(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DEEP, photometric="rgb")
    assert np.array_equal(images.read_image(tmp_path / "a.tif", [2, 0]), DEEP[..., [2, 0]])
    with pytest.raises(UserError, match=r"between 0 and 2.*got 3"):
        images.read_image(tmp_path / "a.tif", [3])


def test_list_images_is_deep_natural_and_blind_to_hidden_files(tmp_path):
    for name in ["cell10.png", "cell2.png", "b/x.TIF", "b/._x.tif", ".git/y.png", "notes.txt"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [str(p.relative_to(tmp_path)) for p in images.list_images(tmp_path)]
    assert found == ["b/x.TIF", "cell2.png", "cell10.png"]
    with pytest.raises(UserError, match="found none"):
        images.list_images(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="found none"):
        images.list_images(tmp_path / "empty")
