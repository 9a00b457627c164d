"""Cells over time: where they are, what a model says of them, and the movie that shows it."""
