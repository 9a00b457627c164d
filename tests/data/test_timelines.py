import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from cellml.data.manifest import Manifest
from cellml.data.timelines import padded, timelines


def manifest(sequences, frames):
    n = len(sequences)
    table = pd.DataFrame({"id": [str(k) for k in range(n)], "file": "", "label": "a", "group": "", "split": "train"})
    table = table.assign(pixels="", row=np.arange(n), sequence=sequences, frame=frames)
    return Manifest(table, ("a",))


@given(st.dictionaries(st.text("ab é", min_size=1, max_size=2), st.integers(1, 4), min_size=1), st.randoms())
def test_each_sequence_in_order_of_time_as_a_plain_loop_finds_it(lengths, random):
    rows = [(name, frame) for name, length in lengths.items() for frame in range(length)]
    random.shuffle(rows)
    found = timelines(manifest(*zip(*rows, strict=True)))
    expected = [
        [rows.index((name, frame)) for frame in range(lengths[name])] for name in dict.fromkeys(n for n, _ in rows)
    ]
    assert [one.tolist() for one in found] == expected
    places, sizes = padded(found)
    assert places.shape == (len(lengths), max(lengths.values()))
    for row, size, one in zip(places, sizes, expected, strict=True):
        assert row.tolist() == one + [one[-1]] * (len(row) - size)
