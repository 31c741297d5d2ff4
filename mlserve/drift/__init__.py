"""Whether the world that a version sees is still the one it was made for: profiles, detectors, windows, verdicts."""
