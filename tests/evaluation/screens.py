"""A drawn screen whose truth is known."""

import numpy as np
import pandas as pd

SHIFTS = {"WT": 0.0, "DS": 4.0, "strong": 0.4, "half": 2.0, "none": 4.0}


def cells(shifts=SHIFTS, plates=3, wells=4, each=25, spread=0.3, batch=0.0, edge=0.0, seed=0):
    """Cells of deviation 1, wells of deviation `spread`, plates of deviation `batch`; treatments in turn A1, A2, ..."""
    rng = np.random.default_rng(seed)
    parts = []
    for p in range(plates):
        shift = rng.normal(0, batch) if batch else 0.0
        places = [(r, c) for r in range(8) for c in range(12)]
        rng.shuffle(places)
        for name, mean in shifts.items():
            for _ in range(wells):
                row, column = places.pop()
                outside = row in (0, 7) or column in (0, 11)
                value = mean + rng.normal(0, spread) + shift + edge * outside
                well = f"{'ABCDEFGH'[row]}{column + 1:02}"
                columns = {"plate": f"P{p + 1}", "well": well, "treatment": name, "score": rng.normal(value, 1, each)}
                parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)
