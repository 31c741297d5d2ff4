"""What this machine's processor makes of INT8: without VNNI, pairs of products saturate at 16 bits and answers are off.

Source: ONNX Runtime, Quantize ONNX models, on U8S8 with AVX2 and AVX512.
"""

from mlserve.runtime.processor import read_processor

SATURATES = read_processor().has_vnni is False
SLACK = 3.0 if SATURATES else 1.0
"""By how much more answers of INT8 may be off here."""
