"""Causal language models as folders of files: ``config.json``, weights as safetensors, a tokenizer.

``packaging`` says which files of a folder are the model, ``weights`` whether they are whole, ``config`` what they are,
``generation`` what such a model takes and gives. Nothing here needs torch, so that a registry can keep what it cannot
run.
"""
