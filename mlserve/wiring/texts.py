"""Small text files that a user names, read whole."""

from __future__ import annotations

import sys
from pathlib import Path

from mlserve.errors import InvalidInput, NotFound


def text_of(file: Path | None) -> str:
    """The text of ``file``, or of stdin for None and ``-``. Raises NotFound, InvalidInput."""
    if file is None or str(file) == "-":
        return sys.stdin.read()
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"no file '{file}'") from error
    except OSError as error:
        raise InvalidInput(f"cannot read '{file}': {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"'{file}' is not UTF-8 text") from error
