"""A run of production as it goes to a shadow: a head in MessagePack, then its tensors' bytes, each aligned.

The head says of each tensor its name, type and shape; texts are in the head themselves. Both sides are of one release,
so nothing here is versioned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from mlserve.core.dtypes import DType
from mlserve.core.tensors import TensorSpec
from mlserve.serving.shadow.ring import ALIGNMENT
from mlserve.traffic.recorded import Array, Arrays, Recorded

_LENGTH_BYTES = 8


class Laid(msgspec.Struct, array_like=True, gc=False):
    """Where a tensor lies: ``texts`` are its values where it is of texts, else its bytes follow the head."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    texts: list[Any] | None = None


class Head(msgspec.Struct, array_like=True):
    """What is said of the requests; as ``Recorded`` says it."""

    ids: list[bytes]
    arrived_s: list[float]
    epoch_s: float
    is_sliced: bool
    rows: list[int] | None
    first_rows: list[int] | None
    unit_keys: list[str | None] | None
    asked: list[tuple[str, ...] | None] | None
    taken_s: float | None
    compute_s: float
    batch_id: int
    batch_rows: int
    inputs: list[Laid]
    outputs: list[Laid]


class Mirrored(msgspec.Struct):
    """A run as a shadow sees it: what was asked and what production answered. Arrays are views of the frame."""

    head: Head
    inputs: dict[str, Array]
    outputs: dict[str, Array]

    @property
    def requests(self) -> int:
        return len(self.head.ids)

    @property
    def rows_each(self) -> list[int]:
        """How many rows each request has; one that has none on axis 0 counts as one."""
        return self.head.rows or [1] * len(self.head.ids)

    @property
    def request_ids(self) -> list[str]:
        return [part.decode("utf-8", "replace") for part in self.head.ids]

    def alone(self, at: int) -> Mirrored:
        """Request ``at`` by itself."""
        head = self.head
        rows = self.rows_each
        start, stop = sum(rows[:at]), sum(rows[: at + 1])
        one = msgspec.structs.replace(
            head,
            ids=[head.ids[at]],
            arrived_s=[head.arrived_s[at]],
            rows=[rows[at]],
            first_rows=None if head.first_rows is None else [head.first_rows[at]],
            unit_keys=None if head.unit_keys is None else [head.unit_keys[at]],
            asked=None if head.asked is None else [head.asked[at]],
        )
        return Mirrored(one, _cut(self.inputs, start, stop), _cut(self.outputs, start, stop))


def _cut(arrays: Mapping[str, Array], start: int, stop: int) -> dict[str, Array]:
    return {name: array[start:stop] for name, array in arrays.items()}


_HEADS = msgspec.msgpack.Decoder(Head)
_ENCODER = msgspec.msgpack.Encoder()


def frame_of(recorded: Recorded) -> list[bytes | memoryview]:
    """The parts of the frame for ``recorded``, which has inputs and outputs. Tensors are not copied."""
    signature = recorded.source.signature
    parts: list[bytes | memoryview] = [b""]
    head = Head(
        list(recorded.ids),
        list(recorded.arrived_s),
        recorded.epoch_s,
        recorded.is_sliced,
        None if recorded.rows is None else list(recorded.rows),
        None if recorded.first_rows is None else list(recorded.first_rows),
        None if recorded.unit_keys is None else list(recorded.unit_keys),
        None if recorded.asked is None else list(recorded.asked),
        recorded.taken_s,
        recorded.compute_s,
        recorded.batch_id,
        recorded.batch_rows,
        _lay(recorded.inputs or {}, signature.inputs, parts),
        _lay(recorded.outputs or {}, signature.outputs, parts),
    )
    body = _ENCODER.encode(head)
    parts[0] = len(body).to_bytes(_LENGTH_BYTES, "little") + body
    return parts


def mirrored_in(frame: bytes) -> Mirrored:
    """The inverse of ``frame_of``, of its parts as ``Ring.take`` gives them."""
    end = _LENGTH_BYTES + int.from_bytes(frame[:_LENGTH_BYTES], "little")
    head = _HEADS.decode(memoryview(frame)[_LENGTH_BYTES:end])
    arrays: list[dict[str, Array]] = []
    place = _aligned(end)
    for tensors in (head.inputs, head.outputs):
        found: dict[str, Array] = {}
        for laid in tensors:
            if laid.texts is not None:
                texts = np.empty(len(laid.texts), object)
                texts[:] = laid.texts
                found[laid.name] = texts.reshape(laid.shape)
                continue
            kind = DType(laid.dtype).numpy
            count = int(np.prod(laid.shape, dtype=np.int64))
            found[laid.name] = np.frombuffer(frame, kind, count, place).reshape(laid.shape)
            place += _aligned(count * kind.itemsize)
        arrays.append(found)
    return Mirrored(head, *arrays)


def _lay(arrays: Arrays, specs: Sequence[TensorSpec], parts: list[bytes | memoryview]) -> list[Laid]:
    laid = []
    for spec in specs:
        array = arrays.get(spec.name)
        if array is None:
            continue
        if array.dtype.kind == "O":
            laid.append(Laid(spec.name, spec.dtype.value, array.shape, array.ravel().tolist()))
            continue
        flat: np.ndarray[Any, Any] = np.ascontiguousarray(array, spec.dtype.numpy).reshape(-1)
        parts.append(flat.view(np.uint8).data)
        laid.append(Laid(spec.name, spec.dtype.value, array.shape))
    return laid


def chosen(recorded: Recorded, keep: Sequence[bool]) -> Recorded | None:
    """The requests of ``recorded`` at which ``keep`` is True, None where there are none."""
    if all(keep):
        return recorded
    if not any(keep):
        return None
    rows = recorded.rows or [1] * recorded.requests
    mask = np.repeat(np.array(keep, bool), rows)

    def some(values: Sequence[Any] | None) -> list[Any] | None:
        return None if values is None else [value for value, kept in zip(values, keep, strict=True) if kept]

    def rows_of(arrays: Arrays | None) -> Arrays | None:
        return None if arrays is None else {name: array[mask] for name, array in arrays.items()}

    return msgspec.structs.replace(
        recorded,
        ids=some(recorded.ids),
        arrived_s=some(recorded.arrived_s),
        rows=some(recorded.rows),
        first_rows=some(recorded.first_rows),
        unit_keys=some(recorded.unit_keys),
        pinned=some(recorded.pinned),
        asked=some(recorded.asked),
        inputs=rows_of(recorded.inputs),
        outputs=rows_of(recorded.outputs),
    )


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
