"""MP4 files as FFmpeg's demuxer, which OpenCV brings, reads them, and pictures as Pillow decodes them."""

import io

import numpy as np
import pytest
from PIL import Image

from cellml.errors import UserError
from cellml.sequences.overlay import mp4


def frames(count, height=64, width=96):
    y, x = np.mgrid[:height, :width]
    base = np.stack([x * 2, y * 3, (x + y)], axis=2).astype(np.uint8)
    made = np.repeat(base[None], count, axis=0)
    for t in range(count):
        made[t, 10:30, (5 * t) % 70 : (5 * t) % 70 + 20] = 255
    return made


@pytest.mark.parametrize("count", [2, 24, 25, 26, 49, 53])
def test_another_reader_finds_size_rate_and_every_sample(tmp_path, count):
    cv2 = pytest.importorskip("cv2")
    mp4.write(iter(frames(count)), tmp_path / "m.mp4", 12.5)
    written = [sample for part in mp4._parts(iter(frames(count))) for sample in mp4.encode(part).samples]
    reader = cv2.VideoCapture(str(tmp_path / "m.mp4"), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    asked = (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    assert [reader.get(name) for name in asked] == [count, 12.5, 96, 64]
    assert int(reader.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little") == b"AV01"
    samples = []
    while (got := reader.read())[0]:
        samples.append(got[1].tobytes())
    assert len(samples) == count
    assert samples == written


def test_samples_are_those_of_an_avif_that_shows_the_frames():
    made = frames(5)
    file = io.BytesIO()
    first, *others = (Image.fromarray(frame) for frame in made)
    first.save(file, "AVIF", save_all=True, append_images=others, duration=100, **mp4.OPTIONS)
    segment = mp4.encode(list(made))
    assert b"".join(segment.samples) in file.getvalue()
    assert segment.description[4:8] == b"stsd"
    assert segment.description[20:24] == b"av01"
    shown = Image.open(file)
    for t in range(5):
        shown.seek(t)
        error = np.asarray(shown.convert("RGB")).astype(int) - made[t]
        assert np.sqrt((error**2).mean()) < 12


def test_no_segment_has_a_single_frame():
    for count in range(2, 3 * mp4.SEGMENT + 3):
        lengths = [len(part) for part in mp4._parts(iter(np.zeros((count, 1, 1, 3), np.uint8)))]
        assert sum(lengths) == count
        assert min(lengths) >= 2
        assert max(lengths) <= mp4.SEGMENT + 1


def test_frames_are_drawn_as_they_are_needed(tmp_path):
    """No more segments wait than are being encoded, and one that fills."""
    made = frames(2)[0]
    alive = []

    def drawn():
        for t in range(150):
            alive.append(t)
            yield made

    most = []
    original = mp4.encode

    def slow(part):
        most.append(len(alive))
        return original(part)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mp4, "encode", slow)
        mp4.write(drawn(), tmp_path / "m.mp4", 10)
    assert [drawn_so_far <= (k + 1 + mp4.WORKERS) * mp4.SEGMENT + 2 for k, drawn_so_far in enumerate(most)] == [
        True
    ] * len(most)


def test_without_avif_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(mp4.features, "check", lambda name: False)
    with pytest.raises(UserError, match="AVIF"):
        mp4.write(iter(frames(2)), tmp_path / "m.mp4", 10)
    assert not (tmp_path / "m.mp4").exists()
