"""Pure values that every other package speaks in: refs, tensors, evidence, settings, plugins. No I/O beyond small files."""
