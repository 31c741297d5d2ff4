"""The table of quantization methods."""

from __future__ import annotations

from mlserve.core.plugins import Plugin, Registry
from mlserve.quantize.quantizer import Quantizer

QUANTIZERS: Registry[type[Quantizer]] = Registry(
    "quantization method",
    group="mlserve.quantizers",
    builtin={
        "fp16": Plugin("mlserve.quantize.fp16:Fp16"),
        "int8": Plugin("mlserve.quantize.int8:Int8"),
        "int8-dynamic": Plugin("mlserve.quantize.int8_dynamic:Int8Dynamic"),
        "int8-weights": Plugin("mlserve.quantize.weights_only:Int8Weights"),
        "int4-weights": Plugin("mlserve.quantize.weights_only:Int4Weights"),
    },
)
