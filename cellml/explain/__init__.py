"""Attributions of a classifier's decisions, and the sheets that show them; importing it registers every method."""

from cellml.explain import gradcam, occlusion  # noqa: F401
