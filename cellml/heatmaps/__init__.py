"""Heatmaps of a model on chosen images of a data set: sheets, raw maps and how far they can be trusted, in a run."""

from cellml.heatmaps.log import check, log
from cellml.heatmaps.report import faithfulness, strip

__all__ = ["check", "faithfulness", "log", "strip"]
