"""Weights that lie outside the graph file: where, whether that is allowed, and how they come in.

A location is text inside a file that anybody may have made, so it is taken only if it stays in the graph's folder, by
name and after following links, and if the bytes it claims are really there.
Source: ONNX, docs/ExternalData.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import onnx

from mlserve.errors import InvalidInput
from mlserve.graph import walking


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor's bytes lie: a POSIX path relative to the graph's folder, and the range within that file.

    ``length_bytes`` is None for "up to the end of the file".
    """

    location: str
    offset_bytes: int
    length_bytes: int | None


def external_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """The tensors whose bytes are not in the graph file."""
    return (t for t in walking.tensors(model) if t.data_location == onnx.TensorProto.EXTERNAL)


def place_of(tensor: onnx.TensorProto) -> Place:
    """The place that ``tensor`` names, its location in normal form. Raises InvalidInput for one outside the folder."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    offset, length = (_parse_bytes(tensor, key, entries.get(key)) for key in ("offset", "length"))
    location = entries.get("location", "")
    path = PurePosixPath(location)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in location or "\0" in location:
        raise InvalidInput(
            f"the weights of '{tensor.name}' are at '{location}', which is not inside the model's folder",
            hint="save the model again with its weights beside it",
        )
    return Place(str(path), offset or 0, length)


def external_files(model: onnx.ModelProto, folder: Path) -> dict[str, Path]:
    """The files that hold weights of a graph in ``folder``, by location, sorted.

    Raises InvalidInput for one that is missing, leaves the folder through a link, or is shorter than a tensor says.
    """
    ends: dict[str, int] = {}
    for tensor in external_tensors(model):
        place = place_of(tensor)
        end = place.offset_bytes + (place.length_bytes or 0)
        ends[place.location] = max(end, ends.get(place.location, 0))
    return {location: _existing(folder, location, ends[location]) for location in sorted(ends)}


def load_weights(model: onnx.ModelProto, folder: Path) -> None:
    """Bring every external tensor into ``model``, which names no file afterwards. Raises InvalidInput."""
    files = external_files(model, folder)
    for tensor in external_tensors(model):
        place = place_of(tensor)
        try:
            with files[place.location].open("rb") as file:
                file.seek(place.offset_bytes)
                tensor.raw_data = file.read(-1 if place.length_bytes is None else place.length_bytes)
        except OSError as error:
            raise InvalidInput(f"cannot read '{files[place.location]}': {error.strerror}") from error
        del tensor.external_data[:]
        tensor.ClearField("data_location")


def point_to(tensor: onnx.TensorProto, place: Place) -> None:
    """Make ``tensor`` name ``place`` and hold no bytes itself."""
    del tensor.external_data[:]
    for key, value in (("location", place.location), ("offset", place.offset_bytes), ("length", place.length_bytes)):
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")


def _parse_bytes(tensor: onnx.TensorProto, key: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InvalidInput(f"the weights of '{tensor.name}' have {key} '{text}', which is not a number of bytes")
    return int(text)


def _existing(folder: Path, location: str, end_bytes: int) -> Path:
    path = folder / location
    real = path.resolve()
    if not real.is_relative_to(folder.resolve()):
        raise InvalidInput(
            f"'{path}' holds weights but links to '{real}', outside the model's folder",
            hint="copy the model with its links followed: cp -rL",
        )
    if not real.is_file():
        raise InvalidInput(f"'{path}' holds weights of the model and is not there", hint="move both files together")
    if (size := real.stat().st_size) < end_bytes:
        raise InvalidInput(f"'{path}' holds {size} bytes of weights, the model says {end_bytes}: it was cut short")
    return path
