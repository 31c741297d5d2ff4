"""A version made runnable: an ONNX Runtime session, and what has to be known before it may serve.

    file ──load_model──► OnnxModel ──certify──► Certificate    may rows of several requests share a run?
             │                     ──measure──► Costs          inline or lane, and how large a batch pays
     providers, threads            ──check_golden──► Closeness does it still answer as it did when registered?

Knows no HTTP and no registry. ``samples`` makes up inputs where nobody gave any; ``closeness`` says how equal is equal.
"""

import os

# From 1.31 on, ONNX Runtime's wheels keep a device id and events (the text of errors among them) below the home folder
# and send them to Microsoft. It looks once, when it is imported. ORT_DISABLE_TELEMETRY=0 is how a user says otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
