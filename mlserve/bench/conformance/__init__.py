"""Black-box conformance: does a server keep the Open Inference Protocol, as its clients rely on it?

``verdicts.py`` says what a rule and its verdict are; each file below ``rules/`` holds the rules of one subject.
``probe.py`` is what rules look through: the HTTP port (``exchange.py``), the gRPC port (``calls.py``) and the models
found there, asked with rows made up from their metadata (``tensors.py``). ``running.py`` puts all rules to a server.

Nothing here knows the server under test: mlserve itself is looked at as any other.
"""
