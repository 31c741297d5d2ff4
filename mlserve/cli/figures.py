"""Measurements in a line or so, as a person reads them; ``--json`` has every figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_WORDS = ("exactness", "provider", "metric", "method", "framework", "rule", "layers", "cpu", "cpu_flags")
"""Figures of a word or two; longer texts are for --json."""


def told(kind: str, figures: Mapping[str, Any], *, passed: bool | None = None) -> Any:
    """The figures of one measurement: a sentence where the kind has one, else its numbers and short words.

    What did not pass says its reason too.
    """
    match kind:
        case "provenance":
            return provenance(figures)
        case "quantization":
            parent = figures.get("parent")
            of = f" of {parent[:19]}…" if isinstance(parent, str) and parent else ""
            return f"{quantized(figures)}{of}"
        case "accuracy" if {"name", "before", "after"} <= set(figures):
            return accuracy(figures)
        case "tune" if {"lanes", "threads", "max_batch", "machine"} <= set(figures):
            return tuned(figures)
    words = _WORDS if passed else (*_WORDS, "reason")
    return {key: value for key, value in figures.items() if isinstance(value, (bool, int, float)) or key in words}


def quantized(figures: Mapping[str, Any]) -> str:
    """What quantization made of a model.

    >>> quantized({"method": "fp16", "size_ratio": 1.98, "speedup": 0.9, "forced": True})
    'fp16 (forced): 1.98× smaller, 0.90× as fast'
    """
    gains = [
        f"{value:.2f}× {word}"
        for name, word in (("size_ratio", "smaller"), ("speedup", "as fast"))
        if isinstance(value := figures.get(name), (int, float))
    ]
    method = f"{figures.get('method', 'quantized')}{' (forced)' if figures.get('forced') else ''}"
    return f"{method}: {', '.join(gains)}" if gains else method


def provenance(figures: Mapping[str, Any]) -> str:
    """How a file says that it was made.

    >>> quantize = {"method": "int8", "options": {"per_channel": True}, "plan": {"a": "int8", "b": "int8", "c": "fp32"}}
    >>> provenance({"framework": "torch", "quantize": quantize})
    'exported from torch; quantized by int8 (per_channel=True; plan: 2 int8, 1 fp32)'
    """
    words = []
    framework, quantize, parts = (figures.get(name) for name in ("framework", "quantize", "composed_of"))
    if isinstance(parts, (Mapping, list, tuple)):
        words.append(f"composed of {len(parts)} models")
    elif isinstance(framework, str):
        words.append(f"exported from {framework}")
    if isinstance(quantize, Mapping):
        words.append(f"quantized by {_method(quantize)}")
    return "; ".join(words) or ", ".join(figures)


def _method(quantize: Mapping[str, Any]) -> str:
    options, plan = quantize.get("options"), quantize.get("plan")
    notes = []
    if isinstance(options, Mapping) and options:
        notes.append(", ".join(f"{name}={value}" for name, value in options.items()))
    if isinstance(plan, Mapping) and plan:
        counted = Counter(str(precision) for precision in plan.values()).most_common()
        notes.append("plan: " + ", ".join(f"{count} {precision}" for precision, count in counted))
    method = str(quantize.get("method", "a method that it does not name"))
    return f"{method} ({'; '.join(notes)})" if notes else method


def accuracy(figures: Mapping[str, Any]) -> str:
    """A metric before and after.

    >>> accuracy({"name": "f1", "before": 0.91, "after": 0.9, "drop": 0.01, "interval": [0.0, 0.02], "max_drop": 0.02})
    'f1 0.91 → 0.9: drop 0.01 (95 % interval 0 to 0.02, 0.02 allowed)'
    """
    text = f"{figures['name']} {_short(figures['before'])} → {_short(figures['after'])}"
    if "drop" not in figures:
        return text
    interval = figures.get("interval")
    notes = []
    if isinstance(interval, Sequence) and len(interval) == 2:
        notes.append(f"95 % interval {_short(interval[0])} to {_short(interval[1])}")
    if "max_drop" in figures:
        notes.append(f"{_short(figures['max_drop'])} allowed")
    drop = f"{text}: drop {_short(figures['drop'])}"
    return f"{drop} ({', '.join(notes)})" if notes else drop


def tuned(figures: Mapping[str, Any]) -> str:
    """What ``tune`` found, and where.

    >>> machine = {"cpu": "EPYC", "cores": 2, "provider": "CPUExecutionProvider", "onnxruntime": "1.31.1"}
    >>> tuned({"lanes": 1, "threads": 2, "max_batch": 8, "better": True, "gain": 1.2, "machine": machine})
    'lanes 1, threads 2, max_batch 8: 1.20× the default (EPYC, 2 cores, CPUExecutionProvider, onnxruntime 1.31.1)'
    """
    named = ", ".join(f"{name} {figures[name]}" for name in ("lanes", "threads", "max_batch"))
    hold = f", max_delay_ms {_short(figures['max_delay_ms'])}" if figures.get("max_delay_ms") else ""
    machine, gain = figures["machine"], figures.get("gain")
    gained = f"{gain:.2f}× the default" if isinstance(gain, (int, float)) else "better than the default"
    verdict = gained if figures.get("better") else "the default, which nothing beat"
    if not isinstance(machine, Mapping):
        return f"{named}{hold}: {verdict}"
    where = f"{machine.get('cpu')}, {machine.get('cores')} cores, {machine.get('provider')}"
    return f"{named}{hold}: {verdict} ({where}, onnxruntime {machine.get('onnxruntime')})"


def how_made(made: Mapping[str, Mapping[str, Any]]) -> str | None:
    """How a version came to be, by its evidence of each kind; None where nothing says.

    >>> how_made({"parity": {"framework": "sklearn", "max_abs": 0.0}})
    'exported from sklearn'
    """
    if "quantization" in made:
        figures = made.get("accuracy", {})
        metric = [accuracy(figures)] if {"name", "before", "after"} <= set(figures) else []
        return "; ".join([quantized(made["quantization"]), *metric])
    if made.get("provenance"):
        return provenance(made["provenance"])
    framework = made.get("parity", {}).get("framework")
    return f"exported from {framework}" if framework else None


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else "-" if value is None else str(value)
