"""Multi-well plates: where treatments lie on them, and how plates and wells differ in what a microscope records."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml.errors import UserError

FORMATS = {24: (4, 6), 96: (8, 12), 384: (16, 24)}  # wells of a plate -> rows, columns
CHANNELS = 3


def layout(treatments: Sequence[str], plates: int, replicates: int, rng: np.random.Generator) -> pd.DataFrame:
    """Deal the wells of every treatment over each plate, at random places of the smallest format that holds them.

    Args:
        treatments: T names.
        plates: number of plates.
        replicates: wells of a treatment on a plate.
        rng: source of every random number.

    Returns:
        A row a well, (plates * T * replicates), with the columns `plate`, `well` ("A01"), `treatment` and `edge`
        (bool: on the rim of the plate); by plate and place.

    Raises:
        UserError: more wells than the largest format has.
    """
    count = len(treatments) * replicates
    if count > max(FORMATS):
        raise UserError(
            f"Expected at most {max(FORMATS)} wells on a simulated plate, got {len(treatments)} treatments x "
            f"{replicates} wells; lower data.options.wells"
        )
    rows, columns = FORMATS[min(size for size in FORMATS if size >= count)]
    parts = []
    for plate in range(plates):
        place = np.sort(rng.choice(rows * columns, count, replace=False))
        row, column = place // columns, place % columns
        parts.append(
            pd.DataFrame(
                {
                    "plate": f"plate-{plate + 1:0{len(str(plates))}d}",
                    "well": [f"{chr(ord('A') + r)}{c + 1:02d}" for r, c in zip(row, column, strict=True)],
                    "treatment": rng.permutation(np.repeat(np.array(treatments, dtype=object), replicates)),
                    "edge": (row == 0) | (row == rows - 1) | (column == 0) | (column == columns - 1),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def looks(wells: pd.DataFrame, strength: float, rng: np.random.Generator) -> npt.NDArray[np.void]:
    """How each well was stained and recorded, (W,) records; wells of a plate have much of it in common.

    Args:
        wells: `plate` and `edge` of W wells.
        strength: of the differences; 0: none.
        rng: source of every random number.

    Returns:
        Records of `gain` and `background` (factors of each channel, (3,)), `slope` and `direction` of the
        illumination's gradient, and `defocus` (0 to 1).
    """
    plate, names = pd.factorize(wells["plate"])
    edge = wells["edge"].to_numpy(dtype=np.float64)[:, None]
    shape, w, p = (len(wells), CHANNELS), len(wells), len(names)
    gain = rng.normal(0, 0.08, (p, CHANNELS))[plate] + rng.normal(0, 0.04, shape) - 0.08 * edge
    background = rng.normal(0, 0.2, (p, CHANNELS))[plate] + rng.normal(0, 0.1, shape) + 0.2 * edge
    look = np.zeros(
        w,
        dtype=[
            ("gain", np.float32, CHANNELS),
            ("background", np.float32, CHANNELS),
            *((name, np.float32) for name in ("slope", "direction", "defocus")),
        ],
    )
    look["gain"], look["background"] = np.exp(strength * gain), np.exp(strength * background)
    look["slope"] = np.clip(strength * rng.uniform(0.05, 0.3, p)[plate], 0, 0.9)
    look["direction"] = rng.uniform(0, 2 * np.pi, p)[plate]
    look["defocus"] = np.clip(strength * (rng.uniform(0, 0.3, p)[plate] + rng.uniform(0, 0.15, w)), 0, 1)
    return look
