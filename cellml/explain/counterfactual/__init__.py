"""How an image would have to change for another class to be said of it."""

from cellml.explain.counterfactual import latent, search  # noqa: F401  they register their methods
from cellml.explain.counterfactual.base import METHODS, Counterfactual, find

__all__ = ["METHODS", "Counterfactual", "find"]
