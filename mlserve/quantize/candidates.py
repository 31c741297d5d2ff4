"""Which methods are worth trying on a model, by what it is made of, where it will run, and what data there is. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mlserve.quantize.census import Census
from mlserve.quantize.targets import Target


@dataclass(frozen=True, slots=True)
class Candidates:
    """``methods`` to try, the most promising first; ``left_out`` says why others are not.

    ``late`` ones come after mixtures of precisions: where time is short those are the better use of it.
    """

    methods: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    late: tuple[str, ...] = ()


def refusal(census: Census) -> str | None:
    """Why nothing can be tried on such a model, whatever its size, or None."""
    held = census.matrix_bytes + census.table_bytes + census.conv_bytes
    if not held and census.ml_nodes:
        return (
            "it has no weight that any method makes smaller: its weights are attributes of ai.onnx.ml operators, as of "
            "trees, which compute by comparing and gain nothing from smaller numbers"
        )
    if not held:
        return "it has no FP32 weight that any method makes smaller"
    return None


def candidates(census: Census, target: Target, *, is_calibrated: bool, is_judged: bool) -> Candidates:
    """The methods to try on such a model.

    On a CPU matrices and tables gain most from dynamic INT8, convolutions from static INT8 (dynamic is slower than
    FP32, onnxruntime#12854); a GPU computes in FP16, and CUDA knows blocks. Without a metric (``is_judged``) nothing
    shows what four bits lose, so that they are no choice.
    """
    is_convolving = census.conv_bytes > census.matrix_bytes
    if target == "tensorrt":
        methods = ("fp16", "int8") if is_calibrated else ("fp16",)
        return Candidates(methods, () if is_calibrated else (_UNCALIBRATED,))
    if target == "cuda":
        if is_convolving:
            return Candidates(("fp16",))
        return Candidates(("fp16", "int8-weights", "int4-weights")[: 3 if is_judged else 2])
    if not is_convolving and not is_judged:
        return Candidates(("int8-dynamic", "int8-weights"), ("int4-weights was not tried: it needs --evaluate DATA",))
    if not is_convolving:
        return Candidates(("int8-dynamic", "int8-weights"), late=("int4-weights",))
    if is_calibrated:
        return Candidates(("int8",))
    return Candidates(("fp16",), (_UNCALIBRATED,))


_UNCALIBRATED = "int8 was not tried: it needs --calibrate DATA with some hundred training rows"
