"""CellML: experiment tracking for classifying cell images, on MLflow and Optuna."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cellml.models.classifier import Classifier
    from cellml.models.ensemble import Ensemble

__version__ = "0.1.0"
__all__ = ["__version__", "load_classifier"]


def load_classifier(uri: str) -> "Classifier | Ensemble":
    """Rebuild a registered model from its `weights/`, nothing unpickled: for heatmaps, embeddings, fine-tuning.

    Predictions need no more than `mlflow.pyfunc.load_model`; this is the network itself.

    Args:
        uri: models:/NAME@ALIAS or models:/NAME/VERSION, of the current tracking server.

    Returns:
        A module in eval mode: raw images (N, H, W, C) of the dtype it was trained on to probabilities (N, K).

    Raises:
        UserError: no such model, or one without `weights/`.

    Example:
        >>> model = cellml.load_classifier("models:/demo@champion")  # doctest: +SKIP
        >>> model(torch.from_numpy(images))  # doctest: +SKIP
    """
    from cellml.models import ensemble
    from cellml.tracking import registry

    return ensemble.load(registry.weights_folder(uri)).eval()
