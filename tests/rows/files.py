"""Data files for tests: the same columns in every format."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FORMS = ("npz", "parquet", "csv", "jsonl", "json", "requests.jsonl", "request.json")
"""Suffixes that ``write`` knows; a request holds no columns of objects with nulls."""

COLUMN_FORMS = ("parquet", "csv", "jsonl", "json")


def write(folder: Path, form: str, columns: Mapping[str, Any]) -> Path:
    """``columns`` (rows on axis 0) as ``data.FORM``; CSV takes one-dimensional ones only."""
    path = folder / f"data.{form}"
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    rows = len(next(iter(arrays.values())))
    match form:
        case "npz":
            np.savez(path, **{n: a.astype(str) if a.dtype == object else a for n, a in arrays.items()})
        case "parquet":
            pq.write_table(pa.table({n: pa.array(a.tolist()) for n, a in arrays.items()}), path)
        case "csv":
            lines = [",".join(arrays), *(",".join(_cell(a[i]) for a in arrays.values()) for i in range(rows))]
            path.write_text("".join(line + "\n" for line in lines))
        case "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in objects(arrays)))
        case "json":
            path.write_text(json.dumps(objects(arrays)))
        case "requests.jsonl":
            requests = [request({n: a[i : i + 1] for n, a in arrays.items()}) for i in range(rows)]
            path.write_text("".join(json.dumps(one) + "\n" for one in requests))
        case "request.json":
            path.write_text(json.dumps(request(arrays)))
    return path


def objects(arrays: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    rows = len(next(iter(arrays.values())))
    return [
        {name: array[i].tolist() if array.dtype != object else array[i] for name, array in arrays.items()}
        for i in range(rows)
    ]


def request(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    kinds = {"f": "FP64", "i": "INT64", "b": "BOOL", "O": "BYTES", "U": "BYTES"}
    return {
        "inputs": [
            {"name": n, "shape": list(a.shape), "datatype": kinds[a.dtype.kind], "data": a.ravel().tolist()}
            for n, a in arrays.items()
        ]
    }


def write_npz(path: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """An archive with these bytes as its members."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _cell(value: Any) -> str:
    return "" if value is None or value != value else str(value)
