"""The linear model behind LIME, apart from it because captum takes a second or two to import."""

from typing import Any

import torch
from captum._utils.models.linear_model import SkLearnRidge
from torch.utils.data import DataLoader

PENALTY = 1e-3  # keeps the fit defined where there are fewer samples than superpixels


class Ridge(SkLearnRidge):
    """captum's ridge regression, which also tells how well it fits: weighted R2."""

    r2: float

    def __init__(self) -> None:
        super().__init__(alpha=PENALTY)

    def fit(self, train_data: DataLoader, **kwargs: Any) -> dict[str, float]:
        """Seconds spent, by captum; `r2` is that of the rows (shown, score, weight) fitted."""
        spent = super().fit(train_data, **kwargs)
        shown, found, weight = (torch.cat(column).double() for column in zip(*train_data, strict=True))
        left = found - self(shown.float()).detach().double().reshape(-1)
        spread = found - (weight * found).sum() / weight.sum()
        total = float((weight * spread**2).sum())
        self.r2 = 1 - float((weight * left**2).sum()) / total if total > 0 else 1.0
        return spent
