"""Who looks on while requests are answered, as the settings say: the capture, the access log, traces."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from mlserve.core.settings import ServeSettings
from mlserve.serving.accesslog import AccessLog
from mlserve.serving.tracing import TRACES_BY_ENVIRONMENT, Traces, open_traces

if TYPE_CHECKING:
    from mlserve.serving.recording import Recorder


def open_recorder(settings: ServeSettings, loop: asyncio.AbstractEventLoop) -> Recorder | None:
    """Who captures traffic, if anybody. Raises InvalidConfig for a folder, policy or key that cannot be used."""
    if settings.capture is None:
        return None
    # pyarrow takes memory and time that a server without a capture need not pay.
    from mlserve.serving.recording import Recorder
    from mlserve.traffic.redaction import read_policy
    from mlserve.traffic.writing import CapturePlan, CaptureWriter, read_key

    key = read_key(None if settings.capture_key_file is None else Path(settings.capture_key_file))
    plan = CapturePlan(
        Path(settings.capture),
        share=settings.capture_share,
        segment_bytes=settings.capture_segment_bytes,
        segment_s=settings.capture_segment_s,
        max_bytes=settings.capture_max_bytes,
        sync=settings.capture_sync,
        redaction=read_policy(None if settings.capture_policy is None else Path(settings.capture_policy), key),
    )
    writer = CaptureWriter(plan, f"{secrets.token_hex(3)}{os.getpid():x}")
    return Recorder(loop, writer, max_bytes=settings.capture_ring_bytes)


def open_observers(settings: ServeSettings, loop: asyncio.AbstractEventLoop) -> list[AccessLog | Traces]:
    """Who looks on. Raises InvalidConfig for a log that cannot be written, MissingExtra for traces without theirs."""
    observers: list[AccessLog | Traces] = []
    if settings.access_log != "off":
        file = None if settings.access_log_file is None else Path(settings.access_log_file)
        share = 1.0 if settings.access_log == "all" else settings.access_log_share
        observers.append(AccessLog(loop, file, share))
    if settings.traces is not None:
        endpoint = None if settings.traces == TRACES_BY_ENVIRONMENT else settings.traces
        observers.append(open_traces(settings.trace_share, endpoint=endpoint))
    return observers
