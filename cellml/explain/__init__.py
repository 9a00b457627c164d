"""Attributions of a classifier's decisions, and the sheets that show them; importing it registers every method."""

from cellml.explain import gradcam, gradients, guided, occlusion, paths, rise, rollout, shapley, surrogates  # noqa: F401
