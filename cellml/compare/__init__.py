"""Registered models, re-evaluated on one pinned test set, ranked."""
