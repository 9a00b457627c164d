"""Predictions in; metrics, intervals and figures out."""
