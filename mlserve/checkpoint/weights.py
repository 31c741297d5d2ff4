"""The weights of a checkpoint: which files they lie in, and whether each is whole.

A safetensors file is 8 bytes of length, a JSON header of that length, and the tensors end to end; so whether it was cut
short shows without reading a weight. Source: the safetensors format, huggingface.co/docs/safetensors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlserve.checkpoint.config import read_json
from mlserve.errors import InvalidInput

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})

_MAX_INDEX_BYTES = 64 << 20
_MAX_HEADER_BYTES = 100 << 20
"""As the format's own readers have it."""


def weight_files(folder: Path) -> list[str]:
    """The names of the files that hold the weights, sorted: those of the index, else the one file.

    Raises InvalidInput where there are none, where one is missing or cut short, or where the index leaves the folder.
    """
    if (folder / INDEX_FILE).exists():
        names = _indexed(folder)
    elif (folder / WEIGHTS_FILE).exists():
        names = [WEIGHTS_FILE]
    else:
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PICKLES)
        if pickles:
            raise InvalidInput(
                f"'{folder}' has its weights in '{pickles[0]}', a pickle, which can run code when it is read",
                hint="load it where you trust it, and save_pretrained(FOLDER, safe_serialization=True)",
            )
        raise InvalidInput(f"'{folder}' has no '{WEIGHTS_FILE}'")
    for name in names:
        check_whole(folder / name)
    return names


def check_whole(path: Path) -> None:
    """Nothing where the safetensors file is as long as its header says. Raises InvalidInput."""
    header, data_from = _header(path)
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    expected = data_from + max(ends, default=0)
    found = path.stat().st_size
    if found != expected:
        raise InvalidInput(
            f"'{path}' has {found} bytes, and its header tells of {expected}: it is cut short or damaged"
        )


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """What the file says of its tensors, and where they begin."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= _MAX_HEADER_BYTES:
                raise InvalidInput(f"'{path}' is no safetensors file")
            header = json.loads(file.read(length))
        if not all(_is_entry(name, entry) for name, entry in header.items()):
            raise InvalidInput(f"'{path}' is no safetensors file")
        return header, 8 + length
    except FileNotFoundError as error:
        raise InvalidInput(f"'{path}' is missing") from error
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise InvalidInput(f"'{path}' is no safetensors file") from error


def _is_entry(name: str, entry: Any) -> bool:
    if name == "__metadata__":
        return True
    offsets = entry.get("data_offsets")
    return isinstance(offsets, list) and len(offsets) == 2 and all(type(at) is int and at >= 0 for at in offsets)


def _indexed(folder: Path) -> list[str]:
    index = folder / INDEX_FILE
    places = read_json(index, _MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise InvalidInput(f"'{index}' maps no weights")
    names = sorted({str(name) for name in places.values()})
    for name in names:
        if name != Path(name).name or name in (".", "..") or "\\" in name or not name.endswith(".safetensors"):
            raise InvalidInput(f"'{index}' names '{name}', which is no safetensors file of its folder")
    return names
