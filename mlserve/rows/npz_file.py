"""``.npz``: one array a column, rows on axis 0, read straight from the zip stream and never unpickled."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from mlserve.errors import InvalidInput
from mlserve.rows.tables import (
    MAX_BATCH_BYTES,
    Array,
    RawBatch,
    first_line,
    require_content,
    require_distinct,
    rows_per_batch,
)

MAX_ARRAYS = 10_000
BOMB_BYTES = 1 << 30
BOMB_RATIO = 200
"""A member that unpacks to more than BOMB_BYTES and BOMB_RATIO times its size is taken for a zip bomb."""

_SUFFIX = ".npy"


@dataclass(frozen=True, slots=True)
class _Member:
    """An array's header, checked against the size that the zip's directory gives."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    header_bytes: int

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class NpzTable:
    """The arrays of an ``.npz`` file. Raises NotFound, InvalidInput when opened."""

    features_as_columns = False

    def __init__(self, path: Path) -> None:
        require_content(path)
        self.path = path
        with _reading(path), zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            if len(infos) > MAX_ARRAYS:
                raise InvalidInput(f"'{path}' holds {len(infos)} arrays, more than {MAX_ARRAYS}")
            self._members = {member.name: member for member in (_read_header(path, archive, info) for info in infos)}
        names = [info.filename.removesuffix(_SUFFIX) for info in infos]
        self.columns = require_distinct(path, names)

    @property
    def total_rows(self) -> int | None:
        lengths = {member.shape[0] for member in self._members.values() if member.shape}
        return lengths.pop() if len(lengths) == 1 else None

    def batches(self, rows: int, only: Collection[str] | None = None) -> Iterator[RawBatch]:
        members = [member for name, member in self._members.items() if only is None or name in only]
        ranked = [member for member in members if member.shape]
        with _reading(self.path), ExitStack() as stack:
            archive = stack.enter_context(zipfile.ZipFile(self.path))
            streams = {m.name: stack.enter_context(archive.open(m.name + _SUFFIX)) for m in members}
            for member in members:
                streams[member.name].read(member.header_bytes)
            constants = {m.name: self._read_rows(streams[m.name], m, 1) for m in members if not m.shape}
            if len({member.shape[0] for member in ranked}) != 1:
                yield constants | {m.name: self._read_whole(streams[m.name], m) for m in ranked}
                return
            whole = {m.name: self._read_whole(streams[m.name], m) for m in ranked if m.fortran_order}
            total = ranked[0].shape[0]
            step = rows_per_batch(rows, max(sum(m.row_bytes for m in ranked), 1))
            for start in range(0, total, step):
                count = min(step, total - start)
                yield constants | {
                    m.name: whole[m.name][start : start + count]
                    if m.fortran_order
                    else self._read_rows(streams[m.name], m, count)
                    for m in ranked
                }

    def _read_whole(self, stream: IO[bytes], member: _Member) -> Array:
        if member.size_bytes > BOMB_BYTES:
            raise InvalidInput(
                f"array '{member.name}' of '{self.path}' has {member.size_bytes} bytes that cannot be read row by row",
                hint="save it in C order: np.ascontiguousarray",
            )
        flat = self._read_values(stream, member, math.prod(member.shape))
        return flat.reshape(member.shape[::-1]).T if member.fortran_order else flat.reshape(member.shape)

    def _read_rows(self, stream: IO[bytes], member: _Member, count: int) -> Array:
        shape = (count, *member.shape[1:]) if member.shape else ()
        return self._read_values(stream, member, math.prod(shape)).reshape(shape)

    def _read_values(self, stream: IO[bytes], member: _Member, count: int) -> Array:
        size = count * member.dtype.itemsize
        content = stream.read(size)
        if len(content) != size:
            raise InvalidInput(f"array '{member.name}' of '{self.path}' is cut short")
        return _native(
            np.frombuffer(content, dtype=member.dtype, count=count) if size else np.zeros(count, member.dtype)
        )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        # zipfile: RuntimeError for an encrypted member, NotImplementedError for an unknown compression.
        raise InvalidInput(f"'{path}' is not a readable .npz file: {first_line(error)}") from error


def _read_header(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    name = info.filename.removesuffix(_SUFFIX)
    if not info.filename.endswith(_SUFFIX):
        raise InvalidInput(f"'{path}' holds '{info.filename}', which is not an array")
    if info.file_size > BOMB_BYTES and info.file_size > BOMB_RATIO * max(info.compress_size, 1):
        raise InvalidInput(f"array '{name}' of '{path}' unpacks from {info.compress_size} to {info.file_size} bytes")
    with archive.open(info) as stream:
        version: tuple[int, int] = np.lib.format.read_magic(stream)  # type: ignore[no-untyped-call]  # numpy's gap
        if version not in ((1, 0), (2, 0)):
            raise InvalidInput(f"array '{name}' of '{path}' is of .npy format {version[0]}, known here are 1 and 2")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(stream)  # type: ignore[no-untyped-call]  # numpy's gap
        member = _Member(name, shape, dtype, fortran_order and len(shape) > 1, stream.tell())
    _check(path, member, info.file_size)
    return member


def _check(path: Path, member: _Member, file_bytes: int) -> None:
    where = f"array '{member.name}' of '{path}'"
    if member.dtype.hasobject:
        raise InvalidInput(
            f"{where} holds Python objects, which are code and are not loaded", hint="save text as array.astype(str)"
        )
    if member.dtype.fields or member.dtype.subdtype:
        raise InvalidInput(f"{where} holds records", hint="save one array for each field")
    declared = member.header_bytes + member.size_bytes
    if min(member.shape, default=0) < 0 or declared != file_bytes:
        raise InvalidInput(f"{where} is damaged: it declares {declared} bytes and has {file_bytes}")
    if member.row_bytes > MAX_BATCH_BYTES:
        raise InvalidInput(f"a row of {where} has {member.row_bytes} bytes, more than {MAX_BATCH_BYTES}")


def _native(array: Array) -> Array:
    """``array`` in this machine's byte order, text as objects."""
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8").astype(object)
    if array.dtype.kind == "U":
        return array.astype(object)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
