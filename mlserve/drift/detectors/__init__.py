"""Two samples, one question: could they come from the same world? One file a family of detectors, one port for all."""
