"""Where a model looked, and whether that can be trusted."""
