"""The experiment that the tests of training start from."""

from cellml.config import Experiment, parse


def experiment(**values: object) -> Experiment:
    """A fast experiment without augmentation on one thread, with dotted paths set (`__` may stand for a dot)."""
    off = {"flip": False, "rotate": 0, "scale": 0, "shift": 0, "brightness": 0, "contrast": 0}
    base = parse(
        {
            "name": "tiny",
            "split": {"validation": 0.3, "test": 0.2},
            "input": {"size": 24},
            "model": {"backbone": "test_resnet"},
            "train": {"epochs": 3, "batch_size": 16, "lr": 3e-3, "threads": 1, "device": "cpu", "augment": off},
        }
    )
    return base.replace({path.replace("__", "."): value for path, value in values.items()})
