"""Tracks of cells in whole-field movies: formats they come in, lineages, gaps."""
