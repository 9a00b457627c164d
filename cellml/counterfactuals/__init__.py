"""Counterfactuals of a registered model on a data set: made, judged by another model, and logged."""
