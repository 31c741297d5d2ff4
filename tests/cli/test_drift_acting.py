"""``mlserve drift act`` does what is still due after the last check, with the rows that it was about."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlserve import wiring
from mlserve.core.digests import digest_bytes, digest_file
from mlserve.core.refs import parse_ref
from mlserve.drift.running import lease_name
from mlserve.registry.drifting import NewRun, Verdict, profile_of, record_run, state_of
from mlserve.registry.leases import acquire
from tests.cli.conftest import Run

ROWS = 120
COPY = "import os, shutil; shutil.copy(os.environ['MLSERVE_DRIFT_WINDOW'], 'seen.parquet')"


@pytest.fixture
def checked(run: Run, fraud: Path) -> Callable[[Verdict], None]:
    """``checked("warn")`` records a check of that verdict of ``fraud:1``, of the rows of ``window.parquet``."""
    random = np.random.default_rng(3)
    columns = {name: random.normal(size=ROWS).astype(np.float32) for name in ("amount", "age", "visits", "plan")}
    table = pa.table({**columns, "label": random.integers(0, 3, ROWS)})
    pq.write_table(table, fraud / "window.parquet")
    assert run("drift", "fit", "fraud:1", "--reference", fraud / "window.parquet").code == 0
    words = json.dumps([sys.executable, "-c", COPY])
    with (fraud / "mlserve.toml").open("a") as file:
        file.write(f'\n[drift]\non_warn = ["command"]\non_critical = ["freeze", "command"]\ncommand = {words}\n')

    def record(verdict: Verdict) -> None:
        window = {
            "kind": "data",
            "rows": ROWS,
            "sources": [str(fraud / "window.parquet")],
            "digest": digest_bytes(b"w"),
        }
        features = [{"name": "age", "drift": verdict != "ok"}]
        with wiring.connect() as app:
            profile = profile_of(app.store, parse_ref("fraud:1"))
            document = {"verdict": verdict, "window": window, "features": features}
            new = NewRun(
                digest_bytes(verdict.encode()), profile.id, digest_bytes(b"w"), None, None, ROWS, verdict, document
            )
            record_run(app.store, new, state_of(app.store, profile.id), by="ann", now=app.clock())

    return record


def test_a_program_gets_the_rows_of_the_last_check_once(
    run: Run, fraud: Path, checked: Callable[[Verdict], None]
) -> None:
    checked("warn")

    done = run("drift", "act", "fraud:1", "--json")
    again = run("drift", "act", "fraud:1", "--json")

    assert done.code == 0
    (action,) = done.document["actions"]
    assert (action["action"], action["state"], action["window_rows"]) == ("command", "done", ROWS)
    assert Path(action["window"]).is_relative_to(fraud / ".mlserve" / "drift" / "fraud")
    assert digest_file(Path("seen.parquet")) == action["window_digest"]
    assert pq.read_table("seen.parquet").equals(pq.read_table("window.parquet").cast(pq.read_schema("seen.parquet")))
    assert [one["state"] for one in again.document["actions"]] == ["debounced"]


def test_a_person_reads_what_was_done(run: Run, checked: Callable[[Verdict], None]) -> None:
    checked("critical")

    done = run("drift", "act", "fraud:1")

    assert done.out.splitlines()[0] == "✓ fraud:1: 2 actions after its last check (critical)"
    assert [line.split()[:2] for line in done.out.splitlines()[2:]] == [["freeze", "done"], ["command", "done"]]
    assert run("promote", "fraud:2", "--to", "production").code == 7


def test_after_a_check_that_found_nothing_nothing_is_done(run: Run, checked: Callable[[Verdict], None]) -> None:
    assert run("drift", "act", "fraud:1", "--json").error["message"] == "'fraud:1' was never checked"
    checked("ok")

    assert run("drift", "act", "fraud:1").out == "✓ fraud:1: nothing to do after its last check (ok)\n"


def test_what_fails_is_exit_7_and_tried_again(run: Run, fraud: Path, checked: Callable[[Verdict], None]) -> None:
    settings = fraud / "mlserve.toml"
    good = settings.read_text()
    checked("warn")
    settings.write_text(good.replace(COPY, "raise SystemExit(3)"))

    failed = run("drift", "act", "fraud:1", "--json")
    settings.write_text(good)
    done = run("drift", "act", "fraud:1", "--json")

    assert (failed.code, failed.document["actions"][0]["exit_code"]) == (7, 3)
    assert (done.code, done.document["actions"][0]["state"]) == (0, "done")


def test_while_a_check_runs_nothing_is_done(run: Run, checked: Callable[[Verdict], None]) -> None:
    checked("warn")
    with wiring.connect() as app:
        profile = profile_of(app.store, parse_ref("fraud:1"))
        name = lease_name("fraud", profile.profile_digest)
        assert acquire(app.store, name, "night", now=app.clock(), ttl_s=600)

    done = run("drift", "act", "fraud:1", "--json")

    assert done.code == 5
    assert done.error["hint"] == "--wait S waits for it"
