"""Which rows a check is of: ``--window`` and ``--ref`` with a capture or a file, opened, read, and enough or not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from mlserve.core.progress import Progress, silent
from mlserve.errors import NotFound, UsageError

if TYPE_CHECKING:
    from mlserve.drift.answering import Run
    from mlserve.drift.arriving import WindowRows
    from mlserve.drift.profile import Profile
    from mlserve.drift.windows import Against, Bounds, Supply, WindowWords


@dataclass(frozen=True, slots=True)
class Opened:
    """The capture or file that a window lies in, the times it means there, and what they are held against.

    ``before`` are the times of the rows to hold it against, None for the profile's reference.
    """

    path: Path
    is_capture: bool
    bounds: Bounds
    before: Bounds | None = None


def open_window(
    name: str,
    words: WindowWords,
    against: Against,
    *,
    bounds: Bounds,
    capture: Path | None = None,
    config_file: Path | None = None,
    registry: str | None = None,
) -> Opened:
    """Where the rows of model ``name`` that ``words`` mean lie.

    Raises NotFound where there is no such capture or file, InvalidInput for a folder without a captured request;
    UsageError for rows without times that were to be held against earlier ones.
    """
    from mlserve.drift.captured_source import CaptureSource, narrowed
    from mlserve.drift.windows import DataAt, compared
    from mlserve.rows.capture_format import is_capture
    from mlserve.wiring.outcomes import find_capture

    if isinstance(words, DataAt):
        if capture is not None:
            raise UsageError("--window is a file, and --capture a capture", hint="one of them")
        if not words.path.exists():
            raise NotFound(f"no file '{words.path}'")
        is_captured = is_capture(words.path)
        if is_captured:
            CaptureSource(words.path)
        return Opened(words.path, is_captured, bounds, compared(bounds, against))
    folder = find_capture(name, capture, config_file=config_file, registry=registry).folder
    CaptureSource(folder)  # which says what is wrong with it
    told = narrowed(folder, bounds)
    return Opened(folder, True, replace(told, skipped_from=bounds.skipped_from), compared(told, against))


def read_opened(
    profile: Profile,
    opened: Opened,
    version: int,
    run: Run | None,
    *,
    bounds: Bounds,
    progress: Progress = silent,
) -> WindowRows:
    """The rows within ``bounds``, with the answers of ``version``. Raises InvalidInput for what cannot be read."""
    from mlserve.drift.arriving import read_window
    from mlserve.drift.captured_source import CaptureSource
    from mlserve.drift.file_window import FileWindow
    from mlserve.drift.sources import Source

    source: Source
    if opened.is_capture:
        source = CaptureSource(opened.path, bounds=bounds, answers_of=version)
    else:
        source = FileWindow(opened.path, profile.schema)
    return read_window(profile, source, run, bounds=bounds, progress=progress)


def supply_of(opened: Opened, window: WindowRows, now: datetime) -> tuple[Supply, str]:
    """Whether the window has rows enough to judge by. A file is never stale: whoever names it knows how old it is."""
    from mlserve.drift.captured_source import arrivals
    from mlserve.drift.windows import Bounds, judge_supply

    newest = None
    if opened.is_capture and opened.bounds.end is not None:
        newest = window.arrived.last or arrivals(opened.path, bounds=Bounds(None, opened.bounds.end)).last
        # The window's end may lie in the past, and what came since is no sign of silence.
        now = min(now, opened.bounds.end + timedelta(seconds=1))
        if newest is None:
            return "stale", f"nothing was captured in '{opened.path}' yet"
    return judge_supply(window.rows, newest=newest, now=now)


def held_against(profile: Profile, earlier: WindowRows) -> Profile:
    """``profile`` with another window's rows as its reference; thresholds stay those that were learned."""
    arrived = earlier.arrived
    reference = replace(
        profile.reference,
        data_digest=earlier.digest,
        rows=earlier.rows,
        estimated_rows=arrived.estimated_rows,
        labelled=earlier.labelled,
        predicted=earlier.predicted,
        start=arrived.start,
        end=arrived.end,
    )
    summaries = {name: arrived.summaries[name] for name in profile.summaries if name in arrived.summaries}
    return replace(profile, reference=reference, summaries=summaries, sample=earlier.sample)
