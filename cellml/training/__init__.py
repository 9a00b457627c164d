"""Fit a classifier; predict with it."""
