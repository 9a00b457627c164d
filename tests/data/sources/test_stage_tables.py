import pytest

from cellml.config import Data
from cellml.data.sources import stage_tables
from cellml.data.sources.cells import Cell
from cellml.errors import UserError

CELLS = [Cell(name, "m", name, (), (), 4, False) for name in ("m/a", "m/b", "n/b")]
DATA = Data(classes={"1": "inter", "2": "pro", "3": "meta"})


@pytest.fixture
def read(tmp_path):
    def call(text, **names):
        path = tmp_path / "t.csv"
        path.write_text(text)
        return stage_tables.read(path, CELLS, stage_tables.Names(**names), DATA)

    return call


def test_sparse_labels(read):
    known, transcripts, more = read("sequence,frame,label,well\na,3,2,W\na,0,1,W\nm/b,1,3,V\n")
    assert known["m/a"].values == ["1", "", "", "2"]
    assert known["m/a"].lines == ["line 3", "", "", "line 2"]
    assert known["m/b"].values == ["", "3", "", ""]
    assert transcripts == {}
    assert more["well"].to_dict() == {"m/a": "W", "m/b": "V"}


def test_transcripts_in_class_names_or_values(read):
    known, transcripts, _ = read("sequence,transcript\nm/a,1>2 > 3\nn/b,1>1>3\nm/b,\n")
    assert known == {}
    assert transcripts == {"m/a": "inter>pro>meta", "n/b": "inter>meta"}


def test_columns_of_other_names_and_frames_from_one(read):
    known, _, _ = read("cell,t,stage\nm/a,1,1\nm/a,4,2\n", sequence="cell", frame="t", label="stage", first=1)
    assert known["m/a"].values == ["1", "", "", "2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sequence,frame,label\nm/a,4,1\n", r"frames 0 to 3 of m/a, got frame 4 in t.csv, line 2"),
        ("sequence,frame,label\nm/a,1,1\nm/a,1,2\n", r"frame 1 again in t.csv, line 3"),
        ("sequence,frame,label\nm/a,x,1\n", r"number of a frame in t.csv, line 2, got 'x'"),
        ("sequence,frame,label\nm/c,1,1\n", r"folder of a cell in t.csv, line 2, got 'm/c'"),
        ("sequence,frame,label\nb,1,1\n", r"got 'b'"),  # of two movies
        ("sequence,frame\nm/a,1\n", "column 'label'"),
        ("sequence,transcript\nm/a,1>2>1>2>3\n", r"at most 4 stages in the transcript of m/a.*got 5 in t.csv, line 2"),
        ("sequence,transcript\nm/a,1>7\n", r"found '7' in t.csv, line 2"),
        ("sequence,transcript\nm/a,1>>2\n", r"a>b>c, in t.csv, line 2, got '1>>2'"),
    ],
)
def test_mistakes_are_named_with_their_line(read, text, said):
    with pytest.raises(UserError, match=said):
        read(text)
