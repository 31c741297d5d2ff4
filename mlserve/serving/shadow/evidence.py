"""What a shadow has shown, as evidence: the numbers of its document by the names that a replay's have, and of what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlserve.compare.naming import figures_of, nested

_ABOUT = ("ref", "baseline", "baseline_digest", "since")
_OF_THE_MOMENT = ("pid", "starts", "in_ring")


def evidence_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a shadow's document that the registry keeps; nothing in them is about single requests.

    >>> evidence_of({"ref": "m:2", "rows": 2, "metrics": {"ks": 0.1}, "failures": [{"request_id": "r-1"}], "pid": 7})
    {'ref': 'm:2', 'rows': 2, 'ks': 0.1}
    """
    about = {name: document[name] for name in _ABOUT if name in document}
    return about | nested({name: value for name, value in figures_of(document).items() if name not in _OF_THE_MOMENT})
