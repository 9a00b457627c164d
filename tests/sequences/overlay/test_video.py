import numpy as np
import pytest
from PIL import Image

from cellml.sequences.overlay import video


def frames(count, height=40, width=60):
    made = np.zeros((count, height, width, 3), np.uint8)
    for t in range(count):
        made[t, :, : width * (t + 1) // count] = (86, 180, 233)
    return made


def test_each_frame_is_drawn_once_for_both_files(tmp_path):
    drawn = []

    def passing():
        for t, frame in enumerate(frames(7)):
            drawn.append(t)
            yield frame

    video.write(passing(), 7, tmp_path, "overlay", 5)
    assert drawn == list(range(7))
    assert (tmp_path / "overlay.mp4").stat().st_size > 500
    with Image.open(tmp_path / "overlay.gif") as gif:
        assert (gif.n_frames, gif.info["duration"], gif.info["loop"]) == (7, 200, 0)
        gif.seek(6)
        np.testing.assert_allclose(np.asarray(gif.convert("RGB"))[20, 30], (86, 180, 233), atol=3)


@pytest.mark.parametrize(("count", "kept", "wait"), [(200, 200, 100), (201, 101, 200), (650, 163, 400)])
def test_long_movies_lose_frames_not_time(count, kept, wait):
    gif = video.Gif(count, 10)
    for frame in frames(3)[np.arange(count) % 3]:
        gif.add(frame)
    assert len(gif._frames) == kept
    assert gif.wait == wait


def test_large_frames_are_reduced(tmp_path):
    gif = video.Gif(2, 10)
    for frame in frames(2, 500, 1600):
        gif.add(frame)
    gif.write(tmp_path / "m.gif")
    with Image.open(tmp_path / "m.gif") as made:
        assert made.size == (800, 250)
