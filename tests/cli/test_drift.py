"""``mlserve drift fit``: a version's reference is learned once, from whatever file it lies in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlserve import wiring
from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.drift.profile import from_bytes
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.freezing import freeze
from mlserve.traffic.recorded import Source
from tests.cli.conftest import Run
from tests.traffic.making import SIGNATURE, captured, recorded

ROWS = 400


@pytest.fixture
def reference(clean_environment: Path) -> Path:
    """Rows for ``fraud``, a column a feature, with labels and times."""
    random = np.random.default_rng(3)
    columns = {name: random.normal(size=ROWS).astype(np.float32) for name in ("amount", "age", "visits")}
    columns["plan"] = random.integers(0, 3, ROWS).astype(np.float32)
    times = np.datetime64("2026-01-01", "us") + np.arange(ROWS) * np.timedelta64(60_000_000, "us")
    path = clean_environment / "train.parquet"
    pq.write_table(pa.table({**columns, "label": random.integers(0, 3, ROWS), "time": times}), path)
    return path


def test_a_fitted_profile_is_kept_beside_the_version(run: Run, fraud: Path, reference: Path) -> None:
    done = run("drift", "fit", "fraud:1", "--reference", reference, "--json")

    assert done.code == 0
    answer = done.document
    assert answer["ref"] == "fraud:1"
    assert answer["created"] is True
    assert [one["name"] for one in answer["features"]][:4] == ["amount", "age", "visits", "plan"]
    assert answer["features"][3]["kind"] == "categorical"
    assert {"prediction.class", "prediction.score", "prediction.error"} <= {one["name"] for one in answer["features"]}
    assert answer["reference"]["rows"] == answer["reference"]["labelled"] == ROWS
    kept = ArtefactStore(str(fraud / ".mlserve" / "artifacts")).read(answer["profile"])
    assert from_bytes(kept).reference.rows == ROWS
    (evidence,) = [
        one for one in run("show", "fraud:1", "--json").document["evidence"] if one["kind"] == "drift_profile"
    ]
    assert evidence["figures"]["profile"] == answer["profile"]


def test_the_same_reference_again_is_the_same_profile(run: Run, fraud: Path, reference: Path) -> None:
    first = run("drift", "fit", "fraud:1", "--reference", reference, "--quiet")
    again = run("drift", "fit", "fraud:1", "--reference", reference, "--json")

    assert again.document["profile"] == first.out.strip()
    assert again.document["created"] is False


def test_a_person_reads_a_line_for_each_feature(run: Run, fraud: Path, reference: Path) -> None:
    done = run("drift", "fit", "fraud:1", "--reference", reference)

    assert "fraud:1 has a new drift profile, of 400 rows" in done.out
    assert [line.split()[0] for line in done.out.splitlines()[2:6]] == ["amount", "age", "visits", "plan"]


def test_a_schema_file_names_features_and_roles(run: Run, fraud: Path, reference: Path) -> None:
    table = pq.read_table(reference).rename_columns(["a", "b", "c", "d", "churned", "when"])
    pq.write_table(table, reference)
    schema = fraud / "schema.toml"
    schema.write_text('label = "churned"\ntime = "when"\n[features.d]\nkind = "numeric"\nlow = 0.0\n')

    answer = run("drift", "fit", "fraud:1", "--reference", reference, "--schema", schema, "--json").document

    assert {one["name"]: one["kind"] for one in answer["features"]}["d"] == "numeric"
    assert answer["reference"]["labelled"] == ROWS


def test_a_capture_is_a_reference(run: Run, fraud: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(5).normal(size=(60, 4)).astype(np.float32)
    signature = Signature((TensorSpec("x", DType.FLOAT32, ("batch", 4)),), SIGNATURE.outputs)
    part = recorded([1] * 60, source=Source("fraud", 1, "sha256:" + "0" * 64, signature), inputs={"x": x})
    folder = captured(tmp_path / "capture", part)

    answer = run("drift", "fit", "fraud:1", "--reference", folder, "--json").document

    assert [one["name"] for one in answer["features"]][:4] == ["x[0]", "x[1]", "x[2]", "x[3]"]
    assert answer["reference"]["rows"] == 60
    assert answer["reference"]["kind"] == "capture"
    assert answer["reference"]["start"].startswith("2026-11-27T05:30")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(["fraud:9", "--reference", "train.parquet"], 4, "no version 9", id="no version"),
        pytest.param(["fraud:1", "--reference", "none.parquet"], 4, "no file 'none.parquet'", id="no data"),
        pytest.param(["fraud:1", "--reference", "rows.npz"], 9, "5 rows, and 50 are needed", id="too few rows"),
        pytest.param(
            ["fraud:1", "--reference", "train.parquet", "--schema", "none.toml"], 4, "no schema file", id="no schema"
        ),
        pytest.param(
            ["fraud:1", "--reference", "train.parquet", "--detector", "mdd"], 2, "no detector 'mdd'", id="no detector"
        ),
    ],
)
def test_what_cannot_be_fitted_says_why(
    run: Run, fraud: Path, reference: Path, rows: Path, words: list[str], code: int, said: str
) -> None:
    done = run("drift", "fit", *words, "--json")

    assert (done.code, said in done.error["message"]) == (code, True)


def test_a_frozen_model_is_refused_at_the_gate_until_it_is_thawed(run: Run, fraud: Path) -> None:
    with wiring.connect() as app:
        freeze(app.store, "fraud", reason="run abc: critical", by="drift", now=app.clock())

    refused = run("promote", "fraud:2", "--to", "production", "--json")
    lifted = run("drift", "thaw", "fraud", "--reason", "retrained", "--json")
    again = run("drift", "thaw", "fraud")

    assert refused.code == 7
    assert {"name": "drift freeze", "passed": False}.items() <= refused.document["gates"][-1].items()
    assert (lifted.code, lifted.document["frozen"], lifted.document["changed"]) == (0, False, True)
    assert again.out == "✓ fraud is not frozen\n"
    assert run("promote", "fraud:2", "--to", "production").code == 0
    assert run("drift", "thaw", "frau").code == 4
