import json
import struct

import numpy as np
import pandas as pd
import pytest
import tifffile

from cellml.errors import UserError
from cellml.sequences import tracked
from cellml.sequences.movies import opened
from tests.sequences import fields as helpers


@pytest.fixture
def movie(tmp_path):
    tifffile.imwrite(tmp_path / "movie.tif", helpers.frames())
    return opened(tmp_path / "movie.tif")


def places(cells):
    return cells.table[["track", "frame", "x", "y", "parent"]].values.tolist()


def write_roi(path, points):
    x, y = np.rint(points).astype(int).T
    head = bytearray(64)
    struct.pack_into(">4shBx4hH", head, 0, b"Iout", 227, 8, y.min(), x.min(), y.max(), x.max(), len(points))
    path.write_bytes(bytes(head) + (x - x.min()).astype(">i2").tobytes() + (y - y.min()).astype(">i2").tobytes())


def test_a_table_with_names_of_its_own(movie, tmp_path):
    rows = helpers.centres().rename(columns={"track": "ID", "frame": "t"}).assign(stage="metaphase")
    rows["t"] += 1
    rows.drop(columns="radius").to_csv(tmp_path / "cells.csv", index=False)
    made = tracked.read(movie, tracks=str(tmp_path / "cells.csv"), columns={"track": "ID", "frame": "t"}, first=1)
    assert places(made) == places(helpers.cells())
    assert set(made.table["observed"]) == {"metaphase"}
    assert made.outlines == (None,) * len(made)


def test_a_table_of_several_movies_gives_the_rows_of_this_one(movie, tmp_path):
    own = helpers.centres().drop(columns="radius").assign(movie="films/movie.tif", parent=0)
    other = own.assign(movie="films/other.tif", x=own["x"] + 1)
    pd.concat([other, own]).to_csv(tmp_path / "cells.csv", index=False)
    made = tracked.read(movie, tracks=str(tmp_path / "cells.csv"))
    assert made.table[["x", "y"]].values.tolist() == helpers.cells().table[["x", "y"]].values.tolist()
    pd.concat([other, other.assign(movie="third.tif")]).to_csv(tmp_path / "cells.csv", index=False)
    with pytest.raises(
        UserError, match=r"rows of movie\.tif in column 'movie' of cells\.csv, got those of other\.tif, third"
    ):
        tracked.read(movie, tracks=str(tmp_path / "cells.csv"))
    other.to_csv(tmp_path / "cells.csv", index=False)  # of one movie, which may have been renamed
    assert len(tracked.read(movie, tracks=str(tmp_path / "cells.csv"))) == len(made)


def test_masks_lend_tracks_their_outlines(movie, tmp_path):
    helpers.centres().to_csv(tmp_path / "cells.csv", index=False)
    tifffile.imwrite(tmp_path / "masks.tif", helpers.labels())
    made = tracked.read(movie, tracks=str(tmp_path / "cells.csv"), masks=str(tmp_path / "masks.tif"))
    assert all(outline is not None for outline in made.outlines)


def test_outlines_name_their_tracks(movie, tmp_path):
    (tmp_path / "rois").mkdir()
    for row in helpers.centres().itertuples():
        write_roi(tmp_path / "rois" / f"{row.frame + 1}-{row.track}.roi", helpers.circle(row.x, row.y, row.radius))
    made = tracked.read(movie, outlines=str(tmp_path / "rois"))
    expected = helpers.cells().table
    assert made.table["track"].tolist() == expected["track"].tolist()
    np.testing.assert_allclose(made.table[["frame", "x", "y"]], expected[["frame", "x", "y"]], atol=0.6)
    assert set(made.table["parent"]) == {""}


def test_masks_are_linked_unless_their_labels_are_tracks(movie, tmp_path):
    tifffile.imwrite(tmp_path / "masks.tif", helpers.labels("track"))
    made = tracked.read(movie, masks=str(tmp_path / "masks.tif"), link="no")
    assert made.table["track"].tolist() == helpers.cells().table["track"].tolist()
    assert set(made.table["parent"]) == {""}
    pytest.importorskip("laptrack")
    tifffile.imwrite(tmp_path / "masks.tif", helpers.labels())
    linked = tracked.read(movie, masks=str(tmp_path / "masks.tif"), distance=12)
    assert sorted(linked.table["track"].value_counts()) == [6, 6, 6, 12, 12]
    assert (linked.table.groupby("track")["parent"].first() != "").sum() == 2


def test_tracks_of_the_cell_tracking_challenge(movie, tmp_path):
    folder = tmp_path / "01_GT" / "TRA"
    folder.mkdir(parents=True)
    (tmp_path / "01").mkdir()
    for t, image in enumerate(helpers.labels("track")):
        tifffile.imwrite(folder / f"man_track{t:03d}.tif", image)
        tifffile.imwrite(tmp_path / "01" / f"t{t:03d}.tif", image.astype(np.uint8))
    (folder / "man_track.txt").write_text("1 0 11 0\n2 0 11 0\n3 0 5 0\n4 6 11 3\n5 6 11 3\n")
    made = tracked.read(opened(tmp_path / "01"), tracks=str(folder / "man_track.txt"))
    expected = helpers.cells().table
    assert made.table[["track", "frame", "parent"]].equals(expected[["track", "frame", "parent"]])
    np.testing.assert_allclose(made.table[["x", "y"]], expected[["x", "y"]], atol=0.2)
    assert all(outline is not None for outline in made.outlines)


def test_tracks_of_btrack(movie, tmp_path):
    rows = helpers.centres().rename(columns={"track": "ID", "frame": "t"})
    rows[["ID", "t", "y", "x"]].to_csv(tmp_path / "tracks.csv", index=False)
    (tmp_path / "graph.json").write_text(json.dumps({"4": [3], "5": [3]}))
    for path in (tmp_path, tmp_path / "tracks.csv"):
        assert places(tracked.read(movie, tracks=str(path))) == places(helpers.cells())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "none of tracks, outlines and masks"),
        ({"tracks": "cells.csv", "outlines": "rois"}, "outlines alone"),
        ({"masks": "masks.tif", "link": "maybe"}, "'maybe'"),
        ({"tracks": "absent.csv"}, "absent.csv, found no file"),
        ({"tracks": "late.csv"}, "frames 0 to 11.*late.csv, line 4 has 12"),
        ({"tracks": "twice.csv"}, "twice.csv, found frame 0 of track 1 again"),
        ({"tracks": "orphan.csv"}, "track 7 as parent of track 1 in orphan.csv, line 2"),
        ({"tracks": "cells.csv", "columns": {"tarck": "ID"}}, "did you mean 'track'"),
        ({"tracks": "cells.csv", "columns": {"track": "ID"}}, "'ID'.*cells.csv"),
        ({"tracks": "man_track.txt"}, "MOVIE_GT or MOVIE_RES"),
    ],
)
def test_bad_input_is_one_line(movie, tmp_path, monkeypatch, given, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells.csv").write_text("track,frame,x,y\n1,0,5,5\n")
    (tmp_path / "late.csv").write_text("track,frame,x,y\n1,0,5,5\n1,1,5,5\n1,12,5,5\n")
    (tmp_path / "twice.csv").write_text("track,frame,x,y\n1,0,5,5\n1,0,6,6\n")
    (tmp_path / "orphan.csv").write_text("track,frame,x,y,parent\n1,0,5,5,7\n")
    (tmp_path / "man_track.txt").write_text("1 0 11 0\n")
    with pytest.raises(UserError, match=said) as caught:
        tracked.read(movie, **given)
    assert "\n" not in str(caught.value)
