"""Causal language models run by transformers: the only place that imports torch for serving.

    opening ─► Opened (model, tokenizer) ─► generating.Generator ─► probing: do rows change their neighbours' answers?
                                                   ▲
                       child: ``python -m mlserve.runtime.generation.child``, a process that does nothing else

A server never imports any of it: it starts ``child`` and talks to it over pipes (``serving.generation``).
"""
