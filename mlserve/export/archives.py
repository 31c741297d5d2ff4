"""Model files that are zip archives: whole, and no larger unpacked than their size on disk lets one expect."""

from __future__ import annotations

import zipfile
from pathlib import Path

from mlserve.errors import InvalidInput

_AGAIN = "save the model again, or copy the file again"

BOMB_BYTES = 256 << 20
BOMB_RATIO = 100
"""A member that unpacks to more than BOMB_BYTES and BOMB_RATIO times its size is taken for a zip bomb."""


def archive_names(path: Path, what: str) -> list[str]:
    """The members of the archive at ``path``; ``what`` says what it should be, such as "a Keras model".

    Raises InvalidInput for a file that is empty, cut short or no archive, and for a zip bomb. Nothing is unpacked.
    """
    if not path.stat().st_size:
        raise InvalidInput(f"'{path}' is empty", hint=_AGAIN)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise InvalidInput(f"'{path}' is cut short or not {what}", hint=_AGAIN) from error
    for member in members:
        if member.file_size > BOMB_BYTES and member.file_size > BOMB_RATIO * max(member.compress_size, 1):
            raise InvalidInput(
                f"'{path}' unpacks '{member.filename}' from {member.compress_size} to {member.file_size} bytes",
                hint="no weights shrink like that: the file was made to fill memory, or is damaged",
            )
    return [member.filename for member in members]
