"""What the tests of a shadow ask a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.serving.faults.conftest import PATIENCE_S, Server

Document = dict[str, Any]


def shadow_of(server: Server, model: str = "fraud") -> Document:
    """The document; one of an error where there is none."""
    try:
        with urlopen(f"{server.url}/v2/models/{model}/shadow", timeout=60) as response:
            found: Document = json.load(response)
    except HTTPError as error:
        return {"status": error.code, **json.load(error)}
    return found


def until(look: Callable[[], Document], holds: Callable[[Document], bool]) -> Document:
    """What ``look`` gives, once it is as it should be."""
    end_s = time.monotonic() + PATIENCE_S
    while not holds(found := look()):
        assert time.monotonic() < end_s, found
        time.sleep(0.05)
    return found


def until_shadow(server: Server, holds: Callable[[Document], bool]) -> Document:
    """The document of ``fraud``, once it is as it should be."""
    return until(lambda: shadow_of(server), lambda found: "mirrored" in found and holds(found))


def is_done(document: Document) -> bool:
    """Whether everything that was mirrored has come to an end, and there was something."""
    return document["mirrored"] > 0 and document["in_ring"] == 0


def adds_up(document: Document) -> bool:
    """Whether each mirrored request is counted once."""
    ends = ("compared", "dropped", "failed", "in_ring")
    return bool(document["mirrored"] == sum(document[name] for name in ends))
