"""An answer of replay as the ladder gives it, with every part filled, for what reads such answers."""

from __future__ import annotations

import math
from typing import Any


def answer(ref: str = "fraud:3", **fields: Any) -> dict[str, Any]:
    """The document about one candidate; ``fields`` replace its parts."""
    return {
        "ref": ref,
        "baseline": "recorded",
        "capture": "capture/fraud",
        "data_digest": "sha256:" + "5d" * 32,
        "requests": 9_800,
        "rows": 12_000,
        "identical": 8_400,
        "within_tolerance": 11_700,
        "agreement": 0.9925,
        "metrics": {
            "ndcg@10": 0.541, "ndcg@10_before": 0.472, "ndcg@10_drop": -0.069, "mrr": 0.61, "kendall_tau_b": 0.71,
            "rbo": 0.83, "top5_agreement": 0.88, "ks": 0.043, "wasserstein": 0.011, "psi": 0.021, "js": 0.006,
            "accuracy": 0.961, "accuracy_before": 0.949, "accuracy_drop": -0.012,
        },
        "outputs": [
            {"name": "label", "datatype": "INT64", "identical": 11_910, "within_tolerance": 11_910, "max_abs": 1.0,
             "max_rel": 1.0, "max_ulp": None, "nan_mismatches": 0,
             "tolerance": {"atol": 0.0, "rtol": 0.0, "ulp": None, "why": "integers are equal or they are not"}},
            {"name": "probabilities", "datatype": "FP32", "identical": 8_400, "within_tolerance": 11_700,
             "max_abs": 0.312, "max_rel": 0.91, "max_ulp": 5_200_117, "nan_mismatches": 2,
             "tolerance": {"atol": 1e-5, "rtol": 1e-4, "ulp": 16, "why": "FP32 against FP32"}},
        ],
        "decisions": {
            "output": "label", "positions": 12_000, "agree": 11_910,
            "confusion": {"labels": ["legitimate", "suspicious", "fraud"],
                          "counts": [[9_300, 31, 4], [22, 1_705, 13], [3, 17, 905]]},
            "margin": {"disagreeing_p50": 0.041, "disagreeing_max": 0.38},
            "top_k": {"k": 2, "overlap": 0.987, "same_set": 0.974},
        },
        "ranking": {
            "k": 10, "groups": 640, "rows": 12_000, "gain": "labels",
            "ndcg": {"before": 0.472, "after": 0.541, "difference": 0.069, "interval": [0.041, 0.097], "groups": 640},
            "mrr": {"before": 0.58, "after": 0.61, "difference": 0.03, "interval": [-0.01, 0.07], "groups": 640},
            "kendall_tau_b": {"mean": 0.71, "interval": [0.69, 0.73], "groups": 640},
            "rbo": {"mean": 0.83, "interval": [0.81, 0.85], "groups": 640},
            "left_out": {"rows": 0, "groups_too_large": 0},
        },
        "distribution": {
            "output": "probabilities", "ks": 0.043, "p_value": 0.0021, "wasserstein": 0.011, "psi": 0.021, "js": 0.006,
            "sample": 12_000,
            "curves": {"expected": bell(0.32, 0.12), "actual": bell(0.36, 0.15)},
        },
        "quality": [
            {"metric": "accuracy", "before": 0.949, "after": 0.961, "difference": 0.012, "interval": [0.004, 0.020],
             "rows": 8_200, "higher_is_better": True},
            {"metric": "log_loss", "before": 0.141, "after": 0.148, "difference": 0.007, "interval": [-0.002, 0.016],
             "rows": 8_200, "higher_is_better": False},
            {"metric": "brier", "before": 0.041, "after": 0.046, "difference": 0.005, "interval": [0.002, 0.008],
             "rows": 8_200, "higher_is_better": False},
        ],
        "calibration": {
            "before": [{"predicted": x / 20, "observed": (x / 20) ** 1.3, "rows": 800} for x in range(1, 20, 2)],
            "after": [{"predicted": x / 20, "observed": (x / 20) ** 0.9, "rows": 800} for x in range(1, 20, 2)],
        },
        "noise": {"rows": 4_096, "identical": 4_090, "max_abs": 1.2e-7, "agreement": 1.0,
                  "difference_beyond_noise": True, "how": "fraud:2 against itself, alone and in batches of 32"},
        "worst": [
            {"request_id": "6f1c-77", "row": 0, "distance": 0.312,
             "inputs": {"amount": 981.5, "age": 19, "country": "PT"},
             "expected": {"probabilities": [0.81, 0.12, 0.07]}, "actual": {"probabilities": [0.49, 0.12, 0.39]}},
            {"request_id": "0a42-19", "row": 3, "distance": 0.287,
             "inputs": {"amount": 3.2, "age": 71, "country": "DE"},
             "expected": {"probabilities": [0.31, 0.52, 0.17]}, "actual": {"probabilities": [0.55, 0.30, 0.15]}},
        ],
        "explanation": {
            "rules": [{"where": "amount > 412.5 and age <= 21.5", "rows": 310, "differing": 142, "share": 0.458},
                      {"where": "amount > 412.5 and age > 21.5", "rows": 1_900, "differing": 95, "share": 0.05}],
            "slices": [{"feature": "amount", "range": "> 412.5", "rows": 2_210, "differing": 237, "share": 0.107},
                       {"feature": "age", "range": "≤ 21.5", "rows": 1_204, "differing": 161, "share": 0.134},
                       {"feature": "country", "range": "PT", "rows": 640, "differing": 12, "share": 0.019}],
        },
        "latency": {
            "measures": "queue and compute",
            "recorded": {"p50_ms": 1.9, "p90_ms": 3.4, "p99_ms": 9.8, "mean_ms": 2.2, "curve": times(1.9, 0.45)},
            "replayed": {"p50_ms": 0.8, "p90_ms": 1.2, "p99_ms": 2.1, "mean_ms": 0.9, "curve": times(0.8, 0.3)},
            "p50_ms": 0.8, "p90_ms": 1.2, "p99_ms": 2.1,
        },
        "lag": {"p50_ms": 0.1, "p99_ms": 2.0, "max_ms": 14.0, "late_requests": 12},
        "throughput": {"rows_per_s": 48_000.0, "requests_per_s": 39_200.0, "seconds": 0.25},
        "batches": "recorded",
        "speed": "max",
        "target": "in process",
        "coverage": {"captured_requests": 10_000, "replayed": 9_800, "failed": 3, "estimated_requests": 10_000,
                     "left_out": {"not answered with 200": 140, "inputs were redacted": 57}},
        "failures": [{"request_id": "77aa-01", "error": "input 'x' has 29 values a row, not 30"}],
        "checks": [
            {"expression": "agreement<0.99", "name": "agreement", "value": 0.9925, "passed": True},
            {"expression": "ndcg@10_drop>0.01", "name": "ndcg@10_drop", "value": -0.069, "passed": True},
            {"expression": "identical_share<1", "name": "identical_share", "value": 0.7, "passed": False},
        ],
        "passed": False,
        "started_at": "2026-11-20T08:00:00Z",
        "ended_at": "2026-11-20T08:00:01Z",
    } | fields  # fmt: skip


def bell(mean: float, spread: float) -> list[list[float]]:
    """The distribution function of scores around ``mean``, cut at 0 and 1."""
    return [[x / 100, 0.5 * (1 + math.erf((x / 100 - mean) / (spread * 2**0.5)))] for x in range(101)]


def times(median_ms: float, spread: float) -> list[list[float]]:
    """The distribution function of log-normal latencies."""
    steps = [z / 20 for z in range(-50, 75)]
    return [[median_ms * math.exp(spread * z), 0.5 * (1 + math.erf(z / 2**0.5))] for z in steps]
