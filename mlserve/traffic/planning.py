"""The settings of a server → where and how it captures."""

from __future__ import annotations

from pathlib import Path

from mlserve.core.settings import ServeSettings
from mlserve.errors import InvalidConfig
from mlserve.traffic.redaction import read_policy
from mlserve.traffic.writing import CapturePlan, read_key


def plan_in(settings: ServeSettings) -> CapturePlan:
    """The plan of a server that captures. Raises InvalidConfig for a policy or key that cannot be used."""
    if settings.capture is None:
        raise InvalidConfig("nothing is captured", hint="serve.capture names the folder")
    key = read_key(None if settings.capture_key_file is None else Path(settings.capture_key_file))
    return CapturePlan(
        Path(settings.capture),
        share=settings.capture_share,
        segment_bytes=settings.capture_segment_bytes,
        segment_s=settings.capture_segment_s,
        max_bytes=settings.capture_max_bytes,
        sync=settings.capture_sync,
        redaction=read_policy(None if settings.capture_policy is None else Path(settings.capture_policy), key),
    )
