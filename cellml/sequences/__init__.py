"""Cells over time: stages decoded and learned, where cells are, and the movie that shows what a model says."""
