"""The table of quantization methods."""

from __future__ import annotations

from mlserve.core.plugins import Plugin, Registry
from mlserve.quantize.quantizer import Quantizer

QUANTIZERS: Registry[type[Quantizer]] = Registry(
    "quantization method",
    group="mlserve.quantizers",
    builtin={
        "fp16": Plugin("mlserve.quantize.fp16:Fp16"),
        "int8-dynamic": Plugin("mlserve.quantize.int8_dynamic:Int8Dynamic"),
    },
    planned=("auto", "int8", "int8-weights", "int4-weights"),
)
