"""The only room that knows Optuna: a study over experiments."""
