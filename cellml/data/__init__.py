"""Images in, a checked and split manifest with decoded pixels out."""
