"""Keeps a capture as this release writes it: ``python -m tests.traffic.keeping``, once a release and never again.

What it wrote stays as it is: that later releases read it is what ``test_kept.py`` shows. Next to a sealed segment, one
that was cut short and a Parquet file lies what must be read from them, ``requests.jsonl``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ml_dtypes
import numpy as np

from mlserve import __version__
from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.rows.capture_format import OPEN_SUFFIX, SEALED_SUFFIX
from mlserve.rows.outcome_log import NO_TIME
from mlserve.traffic.compacting import compact
from mlserve.traffic.outcomes import LOCK
from mlserve.traffic.recorded import Recorded, Source
from mlserve.traffic.surveying import requests_of
from tests.traffic.making import captured, recorded
from tests.traffic.outcome_making import entries, noon, recorder

KEPT = Path(__file__).parent / "kept"
_TYPES = {
    "truth": (DType.BOOL, [[True], [False]]),
    "small": (DType.INT8, [[-128], [127]]),
    "long": (DType.UINT64, [[0], [2**64 - 1]]),
    "half": (DType.FLOAT16, [[0.1], [-65504.0]]),
    "brain": (DType.BFLOAT16, [[0.1], [3.0e38]]),
    "byte": (DType.FLOAT8E4M3FN, [[0.5], [448.0]]),
    "double": (DType.FLOAT64, [[0.1], [1e300]]),
    "text": (DType.STRING, [["ä\n\x00"], [""]]),
}


def typed() -> Recorded:
    """Two requests of a version that takes a column of every kind and gives it back."""
    arrays = {name: np.array(values, dtype.numpy) for name, (dtype, values) in _TYPES.items()}
    assert arrays["brain"].dtype == ml_dtypes.bfloat16
    specs = tuple(TensorSpec(name, dtype, ("batch", 1)) for name, (dtype, _) in _TYPES.items())
    source = Source("typed", 7, "sha256:" + "7" * 64, Signature(specs, specs))
    return recorded((1, 1), source=source, inputs=arrays, outputs=arrays, unit_keys=["hash-of-a-key", None])


def keep(folder: Path) -> None:
    """Write the capture, and beside it what is in it."""
    several = recorded((1, 3, 2), asked=[None, ("p",), None], unit_keys=[None, "hash-of-a-key", None])
    failed = recorded((1,), start=50, at_s=12.0, status=500, outputs=None)
    captured(folder / "sealed", several, failed, typed())
    captured(folder / "cut", recorded((1, 2)), recorded((1,), start=100, at_s=11.0, batch_id=2))
    for path in (folder / "cut").rglob(f"*{SEALED_SUFFIX}"):
        path.with_name(path.name.removesuffix(SEALED_SUFFIX) + OPEN_SUFFIX).write_bytes(path.read_bytes()[:-80])
        path.unlink()
    captured(folder / "compacted", recorded((2, 1), stage="challenger"), typed())
    compact(folder / "compacted")
    for part in ("sealed", "cut", "compacted"):
        lines = [json.dumps(one, sort_keys=True, ensure_ascii=False) + "\n" for one in requests_of(folder / part)]
        (folder / f"{part}.jsonl").write_text("".join(lines))


LABELS = {"fraud": [1.0, 0.5, 3.0, None], "typed": ["ä\n", "", "spam", None], "whether": [True, False, True, None]}
"""Of ``a``, of two rows of ``b``, and of ``c``, of which nothing is known."""


def keep_outcomes(folder: Path) -> None:
    """Write outcomes of every kind, corrected ones among them."""
    for model, (first, second, third, _) in LABELS.items():
        whole = entries(["a", "b"], [third, second], times=[NO_TIME, noon()])
        log = recorder(folder / model, model)
        log.record(iter([whole]))
        log.record(iter([entries(["a"], [first]), entries(["b"], [third], [1])]))
        (folder / model / "outcomes" / LOCK).unlink()


if __name__ == "__main__":
    kept = KEPT / __version__
    if kept.exists():
        sys.exit(f"{kept} is kept: what a release wrote stays as it is")
    keep(kept)
    keep_outcomes(kept / "labelled")
