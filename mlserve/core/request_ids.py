"""What a request is called: the client's own id as replies tell it, captures keep it and outcomes name it."""

from __future__ import annotations

import string
from urllib.parse import quote

ID_CHARACTERS = 128

_VISIBLE = string.ascii_letters + string.digits + string.punctuation


def told_id(own: str) -> str:
    """``own`` as every reply tells it: visible ASCII, what is none percent-encoded, of at most 128 characters.

    What it gives stays as it is, so that a client may name a request by its own id or by the one it was told.

    >>> told_id("order-7"), told_id("order 7"), told_id("é"), told_id(told_id("order 7"))
    ('order-7', 'order%207', '%C3%A9', 'order%207')
    """
    if own.isascii() and own.isprintable() and " " not in own and len(own) <= ID_CHARACTERS:
        return own
    return quote(own, safe=_VISIBLE, errors="replace")[:ID_CHARACTERS]
