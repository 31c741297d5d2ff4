"""Writing a model's outputs to a file, in the form that its suffix names and ``reading`` reads back."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from mlserve.core.files import replacing
from mlserve.errors import InvalidInput, Unsupported, UsageError
from mlserve.rows.tables import Array

Writer = Callable[[Path, dict[str, Array]], None]


def check_writable(path: Path, *, inputs: Iterable[Path] = ()) -> None:
    """Nothing, if ``write_outputs`` knows how to write ``path``; asked before the work that makes the outputs.

    Raises UsageError for an unknown suffix, and where one of ``inputs`` would be overwritten.
    """
    if path.suffix.lower() not in _WRITERS:
        said = f"as '{path.suffix}'" if path.suffix else f"to '{path}', which has no suffix"
        raise UsageError(f"outputs cannot be written {said}", hint=f"one of {', '.join(_WRITERS)}")
    if path.exists() and any(path.samefile(read) for read in inputs if read.exists()):
        raise UsageError(f"'{path}' is read and would be overwritten", hint="-o with another name")


def write_outputs(path: Path, outputs: Mapping[str, Array]) -> None:
    """Write ``outputs`` to ``path``, whole or not at all: ``.npz``, ``.parquet``, ``.csv``, ``.json`` or ``.jsonl``.

    ``.npz`` holds any shapes. In the others axis 0 is rows: Parquet and JSON hold lists for what lies beyond, CSV a
    column for each value of a 2-D output (``scores_0``, ``scores_1``…; plain ``scores`` where there is one). Types that
    numpy has not (bfloat16 and smaller) are written as float32 or int8, without loss. NaN and infinities in JSON are
    the bare tokens ``NaN`` and ``Infinity``. Raises InvalidInput for an unknown suffix or a folder that cannot be
    written, Unsupported for outputs that the form cannot hold.
    """
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise InvalidInput(f"outputs cannot be written as '{path.suffix}'", hint=f"one of {', '.join(_WRITERS)}")
    plain = {name: as_plain(np.asarray(array)) for name, array in outputs.items()}
    with replacing(path) as partial:
        write(partial, plain)


def as_plain(array: Array) -> Array:
    """``array`` in a type that numpy itself has; text is held as objects of str."""
    if array.dtype.kind == "V":
        is_integer = array.dtype.name.startswith(("int", "uint"))
        return array.astype(np.int8 if is_integer else np.float32)
    if array.dtype.kind not in "OSU":
        return array
    texts = np.empty(array.size, dtype=object)
    texts[:] = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in array.ravel().tolist()]
    return texts.reshape(array.shape)


def _write_npz(path: Path, outputs: dict[str, Array]) -> None:
    # Not np.savez: it takes names as keywords, and an output may be called ``file``.
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in outputs.items():
            values = array.astype(np.str_) if array.dtype.kind == "O" else array
            with archive.open(name + ".npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)  # type: ignore[no-untyped-call]  # numpy's gap


def _write_parquet(path: Path, outputs: dict[str, Array]) -> None:
    _require_rows(outputs)
    pq.write_table(pa.table({name: as_arrow(name, array) for name, array in outputs.items()}), path)


def as_arrow(name: str, array: Array) -> pa.Array:
    """``array`` as a column, lists for what lies beyond axis 0. Raises Unsupported for complex numbers."""
    if array.dtype.kind == "c":
        raise Unsupported(f"output '{name}' holds complex numbers", hint="write it as .npz")
    values = pa.array(np.ascontiguousarray(array).ravel(), pa.string() if array.dtype.kind == "O" else None)
    for axis in range(array.ndim - 1, 0, -1):
        offsets = np.arange(math.prod(array.shape[:axis]) + 1) * array.shape[axis]
        is_large = offsets[-1] > np.iinfo(np.int32).max
        lists = pa.LargeListArray if is_large else pa.ListArray
        values = lists.from_arrays(pa.array(offsets, pa.int64() if is_large else pa.int32()), values)
    return values


def _write_csv(path: Path, outputs: dict[str, Array]) -> None:
    _require_rows(outputs)
    columns: dict[str, pa.Array] = {}
    for name, array in outputs.items():
        if array.ndim > 2:
            raise Unsupported(f"output '{name}' has {array.ndim} dims, and CSV holds two", hint="write it as .npz")
        flat = array.reshape(len(array), -1) if array.size else array.reshape(len(array), *array.shape[1:] or (1,))
        width = flat.shape[1]
        for i in range(width):
            column = name if width == 1 else f"{name}_{i}"
            if column in columns:
                raise Unsupported(f"two outputs would have the CSV column '{column}'", hint="write them as .npz")
            wide = flat.astype(np.float32) if flat.dtype == np.float16 else flat
            columns[column] = as_arrow(name, wide[:, i])
    pacsv.write_csv(pa.table(columns), path)


def _write_json(path: Path, outputs: dict[str, Array]) -> None:
    with path.open("wb") as file:
        file.write(b"[")
        for i, row in enumerate(_json_rows(outputs)):
            file.write(b",\n" + row if i else b"\n" + row)
        file.write(b"\n]\n")


def _write_jsonl(path: Path, outputs: dict[str, Array]) -> None:
    with path.open("wb") as file:
        file.writelines(row + b"\n" for row in _json_rows(outputs))


def _json_rows(outputs: dict[str, Array]) -> Iterable[bytes]:
    rows = _require_rows(outputs)
    for name, array in outputs.items():
        if array.dtype.kind == "c":
            raise Unsupported(f"output '{name}' holds complex numbers", hint="write it as .npz")
    finite = all(np.isfinite(array).all() for array in outputs.values() if array.dtype.kind == "f")
    # orjson knows no numpy.longlong, which is what ONNX Runtime's int64 outputs consist of.
    columns = {
        name: array.tolist() if array.dtype.kind in "Oiub" else np.ascontiguousarray(array)
        for name, array in outputs.items()
    }
    for i in range(rows):
        row = {name: column[i] for name, column in columns.items()}
        if finite:
            yield orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)
        else:
            yield json.dumps(row, default=lambda value: value.tolist(), ensure_ascii=False).encode()


def _require_rows(outputs: Mapping[str, Array]) -> int:
    lengths = {len(array) if array.ndim else None for array in outputs.values()}
    if len(lengths) != 1 or None in lengths:
        raise Unsupported("the outputs do not have the same rows", hint="write them as .npz")
    (rows,) = lengths
    return rows or 0


_WRITERS: dict[str, Writer] = {
    ".npz": _write_npz,
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".json": _write_json,
    ".jsonl": _write_jsonl,
}
