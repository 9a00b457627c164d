"""Networks on sequences: temporal parts behind image backbones, and others that are recurrent throughout."""
