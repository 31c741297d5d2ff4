"""The Open Inference Protocol (V2) as a codec: bytes ⇄ the seam's values. It knows no sockets, no HTTP and no ONNX.

    body ──► decoding.py ──► Decoded(request, id, wish)          Answer ──► encoding.py ──► Encoded(json, blobs)
               │ wire.py      typed JSON, the fast way             │ texts.py      numbers → text, once a batch
               │ leniently.py NaN, nested, large, precise errors   │ blobs.py      arrays → bytes
               │ nesting.py   depth of hostile JSON                ▼
               │ blobs.py     binary tensors                      documents.py    metadata, readiness, errors
               └ plans.py     what a version takes and gives, worked out once a load

Sources: Open Inference Protocol, REST specification (kserve/open-inference-protocol); Triton's binary tensor data
extension (triton-inference-server/server, docs/protocol/extension_binary_data.md).
"""
