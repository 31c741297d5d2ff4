"""What versions have done: counts and times, as the engine keeps them and front ends and metrics tell them."""

from __future__ import annotations

import msgspec

from mlserve.core.histograms import Histogram


class Tally(msgspec.Struct, gc=False):
    """So many of something, and how long they took together, in nanoseconds."""

    count: int = 0
    ns: int = 0


class BatchTally(msgspec.Struct, gc=False):
    """The runs of one size. Times are of runs, not of requests."""

    rows: int
    compute_input: Tally
    compute_infer: Tally
    compute_output: Tally


class ModelStatistics(msgspec.Struct, gc=False):
    """What one version has done since it was first loaded here; counters never go back.

    Requests are counted in ``success``, ``fail`` and ``queue``, rows in ``inference_count``, runs in
    ``execution_count``; a request's share of the three ``compute_*`` is the whole time of its run, as Triton counts.
    ``rejected`` are requests that were not admitted, by reason. ``histograms`` are seconds of each request in "request"
    and "queue", seconds of each run in "compute" and "encode", rows of each run in "rows", its requests in "requests".
    ``last_inference_ms`` is since 1970, 0 for never.
    """

    name: str
    version: str
    last_inference_ms: int
    inference_count: int
    execution_count: int
    success: Tally
    fail: Tally
    queue: Tally
    compute_input: Tally
    compute_infer: Tally
    compute_output: Tally
    cache_hit: Tally
    cache_miss: Tally
    batches: list[BatchTally]
    rejected: dict[str, int]
    histograms: dict[str, Histogram]
    waiting_rows: int = 0
