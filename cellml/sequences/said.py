"""What a model says of the cells of a movie."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml.sequences.cells import Cells


@dataclass(frozen=True)
class Said:
    """Probabilities of a movie's cells, row by row, beside where they are.

    Attributes:
        cells: N rows.
        probabilities: (N, K).
        classes: the K stage names, in biological order.
        decoded: (N,) stage index after decoding each track as a whole, or None.
    """

    cells: Cells
    probabilities: npt.NDArray[np.float64]
    classes: tuple[str, ...]
    decoded: npt.NDArray[np.int64] | None = None

    @property
    def stages(self) -> npt.NDArray[np.int64]:
        """(N,) the stage shown: decoded where there is decoding, the most probable one otherwise."""
        return self.predicted if self.decoded is None else self.decoded

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """(N,) most probable stage."""
        return self.probabilities.argmax(axis=1)

    @property
    def confidence(self) -> npt.NDArray[np.float64]:
        """(N,) probability of the stage shown."""
        return self.probabilities[np.arange(len(self.cells)), self.stages]

    @property
    def entropy(self) -> npt.NDArray[np.float64]:
        """(N,) entropy of the probabilities over the largest that K stages can have, log2 K; 0 to 1."""
        k = len(self.classes)
        if k < 2:
            return np.zeros(len(self.cells))
        p = np.clip(self.probabilities, 1e-12, 1)
        return np.clip(-(p * np.log2(p)).sum(axis=1) / np.log2(k), 0, 1)

    @property
    def observed(self) -> npt.NDArray[np.int64]:
        """(N,) observed stage, -1 where unknown."""
        index = {name: k for k, name in enumerate(self.classes)}
        return np.array([index.get(name, -1) for name in self.cells.table["observed"]], dtype=np.int64)

    def where(self, mask: npt.NDArray[np.bool_]) -> "Said":
        """The rows where a boolean (N,) mask is true."""
        decoded = None if self.decoded is None else self.decoded[mask]
        return Said(self.cells.where(mask), self.probabilities[mask], self.classes, decoded)

    def table(self) -> pd.DataFrame:
        """A row a cell and frame: place, stage, confidence, entropy, and each stage's probability."""
        names = np.array([*self.classes, ""], dtype=object)
        table = self.cells.table[["track", "frame", "x", "y", "parent"]].copy()
        table["stage"], table["confidence"], table["entropy"] = (
            names[self.predicted],
            self.probabilities.max(axis=1),
            self.entropy,
        )
        if self.decoded is not None:
            table["decoded"] = names[self.decoded]
        if (self.observed >= 0).any():
            table["observed"] = names[self.observed]
        for k, name in enumerate(self.classes):
            table[f"p_{name}"] = self.probabilities[:, k]
        return table.round({"x": 2, "y": 2} | dict.fromkeys(table.columns[6:], 6))
