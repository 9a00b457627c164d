"""Cells over time: stages decoded under a grammar with durations, learned from transcripts alone, divisions."""
