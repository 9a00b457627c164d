"""Backbones, and the classifier around one that takes images as they are."""
