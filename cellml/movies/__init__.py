"""What a registered model says of a whole movie, as one run."""
