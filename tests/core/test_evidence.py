"""Measurements and the file that carries them."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.digests import digest_bytes
from mlserve.core.evidence import Evidence, isoformat, read_sidecar, sidecar_path, tool_versions, write_sidecar
from mlserve.errors import InvalidInput

DIGEST = digest_bytes(b"model")
PARITY = Evidence(
    kind="parity",
    digest=DIGEST,
    passed=True,
    figures={"max_abs": 1e-7, "rows": 100, "metric": {"drop": 0.25}, "exact": True, "note": "fine"},
    measured_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    measured_by="ada",
    data_digest=digest_bytes(b"data"),
    tools={"onnx": "1.23.2"},
)
moments = st.datetimes(timezones=st.timezones() | st.just(UTC), min_value=datetime(1990, 1, 1))


@given(st.sampled_from([True, False, None]), moments, st.dictionaries(st.text(), st.integers() | st.text(), max_size=3))
def test_evidence_survives_json(passed, moment, figures):
    item = replace(PARITY, passed=passed, measured_at=moment, figures=figures)

    read = Evidence.from_dict(json.loads(json.dumps(item.to_dict())))

    assert read == replace(item, measured_at=moment.astimezone(UTC))


def test_times_are_written_in_utc_with_a_z():
    moment = datetime(2026, 1, 2, 1, 0, tzinfo=timezone(timedelta(hours=2)))

    assert isoformat(moment) == "2026-01-01T23:00:00Z"


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        pytest.param("max_abs", 1e-7, id="number"),
        pytest.param("metric.drop", 0.25, id="within an object"),
        pytest.param("metric", None, id="an object"),
        pytest.param("note", None, id="text"),
        pytest.param("exact", None, id="a boolean"),
        pytest.param("rows.deeper", None, id="within a number"),
        pytest.param("absent", None, id="absent"),
    ],
)
def test_a_figure_is_a_number_or_nothing(name: str, figure: float | None):
    assert PARITY.figure(name) == figure


def test_nan_is_no_figure_that_a_gate_could_read():
    assert replace(PARITY, figures={"drop": float("nan")}).figure("drop") is None


def test_what_is_read_beside_a_model_counts_as_imported(tmp_path: Path):
    model = tmp_path / "m.onnx"
    write_sidecar(model, [PARITY])

    assert read_sidecar(model, DIGEST) == [replace(PARITY, origin="imported")]
    assert sidecar_path(model).name == "m.onnx.evidence.json"


def test_no_file_means_no_evidence(tmp_path: Path):
    assert read_sidecar(tmp_path / "m.onnx", DIGEST) == []


def test_evidence_of_another_model_is_refused(tmp_path: Path):
    write_sidecar(tmp_path / "m.onnx", [PARITY])

    with pytest.raises(InvalidInput, match="speaks of another model"):
        read_sidecar(tmp_path / "m.onnx", digest_bytes(b"other"))


def one(**changes: object) -> str:
    return json.dumps({"schema": 1, "evidence": [PARITY.to_dict() | changes]})


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[]", id="a list"),
        pytest.param("{", id="cut short"),
        pytest.param("\xff", id="not UTF-8"),
        pytest.param("[" * 100_000, id="nested without end"),
        pytest.param('{"schema": 2, "evidence": []}', id="from the future"),
        pytest.param('{"schema": 1}', id="nothing in it"),
        pytest.param('{"schema": 1, "evidence": ["x"]}', id="text for evidence"),
        pytest.param(one(passed="yes"), id="verdict as text"),
        pytest.param(one(passed=1), id="verdict as number"),
        pytest.param(one(origin="forged"), id="unknown origin"),
        pytest.param(one(figures=[1]), id="figures as list"),
        pytest.param(one(measured_at="yesterday"), id="time as word"),
        pytest.param(one(measured_at="2026-01-02T03:04:05"), id="time without zone"),
        pytest.param(one(measured_at=3), id="time as number"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str):
    sidecar_path(tmp_path / "m.onnx").write_bytes(text.encode("latin-1"))

    with pytest.raises(InvalidInput):
        read_sidecar(tmp_path / "m.onnx", DIGEST)


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path):
    sidecar_path(tmp_path / "m.onnx").mkdir()

    with pytest.raises(InvalidInput, match="is not an evidence file"):
        read_sidecar(tmp_path / "m.onnx", DIGEST)


def test_versions_are_those_of_installed_packages_only():
    versions = tool_versions("numpy", "no-such-package")

    assert "numpy" in versions
    assert "no-such-package" not in versions
