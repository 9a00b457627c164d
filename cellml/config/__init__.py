"""The experiment file: one validated, immutable object for everything a run depends on.

Every field's dotted path (`train.lr`) is its name in the file, in a sweep's space, on the command line and among
the parameters of an MLflow run.
"""

from cellml.config.base import Section
from cellml.config.data import Data, Input, Split, SplitTable
from cellml.config.experiment import Experiment, load, parse
from cellml.config.model import Lora, Model
from cellml.config.sequence import Sequence, Tracker
from cellml.config.study import Compare, Explain, Range, Screen, Space, Sweep
from cellml.config.training import Augment, Pretrain, Sampling, Step, Train

__all__ = [
    "Augment", "Compare", "Data", "Experiment", "Explain", "Input", "Lora", "Model", "Pretrain", "Range", "Sampling",
    "Screen", "Section", "Sequence", "Space", "Split", "SplitTable", "Step", "Sweep", "Tracker", "Train", "load",
    "parse",
]  # fmt: skip
