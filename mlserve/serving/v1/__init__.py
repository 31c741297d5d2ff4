"""KServe's V1 data plane: ``{"instances": […]}`` in, ``{"predictions": […]}`` out, over the same tensors as V2.

Source: KServe, data plane V1 (kserve.github.io, "V1 Inference Protocol"); it comes from TensorFlow Serving's REST API.
"""
