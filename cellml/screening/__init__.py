"""A registered model as the score of a screen: controls, treatments and plates, as one run."""
