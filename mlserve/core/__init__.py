"""Pure values that every other package speaks in: refs, tensors, evidence, settings, plugins. I/O: small files only."""
