"""A ranker of texts, proven on the traffic that it has: captured, shadowed live, replayed offline, judged on outcomes.

queries   sentences of docstrings of Python's standard library
rows      the documents that a search would show for one: first sentences of functions and classes, as features
label     whether a document is of the query's module, which turns out after the request was answered
"""
