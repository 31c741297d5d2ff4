"""ONNX as a document: read, checked, normalised, packed and written, without ever being run.

    bytes ── document.load_graph ──► ModelProto ──┬─ signature.read_signature ──► Signature
               (truncated? escaping?)             ├─ document.check_graph        (can the runtime load it?)
                                                  ├─ normalising.normalise       (same model, same bytes)
                                                  ├─ properties.set_properties   (deterministic provenance)
                                                  └─ document.save_graph ──► one file, or a graph and its weights
    path ─── packaging.read_manifest ──► Manifest of the graph and every file its weights lie in

``external`` knows where weights lie outside the graph file, ``walking`` visits what a graph nests.
"""
