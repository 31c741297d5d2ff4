"""A version made runnable: an ONNX Runtime session, and what has to be known before it may serve.

    file ──load_model──► OnnxModel ──certify──► Certificate    may rows of several requests share a run?
             │                     ──measure──► Costs          inline or lane, and how large a batch pays
     providers, threads            ──check_golden──► Deviation does it still answer as it did when registered?

Knows no HTTP and no registry. ``samples`` makes up inputs where nobody gave any; ``closeness`` says how equal is equal.
"""
