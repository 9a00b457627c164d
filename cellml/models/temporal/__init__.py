"""Networks on sequences of frames: temporal parts behind image backbones, and networks that are recurrent throughout."""
