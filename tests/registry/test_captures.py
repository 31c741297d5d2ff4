"""Where traffic is captured is known to the registry, the last that a server told of first."""

from __future__ import annotations

from mlserve.registry.captures import MAX_FOLDER_CHARS, captures_of, report_captures
from mlserve.registry.following import epoch
from mlserve.registry.store import Store
from tests.registry.making import at


def report(store: Store, *models: str, folder: str = "/data/capture", host: str = "box", minutes: float = 0) -> None:
    report_captures(store, models, host=host, folder=folder, now=at(minutes))


def found(store: Store, model: str = "fraud") -> list[tuple[str, str]]:
    return [(one.host, one.folder) for one in captures_of(store, model)]


def test_the_last_that_was_told_of_comes_first(store: Store) -> None:
    report(store, "fraud", "churn")
    report(store, "fraud", folder="/other", minutes=1)
    report(store, "fraud", host="next", minutes=2)

    assert found(store) == [("next", "/data/capture"), ("box", "/other"), ("box", "/data/capture")]
    assert found(store, "churn") == [("box", "/data/capture")]
    assert found(store, "unknown") == []


def test_the_same_again_is_one_and_the_newest(store: Store) -> None:
    report(store, "fraud")
    report(store, "fraud", folder="/other", minutes=1)
    report(store, "fraud", minutes=2)

    assert found(store) == [("box", "/data/capture"), ("box", "/other")]
    assert captures_of(store, "fraud")[0].to_dict()["reported_at"] == "2026-03-01T12:02:00Z"


def test_telling_does_not_add_to_the_epoch(store: Store) -> None:
    before = epoch(store)

    report(store, "fraud")

    assert epoch(store) == before


def test_a_path_that_does_not_fit_is_not_kept(store: Store) -> None:
    report(store, "fraud", folder="/" + "x" * MAX_FOLDER_CHARS)

    assert found(store) == []
