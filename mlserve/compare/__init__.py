"""One set of outputs against another: within a tolerance, by label, by a quality metric. Pure numpy, by batch."""
