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
    from mlserve.traffic.planning import plan_in
    from mlserve.traffic.writing import CaptureWriter

    writer = CaptureWriter(plan_in(settings), f"{secrets.token_hex(3)}{os.getpid():x}")
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
