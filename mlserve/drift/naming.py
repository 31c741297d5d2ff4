"""The detectors by name, for whoever chooses one with ``--detector``."""

from __future__ import annotations

from collections.abc import Sequence

from mlserve.core.refs import did_you_mean
from mlserve.errors import UsageError

DETECTORS = (
    *("ks", "cvm", "chi2", "fisher", "tabular", "mmd", "lsdd", "classifier", "spot-the-diff", "learned-kernel"),
    *("context-mmd", "classifier-uncertainty", "regressor-uncertainty"),
)


def check_detectors(names: Sequence[str]) -> tuple[str, ...]:
    """``names`` as they are, each once. Raises UsageError for one that there is not.

    >>> check_detectors(["ks", "mmd", "ks"])
    ('ks', 'mmd')
    """
    for name in names:
        if name not in DETECTORS:
            hint = did_you_mean(name, DETECTORS) or f"there are {', '.join(DETECTORS)}"
            raise UsageError(f"no detector '{name}'", hint=hint)
    return tuple(dict.fromkeys(names))
