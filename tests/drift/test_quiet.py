"""Quiet hours are hours on people's clocks, over midnight and over the change of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mlserve.drift.quiet import parse_quiet_hours
from mlserve.errors import InvalidConfig


@pytest.mark.parametrize(
    ("hours", "clock", "quiet"),
    [
        pytest.param("22:00-07:00", "22:00", True, id="the first minute is quiet"),
        pytest.param("22:00-07:00", "07:00", False, id="the last is not"),
        pytest.param("22:00-07:00", "03:30", True, id="over midnight"),
        pytest.param("22:00-07:00", "12:00", False, id="noon"),
        pytest.param("12:00-13:00", "12:59", True, id="within a day"),
        pytest.param("12:00-13:00", "11:59", False, id="before, within a day"),
    ],
)
def test_hours_are_quiet_from_the_first_minute_on(hours: str, clock: str, quiet: bool) -> None:
    found = parse_quiet_hours(hours)
    assert found is not None

    assert found.cover(datetime.fromisoformat(f"2026-03-01T{clock}:00+00:00")) is quiet


@pytest.mark.parametrize(
    ("moment", "over"), [("2026-03-28T23:00", "2026-03-29T05:00"), ("2026-06-01T04:59", "2026-06-01T05:00")]
)
def test_the_end_is_on_the_zones_clock_though_clocks_change(moment: str, over: str) -> None:
    quiet = parse_quiet_hours("22:00-07:00", "Europe/Berlin")
    assert quiet is not None

    end = quiet.over_at(datetime.fromisoformat(f"{moment}:00+00:00"))

    assert end.astimezone(UTC) == datetime.fromisoformat(f"{over}:00+00:00")


@pytest.mark.parametrize(
    ("hours", "zone", "fact"),
    [
        pytest.param("at night", "UTC", "are no hours", id="words"),
        pytest.param("25:00-07:00", "UTC", "are no hours", id="no such hour"),
        pytest.param("07:00-07:00", "UTC", "no time or the whole day", id="no end"),
        pytest.param("22:00-07:00", "Mars/Olympus", "is no time zone", id="no such zone"),
    ],
)
def test_what_are_no_hours_is_an_error(hours: str, zone: str, fact: str) -> None:
    with pytest.raises(InvalidConfig, match=fact):
        parse_quiet_hours(hours, zone)
