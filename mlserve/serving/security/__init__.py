"""Who may ask what, and over which wire: API keys with scopes (``keys.py``, ``access.py``) and TLS (``tls.py``).

The same rules hold for every front end. A head of HTTP that was seen before keeps its verdict, so a key costs a request
nothing.
"""
