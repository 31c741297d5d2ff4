"""Texts of a file, one after another: a .txt in pieces, or the column ``text`` of any data file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidInput, NotFound
from mlserve.rows.reading import open_rows

PIECE_CHARACTERS = 1 << 16
_COLUMN = Signature((TensorSpec("text", DType.STRING, ("row",)),), ())


def read_texts(path: Path) -> Iterator[str]:
    """The texts of the file at ``path`` in order, in bounded memory: a .txt is cut at ends of lines where it can be.

    Raises NotFound; InvalidInput for a file that is no UTF-8, and as ``open_rows`` for one without a column ``text``.
    """
    if path.suffix.lower() == ".txt":
        yield from _pieces(path)
        return
    for batch in open_rows(path, _COLUMN, ignore_extra=True).batches(64):
        yield from (str(text) for text in batch.inputs["text"])


def _pieces(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            left = ""
            while piece := file.read(PIECE_CHARACTERS):
                whole, newline, rest = (left + piece).rpartition("\n")
                if not newline and len(rest) < 2 * PIECE_CHARACTERS:
                    left = rest
                    continue
                yield (whole + newline) or rest
                left = rest if newline else ""
            if left:
                yield left
    except FileNotFoundError as error:
        raise NotFound(f"no file '{path}'") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"'{path}' is no UTF-8 text") from error
