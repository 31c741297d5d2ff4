"""The traffic log: what was asked and answered, on disk within a second, typed, and readable up to any crash."""
