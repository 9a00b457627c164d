"""Movies with what a model says drawn into them."""
