"""Runnable end-to-end stories; the tests execute each of them."""
