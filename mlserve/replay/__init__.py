"""Recorded traffic through another version: what it would have answered, how long it would have taken."""
