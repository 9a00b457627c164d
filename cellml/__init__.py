"""CellML: experiment tracking for classifying cell images, on MLflow and Optuna."""

__version__ = "0.1.0"
